"""Unmodified clients of the Open Inference Protocol: NVIDIA's tritonclient over HTTP and gRPC, curl."""
import json
import subprocess

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils

from client import picture, pixels

PIXELS = np.array([pixels()], np.float32)
CONFIG = {"name": "fashion", "platform": "tensorflow_savedmodel", "backend": "resnetd", "version_policy": {"latest": {"num_versions": 1}},
          "max_batch_size": 16, "input": [{"name": "inputs", "data_type": "TYPE_FP32", "format": "FORMAT_NHWC", "dims": [64, 64, 3]}],
          "output": [{"name": "logits", "data_type": "TYPE_FP32", "dims": [10]}],
          "instance_group": [{"name": "fashion", "kind": "KIND_CPU", "count": 1}],
          "dynamic_batching": {"preferred_batch_size": [], "max_queue_delay_microseconds": 0}, "model_transaction_policy": {"decoupled": False}}


@pytest.fixture(scope="module", params=["http", "grpc"])
def triton(request, server):
    """(module, client)"""
    module = tritonclient.http if request.param == "http" else tritonclient.grpc
    client = module.InferenceServerClient(server.url.removeprefix("http://") if request.param == "http" else server.grpc_target)
    yield module, client
    client.close()


@pytest.fixture(scope="module")
def logits(server):
    client = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"))
    answer = client.infer("fashion", [tensor(tritonclient.http, "inputs", PIXELS)])
    client.close()
    return answer.as_numpy("logits")


def tensor(module, name, array, datatype="FP32", **kwargs):
    out = module.InferInput(name, list(array.shape), datatype)
    out.set_data_from_numpy(array, **kwargs)
    return out



