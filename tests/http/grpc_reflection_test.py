"""Server reflection, asked as grpcurl asks: what it tells is what there is, and is the protocol that everybody else speaks."""
import pathlib
import re

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import get_model_metadata_pb2, model_service_pb2, prediction_service_pb2
from tritonclient.grpc import service_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService", "tensorflow.serving.ModelService", "tensorflow.serving.PredictionService"}
UPSTREAM = [health_pb2, prediction_service_pb2, model_service_pb2, get_model_metadata_pb2, service_pb2, reflection_pb2]


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


@pytest.fixture(scope="module")
def database(channel):
    return ProtoReflectionDescriptorDatabase(channel)


@pytest.fixture(scope="module")
def pool(database):
    return descriptor_pool.DescriptorPool(database)


def listed_methods():
    text = (ROOT / "http/grpc_list.def").read_text()
    return set(re.findall(r'^RN_GRPC(?:_STREAM|_WATCH)?\("/([^"]+)"', text, re.M)) - {"inference.GRPCInferenceService/ModelStreamInfer"}  # only refused


def test_every_method_is_described(database, pool):
    assert set(database.get_services()) == SERVICES
    described = {f"{name}/{method.name}" for name in SERVICES for method in pool.FindServiceByName(name).methods}
    assert described == listed_methods()


def messages_of(method, seen):
    """The messages that a method takes and gives, and those that they are made of, by full name."""
    waiting = [method.input_type, method.output_type]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen[message.full_name] = message
        waiting += [field.message_type for field in message.fields if field.message_type]
    return seen


def shape(field):
    kind = field.message_type or field.enum_type
    return field.name, field.type, field.is_repeated, kind.full_name if kind else None


def test_descriptions_are_those_of_other_servers(pool):
    """Every message and field is what the other implementations call so, down to the enumerations."""
    theirs = {}
    for file in UPSTREAM:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                messages_of(method, theirs)
                if f"{service.full_name}/{method.name}" in listed_methods():
                    ours = pool.FindMethodByName(method.full_name)
                    assert (ours.input_type.full_name, ours.output_type.full_name) == (method.input_type.full_name, method.output_type.full_name)
                    assert (ours.client_streaming, ours.server_streaming) == (method.client_streaming, method.server_streaming)
    ours = {}
    for name in SERVICES - {"grpc.reflection.v1.ServerReflection"}:
        for method in pool.FindServiceByName(name).methods:
            messages_of(method, ours)
    assert len(ours) > 80
    for name, message in ours.items():
        known = {field.number: shape(field) for field in theirs[name].fields}
        for field in message.fields:
            assert shape(field) == known[field.number], (name, field.name)
            if field.enum_type:
                enum = {v.name: v.number for v in next(f for f in theirs[name].fields if f.number == field.number).enum_type.values}
                assert {v.name: v.number for v in field.enum_type.values}.items() <= enum.items(), field.enum_type.full_name


def test_a_call_with_nothing_but_reflection(channel, pool):
    """As grpcurl does it: messages as JSON, types from the server."""
    def call(path, document):
        method = pool.FindMethodByName(path.replace("/", "."))
        wire = json_format.ParseDict(document, message_factory.GetMessageClass(method.input_type)(), descriptor_pool=pool).SerializeToString()
        answer = message_factory.GetMessageClass(method.output_type).FromString(channel.unary_unary(f"/{path}")(wire, timeout=60))
        return json_format.MessageToDict(answer, preserving_proto_field_name=True, descriptor_pool=pool)

    assert call("grpc.health.v1.Health/Check", {}) == {"status": "SERVING"}
    status = call("tensorflow.serving.ModelService/GetModelStatus", {"model_spec": {"name": "fashion", "version": "1"}})
    assert status == {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]}
    metadata = call("tensorflow.serving.PredictionService/GetModelMetadata", {"model_spec": {"name": "fashion"}, "metadata_field": ["signature_def"]})
    signatures = metadata["metadata"]["signature_def"]  # an Any, whose type comes from reflection too
    assert signatures["@type"] == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert signatures["signature_def"]["serving_default"]["inputs"]["inputs"]["dtype"] == "DT_FLOAT"
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}, {"size": 64}, {"size": 64}, {"size": 3}]}, "float_val": [0.5]}
    answer = call("tensorflow.serving.PredictionService/Predict", {"model_spec": {"name": "fashion"}, "inputs": {"inputs": tensor}})
    assert len(answer["outputs"]["logits"]["float_val"]) == 10


def ask(channel, *questions, version="v1alpha"):
    """The answers on one stream."""
    call = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                                 request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                                 response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    return list(call(iter(reflection_pb2.ServerReflectionRequest(**question) for question in questions), timeout=60))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_questions(channel, version):
    names = ("tensorflow.serving.PredictionService", "tensorflow.serving.PredictionService.Predict", "tensorflow.serving.ModelVersionStatus.State",
             "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest", "inference.DataType", "google.protobuf.Any")
    answers = ask(channel, *[{"file_containing_symbol": name, "host": "h"} for name in names], version=version)
    assert [(a.original_request.file_containing_symbol, a.valid_host) for a in answers] == [(name, "h") for name in names]
    counts = [len(a.file_descriptor_response.file_descriptor_proto) for a in answers]
    assert counts == [5, 5, 5, 5, 1, 1]  # with what is imported
    assert answers[0].file_descriptor_response.file_descriptor_proto[0][2:].startswith(b"tensorflow_serving.proto")
    (answer,) = ask(channel, {"file_by_filename": "health.proto"}, version=version)
    assert len(answer.file_descriptor_response.file_descriptor_proto) == 1
    (answer,) = ask(channel, {"all_extension_numbers_of_type": "inference.ModelConfig"}, version=version)
    assert answer.all_extension_numbers_response.base_type_name == "inference.ModelConfig"
    assert not answer.all_extension_numbers_response.extension_number


def test_questions_without_an_answer(channel):
    """They are answered by themselves: the stream goes on."""
    extension = reflection_pb2.ExtensionRequest(containing_type="inference.ModelConfig", extension_number=7)
    questions = [{"file_by_filename": "nope.proto"}, *[{"file_containing_symbol": name} for name in (
        "", ".", "inference", "inference.", "inference.Nope", "tensorflow.serving.PredictRequest.Nope", "tensorflow.serving.PredictionServiceX",
        "grpc.health.v1.Health.Watch.", "x" * 5000)], {"file_containing_extension": extension}, {"all_extension_numbers_of_type": "nope"}]
    answers = ask(channel, *questions, {}, {"list_services": ""})
    assert [answer.error_response.error_code for answer in answers[:-1]] == [5] * len(questions) + [3]
    assert answers[0].error_response.error_message == "File not found: nope.proto"
    assert {service.name for service in answers[-1].list_services_response.service} == SERVICES


def test_stream_that_ends_in_garbage(channel):
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    answers = call(iter([reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString(), b"\xff\xff"]), timeout=60)
    assert b"inference.GRPCInferenceService" in next(answers)
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() == grpc.StatusCode.INTERNAL


def test_streams_that_stay_open_do_not_hold_up_the_end(start_server):
    server = start_server()
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        gone = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert next(gone)
        gone.cancel()
        open_end = iter(lambda: reflection_pb2.ServerReflectionRequest(list_services=""), None)  # asks without end
        stream = stub.ServerReflectionInfo(open_end)
        for _ in range(100):
            assert len(next(stream).list_services_response.service) == len(SERVICES)
        assert server.stop() == 0
