"""The Open Inference Protocol over REST, byte by byte: what clients send, good and bad. Texts were compared with a real Triton's."""
import gzip
import json
import struct
import zlib

import numpy as np
import pytest
import requests

from client import b64, picture, pixels

FLAT = np.array(pixels(), np.float32).ravel()
RAW = FLAT.astype("<f4").tobytes()
INFER = "/v2/models/fashion/infer"
HEADER = "Inference-Header-Content-Length"


def tensor(**fields):
    """The input of one picture; None leaves a field out."""
    out = {"name": "inputs", "shape": [1, 64, 64, 3], "datatype": "FP32", "data": FLAT.tolist(), **fields}
    return {key: value for key, value in out.items() if value is not None}


def binary(raw=RAW, **fields):
    return tensor(data=None, parameters={"binary_data_size": len(raw)}, **fields)


@pytest.fixture(scope="module")
def post(server):
    """post(body) -> answer; with `tail`, the JSON has raw bytes behind it."""
    session = requests.Session()

    def call(body, path=INFER, code=200, tail=None, headers=None):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = dict(headers or {})
        if tail is not None:
            headers.setdefault(HEADER, str(len(raw)))
        answer = session.post(server.url + path, data=raw + (tail or b""), headers=headers)
        assert answer.status_code == code, answer.text
        return answer

    return call


@pytest.fixture(scope="module")
def logits(post):
    return post({"inputs": [tensor()]}).json()["outputs"][0]["data"]


def fails(post, body, message, code=400, **kwargs):
    answer = post(body, code=code, **kwargs)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text == '{"error":' + json.dumps(message) + "}"


# ---- answers ----

def test_document(post, logits):
    answer = post({"id": "a\"\\b\u00e9", "inputs": [tensor()]})
    assert answer.headers["Content-Type"] == "application/json" and HEADER not in answer.headers
    assert answer.json() == {"id": "a\"\\b\u00e9", "model_name": "fashion", "model_version": "1",
                             "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": logits}]}
    assert " " not in answer.text.replace("a\"\\b", "") and "Server-Timing" in answer.headers


def test_same_numbers_as_tensorflow_servings_api(server, logits):
    rest = requests.post(server.url + "/v1/models/fashion:predict", json={"instances": [FLAT.reshape(64, 64, 3).tolist()]}).json()
    assert rest["predictions"][0] == logits


def test_nested_or_flat_in_any_order(post, logits):
    nested = FLAT.reshape(1, 64, 64, 3).tolist()
    assert post({"inputs": [tensor(data=nested)]}).json()["outputs"][0]["data"] == logits
    assert post({"inputs": [tensor(data=[[[nested]]])]}).json()["outputs"][0]["data"] == logits
    backwards = dict(reversed(tensor().items()))
    assert post({"outputs": [], "inputs": [backwards], "unknown": {"x": [1]}}).json()["outputs"][0]["data"] == logits
    spaced = json.dumps({"inputs": [tensor(data=nested)]}, indent=2).encode() + b" \n"
    assert post(spaced).json()["outputs"][0]["data"] == logits


