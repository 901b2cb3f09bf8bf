"""inference.GRPCInferenceService with messages of Triton's own protocol file: what its client does not send."""
import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from client import picture, pixels

Code = grpc.StatusCode
FLAT = np.array(pixels(), np.float32).ravel()


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(raw=None, typed=None, shape=(1, 64, 64, 3), name="inputs", datatype="FP32", **fields):
    message = pb.ModelInferRequest(**{"model_name": "fashion", **fields})
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    if typed is not None:
        getattr(tensor.contents, "fp32_contents" if datatype == "FP32" else "bytes_contents").extend(typed)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def fails(call, message, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=60)
    assert (caught.value.code(), caught.value.details()) == (code, text)


def test_typed_and_raw_agree(stub):
    raw = stub.ModelInfer(request(raw=FLAT.tobytes(), id="7", model_version="1"))
    typed = stub.ModelInfer(request(typed=FLAT))
    assert (raw.model_name, raw.model_version, raw.id) == ("fashion", "1", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in raw.outputs] == [("logits", "FP32", [1, 10])]
    assert raw.raw_output_contents == typed.raw_output_contents and len(raw.raw_output_contents[0]) == 40


def test_typed_pictures(stub):
    message = request(typed=[picture("bag.jpg"), picture("coat.png")], shape=[2], name="image_bytes", datatype="BYTES")
    message.parameters["signature_name"].string_param = "serving_preprocess"
    message.outputs.add(name="labels")
    answer = stub.ModelInfer(message)
    assert [o.name for o in answer.outputs] == ["labels"] and answer.raw_output_contents[0][4:7] == b"Bag"


def test_repository_and_statistics(start_server):
    server = start_server()
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(request(raw=FLAT.tobytes()))
        for message in (pb.ModelStatisticsRequest(), pb.ModelStatisticsRequest(name="fashion", version="1")):
            (model,) = stub.ModelStatistics(message).model_stats
            assert (model.name, model.version, model.inference_count, model.execution_count) == ("fashion", "1", 1, 1)
            stats = model.inference_stats
            assert stats.success.count == 1 and stats.success.ns >= stats.compute_infer.ns > 0 and model.batch_stats[0].batch_size == 1
        fails(stub.ModelStatistics, pb.ModelStatisticsRequest(name="nope"), Code.NOT_FOUND, "requested model 'nope' is not available")
        (entry,) = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert (entry.name, entry.version, entry.state) == ("fashion", "1", "READY")
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="fashion"))
        assert not stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready and stub.ServerLive(pb.ServerLiveRequest()).live
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="fashion"))
        assert stub.ModelReady(pb.ModelReadyRequest(name="fashion")).ready
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="nope"))
        assert caught.value.code() is Code.NOT_FOUND


SHAPE = "unexpected shape for input 'inputs' for model 'fashion'. Expected [-1,64,64,3], got [1,2]"


@pytest.mark.parametrize("message, code, text", [
    (request(model_name="nope"), Code.NOT_FOUND, "Request for unknown model: 'nope' is not found"),
    (request(model_version="9"), Code.NOT_FOUND, "Request for unknown model: 'fashion' version 9 is not found"),
    (request(model_version="x"), Code.INVALID_ARGUMENT,
     "failed to get model version from specified version string 'x', version should be an integral value > 0"),
    (pb.ModelInferRequest(model_name="fashion"), Code.INVALID_ARGUMENT,
     "expected 1 inputs but got 0 inputs for model 'fashion'. Its input is 'inputs'."),
    (request(shape=[1, 2]), Code.INVALID_ARGUMENT, SHAPE),
    (request(shape=[-1, 64, 64, 3]), Code.INVALID_ARGUMENT, "input 'inputs': dimension 0 is negative"),
    (request(datatype="INT32"), Code.INVALID_ARGUMENT, "inference input 'inputs' data-type is 'INT32', but model 'fashion' expects 'FP32'"),
    (request(), Code.INVALID_ARGUMENT, "unexpected number of values for input 'inputs': its shape holds 12288, fp32_contents holds 0"),
    (request(typed=FLAT[1:]), Code.INVALID_ARGUMENT, "unexpected number of values for input 'inputs': its shape holds 12288, fp32_contents holds 12287"),
    (request(raw=FLAT.tobytes()[:-4]), Code.INVALID_ARGUMENT, "input byte size mismatch for input 'inputs' for model 'fashion'. Expected 49152, got 49148"),
    (request(raw=b"", typed=FLAT), Code.INVALID_ARGUMENT, "contents field must not be specified when using raw_input_contents for 'inputs'"),
    (pb.ModelInferRequest(model_name="fashion", raw_input_contents=[b"x"]), Code.INVALID_ARGUMENT, "expected 0 raw_input_contents, one for each input, got 1"),
])
def test_errors(stub, message, code, text):
    fails(stub.ModelInfer, message, code, text)


def test_streams_are_refused(stub):
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.ModelStreamInfer(iter([request(raw=FLAT.tobytes())])))
    assert caught.value.code() is Code.UNIMPLEMENTED


def test_health_knows_the_service(server):
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    with grpc.insecure_channel(server.grpc_target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
