"""URLs, model status and metadata: cases R01 to R36 of TensorFlow Serving's REST contract."""
import json

import pytest
import requests

from client import MODEL, Connection, error_body

STATUS = b"""{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""


@pytest.fixture
def connection(server):
    connection = Connection(server.port)
    yield connection
    connection.close()


def malformed(method, path):
    return 400, error_body(f"Malformed request: {method} {path}")


def test_other_paths(connection):
    """R01: what is no API of TensorFlow Serving's gets the page of its HTTP library; below /v2, clients parse JSON."""
    page = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    for path in ("/statuspage", "/index", "/v1"):
        code, headers, body = connection.call("GET", path)
        assert (code, headers["content-type"], body) == (404, "text/html", page)
    code, headers, body = connection.call("GET", "/v2/health")
    assert (code, headers["content-type"], body) == (404, "application/json", b'{"error":"Not Found"}')


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/foo"),
    ("POST", "/v1/foo"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/debug/model_name"),
    ("GET", "/v1/models/fashion:predict"),
    ("GET", "/v1/models/fashion/version/50:predict"),
    ("POST", "/v1/models/fashion/versions/HELLO:regress"),
    ("POST", "/v1/models/fashion/versions/some_label:regress"),
    ("POST", "/v1/models/fashion/metadata"),
    ("POST", "/v1/models/fashion/label/some_label:regress"),
    ("POST", "/v1/models/fashion/versions/50/labels/some_label:regress"),
    ("POST", "/v1/models/fashion:PREDICT"),
    ("PUT", "/v1/models/fashion"),
    ("DELETE", "/v1/models/fashion"),
    ("PATCH", "/v1/models/fashion"),
    ("POST", "/v1/models/fashion:predict?x=1"),
    ("GET", "/v1/models/fashion/"),
    ("POST", "/v1/models/fashion/versions/:predict"),
    ("POST", "/v1/models/:predict"),
])
def test_malformed(connection, method, path):
    code, headers, body = connection.call(method, path)
    assert (code, body) == malformed(method, path)
    assert headers["content-type"] == "application/json"


def test_head_has_no_body(connection):
    code, headers, body = connection.call("HEAD", "/v1/models/fashion")
    assert code == 400 and int(headers["content-length"]) == len(malformed("HEAD", "/v1/models/fashion")[1])
    assert connection.call("GET", "/v1/models/fashion")[2] == STATUS  # the connection is in step


def test_missing_name(connection):
    assert connection.call("GET", "/v1/models")[0::2] == (400, error_body("Missing model name in request."))


def test_version_overflow_has_an_empty_body(connection):
    for method, path in (("POST", "/v1/models/m/versions/18446744073709551615:regress"), ("GET", "/v1/models/m/versions/9223372036854775808")):
        assert connection.call(method, path)[0::2] == (400, b"")


def test_percent_encoding(connection):
    encoded, decoded = "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D", "modelname!#$%&'()*+,/:;=?@[]"
    assert connection.call("GET", f"/v1/models/{encoded}")[0::2] == (404, error_body(f"Could not find any versions of model {decoded}"))
    assert connection.call("POST", f"/v1/models/{encoded}:predict", b"{}")[0::2] == (404, error_body(f"Servable not found for request: Latest({decoded})"))
    assert connection.call("POST", f"/v1/models/fashion/labels/{encoded}:predict", b"{}")[0::2] == (
        400, error_body(f"Unrecognized servable version label: {decoded}"))
    assert connection.call("GET", "/v1/models/f%61shion")[0] == 200
    assert connection.call("GET", "/v1/models/a%zz%4")[2] == error_body("Could not find any versions of model a%zz%4")


def test_case(connection):
    assert connection.call("GET", "/V1/MODELS/fashion")[0] == 200
    assert connection.call("GET", "/v1/models/Fashion")[0] == 404
    assert connection.call("POST", "/V1/Models/fashion/VERSIONS/1:predict", b"{}")[2] == error_body("Missing 'inputs' or 'instances' key")
    assert connection.call("GET", "/v1/models/fashion/Metadata")[2] == STATUS


