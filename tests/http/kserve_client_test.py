"""KServe's Python SDK as the client, unmodified: the protocol v2 over REST and gRPC, and v1 as far as TensorFlow Serving speaks it."""
import asyncio

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from client import b64, picture, pixels

PIXELS = np.array([pixels(0), pixels(1)], np.float32)


def numbers(datatype="FP32", shape=PIXELS.shape, **kwargs):
    tensor = InferInput("inputs", list(shape), datatype)
    tensor.set_data_from_numpy(PIXELS, **kwargs)
    return tensor


def request(*tensors, name="fashion", **kwargs):
    return InferRequest(name, list(tensors), **kwargs)


@pytest.fixture(scope="module", params=["rest", "grpc"])
def ask(request, server):
    """ask(call) runs call(client, *first): `first` are the arguments that only this client takes."""
    def run(function):
        async def call():
            if request.param == "grpc":
                client, first = InferenceGRPCClient(server.grpc_target), ()
            else:
                client, first = InferenceRESTClient(RESTConfig(protocol="v2")), (server.url,)
            try:
                return await function(client, *first)
            finally:
                await client.close()

        return asyncio.run(call())

    run.is_rest = request.param == "rest"
    return run


@pytest.fixture(scope="module")
def logits(server):
    answer = httpx.post(f"{server.url}/v1/models/fashion:predict", json={"inputs": PIXELS.tolist()}).json()
    return np.float32(answer["outputs"])


def test_health(ask):
    for question in ("is_server_live", "is_server_ready"):
        assert ask(lambda client, *first: getattr(client, question)(*first)) is True
    assert ask(lambda client, *first: client.is_model_ready(*first, model_name="fashion")) is True


@pytest.mark.parametrize("binary", [True, False])
def test_infer(ask, logits, binary):
    message = request(numbers(binary_data=binary), request_id="7")
    if ask.is_rest:
        message.request_outputs = [RequestedOutput("logits", {"binary_data": binary})]
    answer = ask(lambda client, *first: client.infer(*first, message, **({"model_name": "fashion"} if ask.is_rest else {})))
    assert (answer.id, answer.model_name) == ("7", "fashion")
    assert answer.model_version == (None if ask.is_rest else "1")  # the client's reader of REST answers leaves it out
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("logits", "FP32", [2, 10])
    np.testing.assert_allclose(output.as_numpy().reshape(2, 10), logits, rtol=1e-5, atol=1e-5)


def test_infer_pictures(ask):
    tensor = InferInput("image_bytes", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([picture("bag.jpg"), picture("coat.png")], np.object_), binary_data=True)
    message = request(tensor, parameters={"signature_name": "serving_preprocess"})
    if ask.is_rest:
        message.request_outputs = [RequestedOutput("labels", {"binary_data": True})]
    answer = ask(lambda client, *first: client.infer(*first, message, **({"model_name": "fashion"} if ask.is_rest else {})))
    labels = next(output for output in answer.outputs if output.name == "labels").as_numpy().reshape(2, 5)
    assert [label if isinstance(label, str) else label.decode() for label in labels[:, 0]] == ["Bag", "Coat"]


def test_errors(ask):
    message = request(numbers(), name="nope")
    with pytest.raises(Exception) as caught:
        ask(lambda client, *first: client.infer(*first, message, **({"model_name": "nope"} if ask.is_rest else {})))
    text = caught.value.response.text if ask.is_rest else caught.value.details()
    assert "Request for unknown model: 'nope' is not found" in text


def test_protocol_v1(server):
    async def call():
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        try:
            body = {"signature_name": "serving_preprocess", "instances": [b64(picture("bag.jpg"))]}
            return await client.infer(server.url, body, model_name="fashion")
        finally:
            await client.close()

    assert asyncio.run(call())["predictions"][0]["labels"][0] == "Bag"