def test_binary_both_ways(post, logits):
    answer = post({"inputs": [binary()], "parameters": {"binary_data_output": True}}, tail=RAW)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    size = int(answer.headers[HEADER])
    document = json.loads(answer.content[:size])
    assert document["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "parameters": {"binary_data_size": 40}}]
    np.testing.assert_array_equal(np.frombuffer(answer.content[size:], "<f4"), np.float32(logits))
    text = post({"inputs": [binary()], "parameters": {"binary_data_output": True},
                 "outputs": [{"name": "logits", "parameters": {"binary_data": False}}]}, tail=RAW)
    assert text.json()["outputs"][0]["data"] == logits


def test_bare_tensor(post, logits):
    answer = post(b"", tail=RAW, headers={HEADER: "0"})
    np.testing.assert_array_equal(np.frombuffer(answer.content[int(answer.headers[HEADER]):], "<f4"), np.float32(logits))


def test_batches(post, logits):
    rows = [np.array(pixels(seed), np.float32) for seed in range(3)]
    for count in (0, 1, 5, 33):
        batch = np.stack([rows[i % 3] for i in range(count)]) if count else np.zeros((0, 64, 64, 3), np.float32)
        answer = post({"inputs": [binary(batch.tobytes(), shape=[count, 64, 64, 3])]}, tail=batch.tobytes()).json()["outputs"][0]
        assert answer["shape"] == [count, 10] and len(answer["data"]) == 10 * count
        if count:
            np.testing.assert_allclose(answer["data"][:10], logits, rtol=1e-4, atol=1e-4)


def printed(value):
    """As C prints the float32 that JSON's shortest text stands for."""
    return f"{float(np.float32(value)):f}"


def test_classification(post, logits):
    best = sorted(range(10), key=lambda i: -logits[i])
    for count, wanted in ((1, 1), (3, 3), (99, 10)):
        output = post({"inputs": [tensor()], "outputs": [{"name": "logits", "parameters": {"classification": count}}]}).json()["outputs"][0]
        assert (output["datatype"], output["shape"]) == ("BYTES", [1, wanted])
        assert [text.split(":")[:2] for text in output["data"]] == [[printed(logits[i]), str(i)] for i in best[:wanted]]
    answer = post({"inputs": [tensor()], "outputs": [{"name": "logits", "parameters": {"classification": 1, "binary_data": True}}]})
    raw = answer.content[int(answer.headers[HEADER]):]
    assert struct.unpack("<I", raw[:4])[0] == len(raw) - 4 and raw[4:].startswith(f"{printed(logits[best[0]])}:{best[0]}:".encode())


def test_pictures_in_every_form(post):
    """As raw bytes with their size in front, as base64, as a bare body: the same answer."""
    files = [picture("bag.jpg"), picture("sneaker.png")]
    raw = b"".join(struct.pack("<I", len(file)) + file for file in files)
    head = {"name": "image_bytes", "shape": [2], "datatype": "BYTES"}
    parameters = {"signature_name": "serving_preprocess"}
    framed = post({"inputs": [{**head, "parameters": {"binary_data_size": len(raw)}}], "parameters": parameters}, tail=raw).json()["outputs"]
    assert [output["name"] for output in framed] == ["labels", "probabilities"]
    width = framed[0]["shape"][1]
    assert [framed[0]["data"][0], framed[0]["data"][width]] == ["Bag", "Sneaker"]
    text = post({"inputs": [{**head, "data": [b64(file) for file in files]}], "parameters": parameters}).json()["outputs"]
    assert text[0] == framed[0]
    np.testing.assert_allclose(text[1]["data"], framed[1]["data"], rtol=1e-4, atol=1e-7)
    bare = post(b"", path=INFER + "?x=1&signature_name=serving_preprocess", tail=files[0], headers={HEADER: "0"})
    document = json.loads(bare.content[:int(bare.headers[HEADER])])
    assert document["outputs"][0]["shape"] == [1, width]


def test_compressed_bodies(post, logits):
    body = json.dumps({"inputs": [tensor()]}).encode()
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        assert post(packed, headers={"Content-Encoding": encoding}).json()["outputs"][0]["data"] == logits
    document = json.dumps({"inputs": [binary()]}).encode()
    answer = post(gzip.compress(document + RAW), headers={"Content-Encoding": "gzip", HEADER: str(len(document))})
    assert answer.json()["outputs"][0]["data"] == logits


def test_parameters_that_schedule(post, logits):
    assert post({"inputs": [tensor()], "parameters": {"priority": 1, "timeout": 60_000_000, "anything": "else"}}).json()["outputs"][0]["data"] == logits
    answer = post({"inputs": [tensor()], "parameters": {"timeout": 1}}, code=504)
    assert "error" in answer.json()


# ---- metadata and the rest ----

def get(server, path, code=200, method="GET", **kwargs):
    answer = requests.request(method, server.url + path, **kwargs)
    assert answer.status_code == code, answer.text
    return answer


def test_metadata(server):
    model = get(server, "/v2/models/fashion/versions/1").json()
    assert model["versions"] == ["1"] and model["inputs"] == [{"name": "inputs", "datatype": "FP32", "shape": [-1, 64, 64, 3]}]
    other = get(server, "/v2/models/fashion?signature_name=serving_preprocess").json()
    assert other["inputs"] == [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}]
    assert [(o["name"], o["datatype"]) for o in other["outputs"]] == [("labels", "BYTES"), ("probabilities", "FP32")]
    assert "statistics" in get(server, "/v2").json()["extensions"]