def test_query_is_part_of_the_name(connection):
    assert connection.call("GET", "/v1/models/fashion?x=1")[2] == error_body("Could not find any versions of model fashion?x=1")


def test_preflight(server, start_server):
    url = f"{server.url}/v1/models/fashion:predict"
    for origin, code in (("http://page.example", 200), ("https://page.example", 200), ("ftp://page.example", 400), (None, 400)):
        answer = requests.options(url, headers={"Origin": origin} if origin else {})
        assert (answer.status_code, answer.content) == (code, b""), origin
        assert "Access-Control-Allow-Origin" not in answer.headers
    cors = start_server(MODEL, "--rest_api_enable_cors_support")
    for answer in (requests.options(f"{cors.url}/v1/x", headers={"Origin": "http://a"}), requests.get(f"{cors.url}/v1/models/fashion")):
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert cors.stop() == 0


# ---- status ----

@pytest.mark.parametrize("path", ["", "/versions/1", "/versions/0001", "/labels/stable", "/labels/NOSUCH"])
def test_status(connection, path):
    code, headers, body = connection.call("GET", f"/v1/models/fashion{path}")
    assert (code, body) == (200, STATUS)
    assert headers["content-type"] == "application/json"


def test_unknown_status(connection):
    assert connection.call("GET", "/v1/models/nope")[0::2] == (404, error_body("Could not find any versions of model nope"))
    assert connection.call("GET", "/v1/models/fashion/versions/99")[0::2] == (404, error_body("Could not find version 99 of model fashion"))


# ---- metadata ----

def tensor(dtype, sizes, name):
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}, "name": name}


def test_metadata(connection):
    for path in ("/metadata", "/versions/1/metadata"):
        code, _, body = connection.call("GET", f"/v1/models/fashion{path}")
        assert code == 200
        document = json.loads(body)
        assert document["model_spec"] == {"name": "fashion", "signature_name": "", "version": "1"}
        signatures = document["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == {"serving_default", "serving_preprocess"}
        assert signatures["serving_default"] == {
            "inputs": {"inputs": tensor("DT_FLOAT", [-1, 64, 64, 3], "serving_default_inputs:0")},
            "outputs": {"logits": tensor("DT_FLOAT", [-1, 10], "StatefulPartitionedCall:0")},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        preprocess = signatures["serving_preprocess"]
        assert preprocess["inputs"] == {"image_bytes": tensor("DT_STRING", [-1], "serving_preprocess_image_bytes:0")}
        assert preprocess["outputs"]["labels"] == tensor("DT_STRING", [-1, 5], "StatefulPartitionedCall_1:0")
    assert body.startswith(b'{\n"model_spec":{\n "name": "fashion",\n "signature_name": "",\n "version": "1"\n}\n,\n'
                           b'"metadata": {"signature_def": {\n "signature_def": {\n')
    assert body.endswith(b"\n}\n}\n}\n")


def test_unknown_metadata(connection):
    assert connection.call("GET", "/v1/models/nope/metadata")[0::2] == (404, error_body("Servable not found for request: Latest(nope)"))
    assert connection.call("GET", "/v1/models/fashion/versions/9/metadata")[2] == error_body("Servable not found for request: Specific(fashion, 9)")
    assert connection.call("GET", "/v1/models/fashion/labels/NOSUCH/metadata")[0::2] == (
        400, error_body("Unrecognized servable version label: NOSUCH"))


# ---- health ----

def test_health(server):
    for base in (server.url, server.monitoring_url):
        for path in ("/healthz", "/healthz/live", "/healthz/ready", "/healthz/startup", "/readyz", "/healthz?verbose"):
            answer = requests.get(base + path)
            assert (answer.status_code, answer.content) == (200, b""), path
        assert requests.get(f"{base}/v2").json()["name"] == "resnetd"
    assert requests.get(f"{server.monitoring_url}/v1/models/fashion").status_code == 404
