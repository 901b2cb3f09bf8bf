"""KServe's Python SDK against a server: `kserve_client.py REST_URL GRPC_TARGET` prints a line for each thing that works and fails with the first that does not.

A program of its own, since its messages and those of NVIDIA's client have the same names, which cannot be in one process.
"""
import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from client import b64, picture, pixels

PIXELS = np.array([pixels(0), pixels(1)], np.float32)


class Rest:
    name = "REST"

    def __init__(self, url):
        self.client, self.first = InferenceRESTClient(RESTConfig(protocol="v2")), (url,)

    async def infer(self, request, output, binary=True):
        request.request_outputs = [RequestedOutput(output, {"binary_data": binary})]
        return await self.client.infer(*self.first, request, model_name=request.model_name)

    def message_of(self, error):
        return error.response.json()["error"]


class Grpc:
    name = "gRPC"

    def __init__(self, target):
        self.client, self.first = InferenceGRPCClient(target), ()

    async def infer(self, request, output, binary=True):
        return await self.client.infer(request)

    def message_of(self, error):
        return error.details()


def numbers(name="fashion", binary=True):
    tensor = InferInput("inputs", list(PIXELS.shape), "FP32")
    tensor.set_data_from_numpy(PIXELS, binary_data=binary)
    return InferRequest(name, [tensor], request_id="7")


async def health(api, logits):
    for question in (api.client.is_server_live, api.client.is_server_ready):
        assert await question(*api.first) is True
    assert await api.client.is_model_ready(*api.first, model_name="fashion") is True


async def infer(api, logits):
    for binary in (True, False):
        answer = await api.infer(numbers(binary=binary), "logits", binary)
        assert (answer.id, answer.model_name) == ("7", "fashion")
        (output,) = answer.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("logits", "FP32", [2, 10])
        np.testing.assert_allclose(output.as_numpy().reshape(2, 10), logits, rtol=1e-5, atol=1e-5)


async def pictures(api, logits):
    tensor = InferInput("image_bytes", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([picture("bag.jpg"), picture("coat.png")], np.object_), binary_data=True)
    answer = await api.infer(InferRequest("fashion", [tensor], parameters={"signature_name": "serving_preprocess"}), "labels")
    labels = next(output for output in answer.outputs if output.name == "labels").as_numpy().reshape(2, 5)
    assert [label if isinstance(label, str) else label.decode() for label in labels[:, 0]] == ["Bag", "Coat"]


async def errors(api, logits):
    try:
        await api.infer(numbers("nope"), "logits")
    except Exception as error:
        assert api.message_of(error) == "Request for unknown model: 'nope' is not found"
    else:
        raise AssertionError("an unknown model answers")


async def main(url, target):
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    logits = np.float32((await v1.infer(url, {"instances": PIXELS.tolist()}, model_name="fashion"))["predictions"])
    body = {"signature_name": "serving_preprocess", "instances": [b64(picture("bag.jpg"))]}
    assert (await v1.infer(url, body, model_name="fashion"))["predictions"][0]["labels"][0] == "Bag"
    print("v1: infer")
    await v1.close()
    for api in (Rest(url), Grpc(target)):
        for check in (health, infer, pictures, errors):
            await check(api, logits)
            print(f"v2 {api.name}: {check.__name__}")
        await api.client.close()


asyncio.run(main(*sys.argv[1:]))