def test_readiness(server):
    for path in ("/v2/models/fashion/ready", "/v2/models/fashion/versions/1/ready"):
        assert get(server, path).content == b""
    for word in ("live", "ready"):
        assert get(server, f"/v2/health/{word}").content == f'{{"{word}":true}}'.encode()
    assert get(server, "/v2/models/nope/ready", 404).text == '{"error":"Request for unknown model: \'nope\' is not found"}'


@pytest.mark.parametrize("method, path, code", [
    ("GET", INFER, 405), ("POST", "/v2", 405), ("POST", "/v2/models/fashion", 405), ("DELETE", "/v2/health/ready", 405),
    ("GET", "/v2/repository/index", 405), ("GET", "/v2/foo", 404), ("GET", "/v2/models", 404), ("GET", "/v2/models/fashion/versions/1/", 404),
    ("GET", "/v2/models/nope", 404), ("GET", "/v2/models/fashion/versions/9", 404), ("GET", "/v2/models/nope/stats", 404),
    ("GET", "/v2/trace/setting", 501), ("POST", "/v2/logging", 501), ("GET", "/v2/systemsharedmemory/status", 501),
    ("POST", "/v2/models/fashion/generate", 501), ("GET", "/v2/models/fashion?signature_name=nope", 400),
])
def test_what_is_not_there(server, method, path, code):
    answer = get(server, path, code, method)
    assert list(answer.json()) == ["error"] and answer.headers["Content-Type"] == "application/json"


def test_statistics(start_server):
    server = start_server()
    assert get(server, "/v2/models/stats").json()["model_stats"][0]["inference_stats"]["success"] == {"count": 0, "ns": 0}
    for _ in range(3):
        assert requests.post(server.url + INFER, json={"inputs": [tensor(shape=[2, 64, 64, 3], data=FLAT.tolist() * 2)]}).status_code == 200
    assert requests.post(server.url + INFER, json={}).status_code == 400
    for path in ("/v2/models/stats", "/v2/models/fashion/stats", "/v2/models/fashion/versions/1/stats"):
        (model,) = get(server, path).json()["model_stats"]
        assert (model["name"], model["version"], model["inference_count"], model["execution_count"]) == ("fashion", "1", 6, 3)
        stages = model["inference_stats"]
        assert stages["success"]["count"] == 3 and stages["fail"]["count"] == 1
        assert stages["success"]["ns"] >= stages["compute_infer"]["ns"] + stages["queue"]["ns"] > 0
        assert [(b["batch_size"], b["compute_infer"]["count"]) for b in model["batch_stats"]] == [(2, 3)] and model["last_inference"] > 1.7e12


def test_repository(start_server):
    server = start_server()
    ready = [{"name": "fashion", "version": "1", "state": "READY"}]
    assert get(server, "/v2/repository/index", method="POST").json() == ready
    assert get(server, "/v2/repository/models/fashion/unload", method="POST").content == b""
    assert get(server, "/v2/repository/index", method="POST").json()[0]["state"] == "UNAVAILABLE"
    assert get(server, "/v2/repository/index", method="POST", json={"ready": True}).json() == []
    get(server, INFER, 404, "POST", json={"inputs": [tensor()]})
    assert get(server, "/v2/repository/models/fashion/load", method="POST").content == b""
    assert get(server, "/v2/repository/index", method="POST", json={"ready": True}).json() == ready
    get(server, INFER, 200, "POST", json={"inputs": [tensor()]})
    for verb in ("load", "unload"):
        assert "nope" in get(server, f"/v2/repository/models/nope/{verb}", 404, "POST").json()["error"]
    assert "parameters" in get(server, "/v2/repository/models/fashion/load", 501, "POST", json={"parameters": {"config": "{}"}}).json()["error"]
    assert get(server, "/v2/repository/index", 400, "POST", json={"ready": 1}).json() == {"error": "Unable to parse 'ready': expected true or false"}


