"""What gRPC clients of TensorFlow Serving send and see: cases G01 to G18 of the contract, with TensorFlow Serving's own client."""
import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2, model_management_pb2,
                                     model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc, regression_pb2)

from client import MODEL, PREDICT, b64, picture, pixels

Code = grpc.StatusCode
PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield channel


@pytest.fixture(scope="module")
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def spec(message, name="fashion", version=None, label=None, signature=""):
    """Fills message.model_spec."""
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    return message


def request(inputs=None, filters=(), **model):
    message = spec(predict_pb2.PredictRequest(), **model)
    for key, value in ({"inputs": [pixels()]} if inputs is None else inputs).items():
        message.inputs[key].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value, tf.float32))
    message.output_filter.extend(filters)
    return message


def pictures(*names, **model):
    strings = tf.make_tensor_proto([picture(name) for name in names], tf.string)
    return request({"image_bytes": strings}, signature="serving_preprocess", **model)


def numbers(**fields):
    """A float tensor of one picture with exactly these fields."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, **fields)
    tensor.tensor_shape.CopyFrom(tf.TensorShape([1, 64, 64, 3]).as_proto())
    return tensor


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def with_tensor(tensor):
    """The bytes of a predict request with the bytes of a tensor."""
    return request({}).SerializeToString() + field(2, field(1, b"inputs") + field(2, tensor))


@pytest.fixture(scope="module")
def raw(channel):
    """raw(method, bytes) -> bytes"""
    return lambda method, message: channel.unary_unary(method)(message, timeout=60)


def fails(call, message, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=60)
    assert (caught.value.code(), caught.value.details()) == (code, text)


@pytest.fixture(scope="module")
def logits(predictions):
    """Of pixels(0)."""
    return tf.make_ndarray(predictions.Predict(request()).outputs["logits"])[0]


# ---- Predict: success ----

def test_answer(predictions):
    response = predictions.Predict(request())
    assert list(response.outputs) == ["logits"]
    tensor = response.outputs["logits"]
    assert tensor.dtype == types_pb2.DT_FLOAT and [dim.size for dim in tensor.tensor_shape.dim] == [1, 10]
    assert len(tensor.float_val) == 10 and not tensor.tensor_content
    assert response.model_spec == spec(predict_pb2.PredictResponse(), version=1, signature="serving_default").model_spec


def test_same_numbers_as_rest(server, predictions, logits):
    rest = requests.post(server.url + PREDICT, json={"instances": [pixels()]}).json()["predictions"][0]
    assert np.float32(rest).tolist() == logits.tolist()
    names = ["bag.jpg", "coat.png", "trouser.jpg"]
    body = {"signature_name": "serving_preprocess", "inputs": [b64(picture(name)) for name in names]}
    rest = requests.post(server.url + PREDICT, json=body).json()["outputs"]
    outputs = predictions.Predict(pictures(*names)).outputs
    assert tf.make_ndarray(outputs["labels"]).astype(str).tolist() == rest["labels"]
    np.testing.assert_allclose(tf.make_ndarray(outputs["probabilities"]), rest["probabilities"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("model", [{}, {"version": 1}, {"signature": "serving_default"}])
def test_ways_to_name_a_model(predictions, logits, model):
    assert tf.make_ndarray(predictions.Predict(request(**model)).outputs["logits"])[0].tolist() == logits.tolist()


def test_forms_of_a_tensor(predictions, logits):
    """tensor_content, floats in a list, more values than there are elements."""
    values = np.float32(pixels()).ravel()
    for tensor in (numbers(tensor_content=values.tobytes()), numbers(float_val=values), numbers(float_val=[*values, 7, 8]),
                   numbers(tensor_content=values.tobytes(), float_val=[1])):
        assert tf.make_ndarray(predictions.Predict(request({"inputs": tensor})).outputs["logits"])[0].tolist() == logits.tolist()


def test_floats_that_are_not_packed(raw, logits):
    """Field 5 of the tensor once for each number."""
    tensor = numbers().SerializeToString() + b"".join(b"\x2d" + value.tobytes() for value in np.float32(pixels()).ravel())
    response = predict_pb2.PredictResponse.FromString(raw(PREDICT_METHOD, with_tensor(tensor)))
    assert tf.make_ndarray(response.outputs["logits"])[0].tolist() == logits.tolist()


@pytest.mark.parametrize("given", [[], [0.5], [0.25, 0.5]])
def test_last_value_repeats(predictions, given):
    full = np.full(64 * 64 * 3, given[-1] if given else 0.0, np.float32)
    full[:len(given)] = given
    short, long = (predictions.Predict(request({"inputs": numbers(float_val=values)})).outputs["logits"] for values in (given, full))
    assert short == long


def test_last_picture_repeats(predictions):
    tensor = tf.make_tensor_proto([picture("bag.jpg")], tf.string)
    tensor.tensor_shape.dim[0].size = 3
    labels = tf.make_ndarray(predictions.Predict(request({"image_bytes": tensor}, signature="serving_preprocess")).outputs["labels"])
    assert labels[:, 0].tolist() == [b"Bag"] * 3


def test_pictures_as_content(predictions):
    """Strings in tensor_content: their lengths as varints, then their bytes."""
    files = [picture("bag.jpg"), picture("coat.png")]
    lengths = b"".join(varint(len(file)) for file in files)
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_content=lengths + b"".join(files))
    tensor.tensor_shape.dim.add(size=2)
    message = request({"image_bytes": tensor}, signature="serving_preprocess")
    assert tf.make_ndarray(predictions.Predict(message).outputs["labels"])[:, 0].tolist() == [b"Bag", b"Coat"]
    for wrong in (lengths, lengths + files[0], tensor.tensor_content + b"x", b"\xff" * 12):
        message.inputs["image_bytes"].tensor_content = wrong
        fails(predictions.Predict, message, Code.INVALID_ARGUMENT, "tensor parsing error: image_bytes")


def test_output_filter(predictions):
    message = pictures("bag.jpg")
    assert set(predictions.Predict(message).outputs) == {"labels", "probabilities"}  # G09
    for names in (["labels"], ["probabilities"], ["probabilities", "labels"]):
        message.output_filter[:] = names
        assert set(predictions.Predict(message).outputs) == set(names)


def test_no_rows(predictions):
    outputs = predictions.Predict(request({"inputs": np.zeros([0, 64, 64, 3])})).outputs
    assert tf.make_ndarray(outputs["logits"]).shape == (0, 10)
    empty = tf.make_tensor_proto(np.array([], object), tf.string, [0])
    outputs = predictions.Predict(request({"image_bytes": empty}, signature="serving_preprocess")).outputs
    assert tf.make_ndarray(outputs["labels"]).shape == (0, 5)


def test_unread_fields(predictions, logits):
    message = request()
    message.request_options.client_id = b"x"
    message.predict_streamed_options.return_single_response = True
    assert tf.make_ndarray(predictions.Predict(message).outputs["logits"])[0].tolist() == logits.tolist()


def test_compressed_message(server, logits):
    with grpc.insecure_channel(server.grpc_target, compression=grpc.Compression.Gzip) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request())
    assert tf.make_ndarray(response.outputs["logits"])[0].tolist() == logits.tolist()


def test_answers_as_tensor_content(start_server, logits):
    server = start_server(MODEL, "--enable_serialization_as_tensor_content")
    with grpc.insecure_channel(server.grpc_target) as channel:
        predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        tensor = predictions.Predict(request()).outputs["logits"]
        assert tensor.tensor_content == logits.tobytes() and not tensor.float_val
        labels = predictions.Predict(pictures("bag.jpg")).outputs["labels"]
        names = tf.io.parse_tensor(labels.SerializeToString(), tf.string).numpy()
        assert names.shape == (1, 5) and names[0, 0] == b"Bag" and not labels.string_val
    assert server.stop() == 0


# ---- Predict: errors ----

def test_models_that_are_not_there(predictions):
    for model, code, text in (
        ({"name": ""}, Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),  # G02
        ({"name": "m"}, Code.NOT_FOUND, "Servable not found for request: Latest(m)"),  # G03
        ({"name": "Fashion"}, Code.NOT_FOUND, "Servable not found for request: Latest(Fashion)"),
        ({"version": 9}, Code.NOT_FOUND, "Servable not found for request: Specific(fashion, 9)"),
        ({"version": 0}, Code.NOT_FOUND, "Servable not found for request: Specific(fashion, 0)"),
        ({"version": -1}, Code.NOT_FOUND, "Servable not found for request: Specific(fashion, -1)"),
        ({"label": "stable"}, Code.INVALID_ARGUMENT, "Unrecognized servable version label: stable"),  # G04
        ({"signature": "X"}, Code.FAILED_PRECONDITION, 'Serving signature key "X" not found.'),  # G05
    ):
        fails(predictions.Predict, request(**model), code, text)
    fails(predictions.Predict, predict_pb2.PredictRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec")  # G01


def test_inputs(predictions):
    good = tf.make_tensor_proto([pixels()], tf.float32)

    def refuse(inputs, text, **model):
        fails(predictions.Predict, request(inputs, **model), Code.INVALID_ARGUMENT, text)

    mismatch = "input size does not match signature: {}!=1 len({{{}}}) != len({{inputs}}). Sent extra: {{{}}}. Missing but required: {{{}}}."
    refuse({}, mismatch.format(0, "", "", "inputs"))  # G06
    refuse({"z": good, "b": good}, mismatch.format(2, "b,z", "b,z", "inputs"))
    refuse({"z": good, "inputs": good}, mismatch.format(2, "inputs,z", "z", ""))
    refuse({"x": good}, "Signature input alias: inputs(feed name: serving_default_inputs:0) not found in request and no default value "
                        "provided. Inputs expected to be in the request {x}, or default input alias set: ")
    refuse({"inputs": tf.make_tensor_proto([picture()], tf.string)}, "Expects arg[0] to be float but string is provided")
    refuse({"inputs": tf.make_tensor_proto([pixels()], tf.float64)}, "Expects arg[0] to be float but double is provided")
    refuse({"image_bytes": good}, "Expects arg[0] to be string but float is provided", signature="serving_preprocess")
    refuse({"inputs": tensor_pb2.TensorProto()}, "tensor parsing error: inputs")
    refuse({"inputs": numbers(tensor_content=b"\0" * 49151)}, "tensor parsing error: inputs")


@pytest.mark.parametrize("shape", [[], [64, 64, 3], [1, 64, 64], [1, 64, 63, 3], [1, 1, 64, 64, 3], [1] * 12])
def test_shapes(predictions, shape):
    shown = ",".join(map(str, shape)) if len(shape) < 9 else "1,1,1,1,1,1,1,1,..."
    fails(predictions.Predict, request({"inputs": np.zeros(shape)}), Code.INVALID_ARGUMENT,
          f"Input inputs: expected shape [-1,64,64,3], got [{shown}]")


def test_shapes_that_are_none(predictions):
    for size in (-1, -2**63):
        tensor = numbers()
        tensor.tensor_shape.dim[0].size = size
        fails(predictions.Predict, request({"inputs": tensor}), Code.INVALID_ARGUMENT, "tensor parsing error: inputs")
    tensor.tensor_shape.unknown_rank = True
    fails(predictions.Predict, request({"inputs": tensor}), Code.INVALID_ARGUMENT, "tensor parsing error: inputs")


@pytest.mark.parametrize("rows", [1366, 10**6, 2**31, 2**62])
def test_shorthand_for_too_much(predictions, rows):
    """A few bytes that stand for more than a message may hold."""
    tensor = numbers(float_val=[1])
    tensor.tensor_shape.dim[0].size = rows
    fails(predictions.Predict, request({"inputs": tensor}), Code.RESOURCE_EXHAUSTED,
          f"Input inputs: {rows} rows of 49152 bytes are more than 67108864 bytes. The limit is set by --max_request_bytes.")
    file = picture("bag.jpg") + bytes(10**6)
    tensor = tf.make_tensor_proto([file], tf.string)
    tensor.tensor_shape.dim[0].size = rows
    fails(predictions.Predict, request({"image_bytes": tensor}, signature="serving_preprocess"), Code.RESOURCE_EXHAUSTED,
          f"Input image_bytes: {rows} rows of {len(file) + 2} bytes are more than 67108864 bytes. The limit is set by --max_request_bytes.")


def test_output_filter_errors(predictions):
    fails(predictions.Predict, request(filters=["X"]), Code.INVALID_ARGUMENT,
          "output tensor alias not found in signature: X Outputs expected to be in the set {logits}.")  # G07
    message = pictures("bag.jpg")
    message.output_filter[:] = ["labels", "classes"]
    fails(predictions.Predict, message, Code.INVALID_ARGUMENT,
          "output tensor alias not found in signature: classes Outputs expected to be in the set {labels,probabilities}.")
    message.output_filter[:] = ["labels", "labels"]
    fails(predictions.Predict, message, Code.INVALID_ARGUMENT, "duplicate output tensor alias: labels")  # G08


def test_broken_picture(predictions):
    files = tf.make_tensor_proto([picture("bag.jpg"), b"no picture"], tf.string)
    with pytest.raises(grpc.RpcError) as caught:
        predictions.Predict(request({"image_bytes": files}, signature="serving_preprocess"))
    assert caught.value.code() == Code.INVALID_ARGUMENT and caught.value.details()


def test_long_messages_are_cut(predictions):
    for length, text in ((1024 - 40, None), (5000, "...TRUNCATED")):
        name = "m" * length
        full = f"Servable not found for request: Latest({name})"
        fails(predictions.Predict, request(name=name), Code.NOT_FOUND, full[:1024] + text if text else full)


# ---- GetModelMetadata ----

def metadata_request(*fields, **model):
    message = spec(get_model_metadata_pb2.GetModelMetadataRequest(), **model)
    message.metadata_field.extend(fields)
    return message


def test_metadata(server, predictions):
    """G13: the same as over REST, and as in the SavedModel."""
    response = predictions.GetModelMetadata(metadata_request("signature_def"))
    assert response.model_spec == spec(predict_pb2.PredictResponse(), version=1).model_spec
    assert list(response.metadata) == ["signature_def"]
    assert response.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    rest = requests.get(f"{server.url}/v1/models/fashion/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert set(signatures.signature_def) == set(rest)
    for name, signature in signatures.signature_def.items():
        assert signature.method_name == rest[name]["method_name"] == "tensorflow/serving/predict"
        for ours, theirs in ((signature.inputs, rest[name]["inputs"]), (signature.outputs, rest[name]["outputs"])):
            assert {key: (info.name, types_pb2.DataType.Name(info.dtype), [str(dim.size) for dim in info.tensor_shape.dim])
                    for key, info in ours.items()} == {
                key: (info["name"], info["dtype"], [dim["size"] for dim in info["tensor_shape"]["dim"]]) for key, info in theirs.items()}


def test_metadata_errors(predictions):
    call = predictions.GetModelMetadata
    fails(call, get_model_metadata_pb2.GetModelMetadataRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec")
    fails(call, metadata_request(), Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")  # G11
    fails(call, metadata_request("signature_def", "X"), Code.INVALID_ARGUMENT, "Metadata field X is not supported")  # G12
    fails(call, metadata_request("signature_def", name="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    fails(call, metadata_request("signature_def", name=""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")


# ---- Classify, Regress, MultiInference ----

@pytest.mark.parametrize("kind, kind_name", [("Classify", "classification"), ("Regress", "regression")])
def test_examples(predictions, kind, kind_name):
    message = {"Classify": classification_pb2.ClassificationRequest, "Regress": regression_pb2.RegressionRequest}[kind]
    call = getattr(predictions, kind)
    fails(call, message(), Code.INVALID_ARGUMENT, "Missing ModelSpec")
    fails(call, spec(message(), name="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    fails(call, spec(message(), signature="X"), Code.INVALID_ARGUMENT, "No signature was found with the name: X")
    body = spec(message())
    body.input.example_list.examples.add().features.feature["x"].float_list.value.append(1)
    fails(call, body, Code.FAILED_PRECONDITION, f"No {kind_name} inputs found in SignatureDef: serving_default takes no serialized Examples. "
                                                "Send pictures or pixels to Predict.")


def test_multi_inference(predictions):
    def task(method, **model):
        message = inference_pb2.MultiInferenceRequest()
        spec(message.tasks.add(method_name=method), **model)
        return message

    call = predictions.MultiInference
    fails(call, inference_pb2.MultiInferenceRequest(), Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    fails(call, task("tensorflow/serving/classify", name="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    fails(call, task("tensorflow/serving/classify", signature="X"), Code.INVALID_ARGUMENT, "Requested signature not found in model graph: X")
    fails(call, task("tensorflow/serving/predict"), Code.UNIMPLEMENTED, "Unsupported signature method_name: tensorflow/serving/predict")
    for method, kind in (("classify", "classification"), ("regress", "regression")):
        fails(call, task(f"tensorflow/serving/{method}"), Code.FAILED_PRECONDITION,
              f"No {kind} inputs found in SignatureDef: serving_default takes no serialized Examples. Send pictures or pixels to Predict.")


# ---- ModelService ----

@pytest.mark.parametrize("model", [{}, {"version": 1}, {"label": "nosuch"}])
def test_status(models, model):
    response = models.GetModelStatus(spec(get_model_status_pb2.GetModelStatusRequest(), **model))
    expected = get_model_status_pb2.ModelVersionStatus(version=1, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    expected.status.SetInParent()
    assert list(response.model_version_status) == [expected]


def test_status_errors(models):
    message, call = get_model_status_pb2.GetModelStatusRequest, models.GetModelStatus
    fails(call, message(), Code.INVALID_ARGUMENT, "Missing ModelSpec")
    fails(call, spec(message(), name="m"), Code.NOT_FOUND, "Could not find any versions of model m")  # G14
    fails(call, spec(message(), name=""), Code.NOT_FOUND, "Could not find any versions of model ")
    fails(call, spec(message(), version=9), Code.NOT_FOUND, "Could not find version 9 of model fashion")
    fails(call, spec(message(), version=-1), Code.NOT_FOUND, "Could not find version -1 of model fashion")


def test_reload_that_is_refused(models):
    """What is taken is tested in models_test.py, on servers that nobody else needs."""
    message = model_management_pb2.ReloadConfigRequest()
    unsupported = "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    fails(models.HandleReloadConfigRequest, message, Code.INVALID_ARGUMENT, unsupported)
    message.config.custom_model_config.SetInParent()
    fails(models.HandleReloadConfigRequest, message, Code.INVALID_ARGUMENT, unsupported)  # G15
    message.config.model_config_list.config.add(name="m")
    fails(models.HandleReloadConfigRequest, message, Code.INVALID_ARGUMENT, "model m: base_path is missing")


# ---- what is no good call ----

@pytest.mark.parametrize("method", ["/tensorflow.serving.PredictionService/Nope", "/tensorflow.serving.SessionService/SessionRun", "/x", "/"])
def test_unknown_method(raw, method):
    with pytest.raises(grpc.RpcError) as caught:
        raw(method, b"")
    assert caught.value.code() == Code.UNIMPLEMENTED


def test_call_without_a_message(channel):
    call = channel.stream_unary(PREDICT_METHOD)
    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), timeout=60)
    assert (caught.value.code(), caught.value.details()) == (Code.UNIMPLEMENTED, f"{PREDICT_METHOD} takes one message, none came.")


def test_bytes_that_are_no_message(raw, logits):
    good = request().SerializeToString()
    for message in (b"\xff" * 100, b"\x0a", b"\x0a\x05abc", good[:-1], field(2, b"\x0a\xff\xff\xff\xff\x0f"), b"\x0b" * 50000):
        with pytest.raises(grpc.RpcError) as caught:
            raw(PREDICT_METHOD, message)
        assert (caught.value.code(), caught.value.details()) == (Code.INTERNAL, f"Error parsing request: {len(message)} bytes are no valid message.")
    response = predict_pb2.PredictResponse.FromString(raw(PREDICT_METHOD, good))
    assert tf.make_ndarray(response.outputs["logits"])[0].tolist() == logits.tolist()


def test_messages_that_blow_up_in_memory(raw):
    """Two bytes each that stand for a struct; a shape that is merged a million times."""
    for message in (b"\x12\x00" * 2**20, b"\x1a\x00" * 2**20, with_tensor(b"\x12\x02\x12\x00" * 2**20)):
        with pytest.raises(grpc.RpcError) as caught:
            raw(PREDICT_METHOD, message)
        assert caught.value.code() in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), caught.value.details()


def test_mutated_messages(raw):
    """No bytes bring the server down or make it hang."""
    random = np.random.default_rng(7)
    small = request({"inputs": numbers(float_val=[0.5, 0.25])}, filters=["logits"], version=1, signature="serving_default").SerializeToString()
    for _ in range(1500):
        message = bytearray(small)
        for _ in range(random.integers(1, 4)):
            kind, at = random.integers(3), int(random.integers(len(message)))
            if kind == 0:
                message[at] = random.integers(256)
            elif kind == 1:
                del message[at:at + int(random.integers(1, 9))]
            else:
                message[at:at] = random.bytes(int(random.integers(1, 9)))
            if not message:
                break
        try:
            predict_pb2.PredictResponse.FromString(raw(PREDICT_METHOD, bytes(message)))
        except grpc.RpcError as error:
            assert error.code() in (Code.INTERNAL, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED), error