def test_health_and_metadata(triton):
    module, client = triton
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("fashion") and client.is_model_ready("fashion", "1")
    server, model = client.get_server_metadata(), client.get_model_metadata("fashion")
    if module is tritonclient.http:
        assert server["name"] == "resnetd" and "binary_tensor_data" in server["extensions"]
        assert model == {"name": "fashion", "versions": ["1"], "platform": "tensorflow_savedmodel",
                         "inputs": [{"name": "inputs", "datatype": "FP32", "shape": [-1, 64, 64, 3]}],
                         "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]}
    else:
        assert server.name == "resnetd" and "binary_tensor_data" in server.extensions
        assert (model.name, list(model.versions), model.inputs[0].name, list(model.inputs[0].shape)) == ("fashion", ["1"], "inputs", [-1, 64, 64, 3])
        assert (model.outputs[0].name, model.outputs[0].datatype, list(model.outputs[0].shape)) == ("logits", "FP32", [-1, 10])


def test_configuration(triton):
    """What Triton's image client and its load generator look at."""
    module, client = triton
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.get_model_config("nope")
    assert caught.value.message() == "Request for unknown model: 'nope' is not found"
    if module is tritonclient.http:
        assert client.get_model_config("fashion", "1") == CONFIG
        answer = client.get_model_config("fashion", query_params={"signature_name": "serving_preprocess"})
        assert answer["input"] == [{"name": "image_bytes", "data_type": "TYPE_STRING", "format": "FORMAT_NONE", "dims": []}]
        assert [(o["name"], o["data_type"], o["dims"]) for o in answer["output"]] == [("labels", "TYPE_STRING", [5]), ("probabilities", "TYPE_FP32", [5])]
    else:
        answer = client.get_model_config("fashion", "1", as_json=True)["config"]
        given = {"input": answer["input"][0] | {"dims": [64, 64, 3]}, "output": answer["output"][0] | {"dims": [10]}}  # int64 is text in this JSON
        assert answer["input"][0]["dims"] == ["64", "64", "3"]
        assert answer | {key: [value] for key, value in given.items()} == CONFIG | {"dynamic_batching": {}, "model_transaction_policy": {}}


def test_infer(triton, logits):
    module, client = triton
    answer = client.infer("fashion", [tensor(module, "inputs", PIXELS)], request_id="a \"b\"", model_version="1")
    np.testing.assert_array_equal(answer.as_numpy("logits"), logits)
    head = answer.get_response()
    found = (head["id"], head["model_name"], head["model_version"]) if module is tritonclient.http else (head.id, head.model_name, head.model_version)
    assert found == ("a \"b\"", "fashion", "1")


def test_infer_outputs(triton, logits):
    module, client = triton
    wanted = [module.InferRequestedOutput("logits", class_count=3)]
    classes = client.infer("fashion", [tensor(module, "inputs", PIXELS)], outputs=wanted).as_numpy("logits")
    best = np.argsort(-logits[0])[:3]
    assert classes.shape == (1, 3)
    for text, index in zip(classes[0], best, strict=True):
        value, found, label = text.decode().split(":")
        assert (float(value), int(found)) == (pytest.approx(logits[0][index], abs=1e-6), index) and label


def test_infer_pictures(triton):
    module, client = triton
    files = np.array([picture("bag.jpg"), picture("sneaker.png")], np.object_)
    answer = client.infer("fashion", [tensor(module, "image_bytes", files, "BYTES")], parameters={"signature_name": "serving_preprocess"})
    assert [row[0].decode() for row in answer.as_numpy("labels")] == ["Bag", "Sneaker"]
    probabilities = answer.as_numpy("probabilities")
    assert probabilities.dtype == np.float32 and probabilities.shape[0] == 2 and (np.diff(probabilities) <= 0).all()


def test_infer_json_and_compressed(server, logits):
    client = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"))
    inputs = [tensor(tritonclient.http, "inputs", PIXELS, binary_data=False)]
    text = [tritonclient.http.InferRequestedOutput("logits", binary_data=False)]
    np.testing.assert_array_equal(client.infer("fashion", inputs, outputs=text).as_numpy("logits"), logits)
    for algorithm in ("gzip", "deflate"):
        answer = client.infer("fashion", inputs, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
        np.testing.assert_array_equal(answer.as_numpy("logits"), logits)
    client.close()


def test_many_at_once(server, logits):
    client = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4)
    waiting = [client.async_infer("fashion", [tensor(tritonclient.http, "inputs", PIXELS)]) for _ in range(16)]
    for answer in waiting:
        np.testing.assert_allclose(answer.get_result().as_numpy("logits"), logits, rtol=1e-4, atol=1e-4)
    client.close()


def test_errors_are_what_clients_expect(triton):
    module, client = triton
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer("nope", [tensor(module, "inputs", PIXELS)])
    assert caught.value.message() == "Request for unknown model: 'nope' is not found"
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer("fashion", [tensor(module, "inputs", PIXELS[:, :32])])
    assert caught.value.message() == "unexpected shape for input 'inputs' for model 'fashion'. Expected [-1,64,64,3], got [1,32,64,3]"
    with pytest.raises(tritonclient.utils.InferenceServerException) as caught:
        client.infer("fashion", [tensor(module, "inputs", PIXELS)], sequence_id=1, sequence_start=True)
    assert "no state" in caught.value.message()


def test_curl_sends_a_bare_tensor(server, tmp_path):
    """A picture as the body, nothing else."""
    file = tmp_path / "bag"
    file.write_bytes(picture("bag.jpg"))
    url = f"{server.url}/v2/models/fashion/infer?signature_name=serving_preprocess"
    command = ["curl", "-s", "--fail", "-H", "Inference-Header-Content-Length: 0", "--data-binary", f"@{file}", "-D", "-", url]
    head, _, body = subprocess.run(command, capture_output=True, check=True).stdout.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().splitlines()[1:])
    assert fields["content-type"] == "application/octet-stream"
    json_bytes = int(fields["inference-header-content-length"])
    outputs = json.loads(body[:json_bytes])["outputs"]
    assert [output["name"] for output in outputs] == ["labels", "probabilities"]
    assert sum(output["parameters"]["binary_data_size"] for output in outputs) == len(body) - json_bytes
    assert body[json_bytes + 4:].startswith(b"Bag")