# ---- errors ----

SIZES = "expected a whole number, not negative"


@pytest.mark.parametrize("body, message", [
    (b"", "JSON Parse error: The document is empty"),
    (b"garbage", "JSON Parse error: Invalid value. at offset: 0"),
    (b'{"inputs":[', "JSON Parse error: Invalid value. at offset: 11"),
    (b'{"inputs":[]}x', "JSON Parse error: The document root must not be followed by other values. at offset: 13"),
    (b"[1]", "Unable to parse 'request': expected an object, found Array"),
    ({}, "Unable to parse 'inputs': expected an array, found nothing"),
    ({"inputs": {}}, "Unable to parse 'inputs': expected an array, found Object"),
    ({"inputs": [1]}, "Unable to parse 'inputs': expected an object, found Number"),
    ({"inputs": []}, "expected 1 inputs but got 0 inputs for model 'fashion'. Its input is 'inputs'."),
    ({"inputs": [tensor(), tensor(name="x")]}, "expected 1 inputs but got 2 inputs for model 'fashion'. Its input is 'inputs'."),
    ({"inputs": [tensor(name=None)]}, "Unable to parse 'name': expected a string, found nothing"),
    ({"inputs": [tensor(name="x" * 256)]}, "name of 256 bytes: at most 255 are possible"),
    ({"inputs": [tensor(name="inputs\0x")]}, "name contains a zero byte"),
    ({"inputs": [tensor(name="x")]}, "unexpected inference input 'x' for model 'fashion'. Its input is 'inputs'."),
    ({"inputs": [tensor(datatype="FP16")]}, "inference input 'inputs' data-type is 'FP16', but model 'fashion' expects 'FP32'"),
    ({"inputs": [tensor(shape="x")]}, "Unable to parse 'shape': expected an array, found String"),
    ({"inputs": [tensor(shape=[-1, 64, 64, 3])]}, f"Unable to parse 'shape': {SIZES}"),
    ({"inputs": [tensor(shape=[1.5, 64, 64, 3])]}, f"Unable to parse 'shape': {SIZES}"),
    ({"inputs": [tensor(shape=[1] * 9)]}, "input 'inputs': more than 8 dimensions"),
    ({"inputs": [tensor(shape=[64, 64, 3])]}, "unexpected shape for input 'inputs' for model 'fashion'. Expected [-1,64,64,3], got [64,64,3]"),
    ({"inputs": [tensor(data=FLAT.tolist() + [1])]}, "Unable to parse 'data' of input 'inputs': more values than its shape holds"),
    ({"inputs": [tensor(data=FLAT.tolist()[1:])]}, "Unable to parse 'data' of input 'inputs': fewer values than its shape holds"),
    ({"inputs": [tensor(data=["x"])]}, "Unable to parse 'data' of input 'inputs': expected a number, found String"),
    ({"inputs": [tensor(data="x")]}, "Unable to parse 'data': expected an array, found String"),
    ({"inputs": [tensor(data=None)]},
     "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters'. But no field is set"),
    ({"inputs": [tensor(parameters={"binary_data_size": 4})]},
     "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters'. But set 'data' 'binary_data_size'"),
    ({"inputs": [tensor()], "outputs": [{"name": "x"}]}, "unexpected inference output 'x' for model 'fashion'"),
    ({"inputs": [tensor()], "outputs": [{"name": "logits"}] * 9}, "more than 8 outputs are asked for"),
    ({"inputs": [tensor()], "outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, f"Unable to parse 'classification': {SIZES}"),
    ({"inputs": [tensor()], "id": 1}, "Unable to parse 'id': expected a string, found Number"),
    ({"inputs": [tensor()], "parameters": [1]}, "Unable to parse 'parameters': expected an object, found Array"),
    ({"inputs": [tensor()], "parameters": {"priority": "x"}}, f"Unable to parse 'priority': {SIZES}"),
    ({"inputs": [tensor()], "parameters": {"signature_name": "nope"}}, "signature 'nope' is not one of this model's"),
    ({"inputs": [tensor()], "parameters": {"triton_x": 1}},
     "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."),
])
def test_bad_documents(post, body, message):
    fails(post, body, message)


def test_bad_rows(post):
    answer = post({"inputs": [tensor(shape=[2**40, 64, 64, 3], data=[])]}, code=400)
    assert "is larger than maximum input batch size" in answer.json()["error"]


@pytest.mark.parametrize("header, body, tail, message", [
    ("x", {"inputs": [binary()]}, RAW, "inference header size should be in range (0, {total}), got: x"),
    ("-1", {"inputs": [binary()]}, RAW, "inference header size should be in range (0, {total}), got: -1"),
    ("99999999999999999999", {"inputs": [binary()]}, RAW, "inference header size should be in range (0, {total}), got: 99999999999999999999"),
    (None, {"inputs": [binary()]}, RAW[:-4], "unexpected size for input 'inputs', expecting 4 additional bytes"),
    (None, {"inputs": [binary()]}, RAW + b"xxxx", "unexpected additional input data: 4 bytes that no input claims"),
    (None, {"inputs": [binary(RAW[:100])]}, RAW[:100], "input byte size mismatch for input 'inputs' for model 'fashion'. Expected 49152, got 100"),
    (None, {"inputs": [tensor(data=None, parameters={"binary_data_size": -1})]}, RAW, f"Unable to parse 'binary_data_size': {SIZES}"),
    ("0", b"", RAW[:-1], "input byte size mismatch for input 'inputs' for model 'fashion'. Expected 49152, got 49151"),
])
def test_bad_framing(post, header, body, tail, message):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fails(post, raw, message.replace("{total}", str(len(raw) + len(tail))), tail=tail, headers={HEADER: header} if header else None)


@pytest.mark.parametrize("raw, message", [
    (b"\xff\xff\xff\xff", "input 'image_bytes': incomplete string data, 4 bytes left for element 0 of 1"),
    (b"\1\0", "input 'image_bytes': incomplete string data, 2 bytes left for element 0 of 1"),
    (b"\0\0\0\0\0", "input 'image_bytes': 1 bytes left behind its 1 elements"),
    (b"\3\0\0\0abc", "input 'image_bytes', element 0: Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."),
])
def test_bad_pictures(post, raw, message):
    head = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    fails(post, {"inputs": [head], "parameters": {"signature_name": "serving_preprocess"}}, message, tail=raw)


def test_what_is_refused_as_not_supported(post):
    body = {"inputs": [tensor()]}
    fails(post, {**body, "parameters": {"sequence_id": 1}}, "parameter 'sequence_id': models here have no state, each request stands alone", 501)
    shared = {"inputs": [tensor(data=None, parameters={"shared_memory_region": "x"})]}
    fails(post, shared, "input 'inputs': shared memory is not supported", 501)
    fails(post, {**body, "outputs": [{"name": "logits", "parameters": {"shared_memory_region": "x"}}]}, "output 'logits': shared memory is not supported", 501)
    fails(post, body, "Unsupported compression type: br", 501, headers={"Content-Encoding": "br"})
    fails(post, b"xxx", "Request body is not gzip, as its Content-Encoding says", headers={"Content-Encoding": "gzip"})


def test_an_unknown_model_comes_first(post):
    fails(post, b"{", "Request for unknown model: 'nope' is not found", 404, path="/v2/models/nope/infer")
    fails(post, b"{", "Request for unknown model: 'fashion' version 9 is not found", 404, path="/v2/models/fashion/versions/9/infer")
