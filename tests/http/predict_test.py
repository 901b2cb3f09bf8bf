"""Predict calls that succeed: cases R37 to R64 of TensorFlow Serving's REST contract, on the bundled model."""
import gzip
import json
import pathlib
import re

import numpy as np
import pytest
import requests

from client import MODEL, PICTURES, PREDICT, b64, jpeg, picture, pixels


@pytest.fixture(scope="module", params=["best", "avx2", "scalar"])
def answering(request, server, start_server):
    """The server, and others that may not use all instructions of the processor: each path through the CPU backend answers as the best does."""
    if request.param == "best":
        return server
    if request.param == "avx2" and not re.search(r"^flags.* avx2 .*", pathlib.Path("/proc/cpuinfo").read_text(), re.M):
        pytest.skip("this processor lacks avx2")
    limited = start_server(MODEL, f"--isa={request.param}")
    assert "cpu avx2" in limited.log if request.param == "avx2" else "cpu openblas" in limited.log
    return limited


@pytest.fixture(scope="module")
def post(answering):
    session = requests.Session()

    def call(body, path=PREDICT, code=200, **kwargs):
        answer = session.post(answering.url + path, data=body if isinstance(body, (str, bytes)) else json.dumps(body), **kwargs)
        assert answer.status_code == code, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        return answer

    return call


@pytest.fixture(scope="module")
def logits(post):
    """Of pixels(0), in row format."""
    return post({"instances": [pixels()]}).json()["predictions"][0]


def preprocess(**body):
    return {"signature_name": "serving_preprocess", **body}


# ---- numbers ----

def test_rows_and_columns_agree(post, logits):
    assert len(logits) == 10
    assert post({"inputs": [pixels()]}).json() == {"outputs": [logits]}
    assert post({"inputs": {"inputs": [pixels()]}}).json() == {"outputs": [logits]}
    assert post({"instances": [{"inputs": pixels()}]}).json() == {"predictions": [logits]}
    assert post({"instances": [pixels()], "signature_name": "serving_default"}).json() == {"predictions": [logits]}
    assert post({"instances": [pixels()], "signature_name": ""}).json() == {"predictions": [logits]}
    assert post({"instances": [pixels()]}, "/v1/models/fashion/versions/1:predict").json() == {"predictions": [logits]}


def test_batches(post, logits):
    """Also more rows than one run takes."""
    for rows in (2, 16, 17, 50):
        answer = post({"instances": [pixels(seed % 3) for seed in range(rows)]})
        predictions = answer.json()["predictions"]
        assert len(predictions) == rows
        for i, row in enumerate(predictions):
            np.testing.assert_allclose(row, predictions[i % 3], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(predictions[0], logits, rtol=1e-4, atol=1e-4)


def test_layout(post, logits):
    numbers = ", ".join(json.dumps(x) for x in logits)
    row = post({"instances": [pixels()]}).text
    assert row.startswith('{\n    "predictions": [[') and row.endswith("]\n    ]\n}")
    assert row.count("\n") == 3
    column = post({"inputs": [pixels()]}).text
    assert column.startswith('{\n    "outputs": [\n        [\n            ') and column.endswith("\n        ]\n    ]\n}")
    assert column.count("\n") == 15
    assert json.loads(row)["predictions"][0] == json.loads(f"[{numbers}]")


def constant_picture(token):
    """A body of one picture, every number written as `token`."""
    return '{"instances":[[' + ",".join(["[" + ",".join([f"[{token},{token},{token}]"] * 64) + "]"] * 64) + "]]}"


def test_how_numbers_may_be_written(post):
    same = [post(constant_picture(token)).json() for token in ("0.5", "5e-1", "0.50000000000000000001", "50E-2", "0.5e+0")]
    assert all(answer == same[0] for answer in same)
    assert post(constant_picture("1")).json() == post(constant_picture("1.0")).json()
    assert post(constant_picture("2.2e-308")).json() == post(constant_picture("0")).json()
    mixed = json.dumps({"instances": [pixels()]}).replace("0.5", "1", 20).replace("[0.", "[ 0.")
    assert len(post(mixed).json()["predictions"][0]) == 10


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "Inf", "-Inf", "1.79e308", "-1.79e308"])
def test_numbers_that_are_not_finite(post, token):
    """They are accepted; what the network makes of them is its own affair."""
    assert len(post(constant_picture(token)).json()["predictions"][0]) == 10


# ---- pictures ----

def test_pictures(post):
    answer = post(preprocess(instances=[b64(picture("bag.jpg")), b64(picture("sneaker.png"))])).json()
    assert [row["labels"][0] for row in answer["predictions"]] == ["Bag", "Sneaker"]
    named = post(preprocess(instances=[{"image_bytes": b64(picture("bag.jpg"))}, {"image_bytes": b64(picture("sneaker.png"))}])).json()
    for one, other in zip(named["predictions"], answer["predictions"], strict=True):
        assert one["labels"] == other["labels"]
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], rtol=1e-4, atol=1e-7)
    for inputs in ([b64(picture("bag.jpg"))], {"image_bytes": [b64(picture("bag.jpg"))]}):
        columns = post(preprocess(inputs=inputs)).json()["outputs"]
        assert columns["labels"][0] == answer["predictions"][0]["labels"]
        np.testing.assert_allclose(columns["probabilities"][0], answer["predictions"][0]["probabilities"], rtol=1e-4, atol=1e-7)


def test_pictures_have_tensorflows_answers(post):
    expected = json.loads((PICTURES / "answers.json").read_text())["serving_preprocess"]
    rows = post(preprocess(instances=[b64(picture(name)) for name in expected])).json()["predictions"]
    for row, name in zip(rows, expected, strict=True):
        assert row["labels"] == expected[name]["labels"]
        np.testing.assert_allclose(row["probabilities"], expected[name]["probabilities"], rtol=1e-4, atol=1e-6)


def test_picture_layout(post):
    text = post(preprocess(instances=[b64(picture("bag.jpg"))])).text
    lines = text.split("\n")
    assert lines[:3] == ["{", '    "predictions": [', "        {"]
    assert lines[3].startswith('            "labels": ["Bag", ') and lines[3].endswith("],")
    assert lines[4].startswith('            "probabilities": [0.9')
    assert lines[5:] == ["        }", "    ]", "}"]


def test_escaped_and_wrapped_base64(post):
    body = json.dumps(preprocess(instances=[b64(picture("bag.jpg"))]))
    expected = post(body).text
    assert post(body.replace("/", "\\/")).text == expected
    assert post(body.replace("A", "\\u0041")).text == expected
    assert post(body.replace('"b64": "', '"b64": "\\n')).text == expected
    assert post(body.replace("=", "")).text == expected  # padding may be left out


def test_many_pictures(post):
    names = ["bag.jpg", "coat.png", "trouser.jpg"] * 20
    labels = [row["labels"][0] for row in post(preprocess(instances=[b64(picture(name)) for name in names])).json()["predictions"]]
    assert labels == ["Bag", "Coat", "Trouser"] * 20


def test_odd_sizes(post):
    for size in ((1, 1), (64, 64), (3, 500), (500, 3), (1000, 800)):
        assert len(post(preprocess(instances=[b64(jpeg(*size))])).json()["predictions"][0]["labels"]) == 5


def test_no_rows_in_columns(post):
    assert post({"inputs": []}).json() == {"outputs": []}
    assert post(preprocess(inputs=[])).json() == {"outputs": {"labels": [], "probabilities": []}}


# ---- documents ----

def test_what_may_surround_the_document(post, logits):
    body = json.dumps({"instances": [pixels()]}).encode()
    for variant in (body + b"XYZ", body + b"}", b"\xef\xbb\xbf" + body, b" \r\n\t" + body):
        assert post(variant).json() == {"predictions": [logits]}


def test_other_keys(post, logits):
    instances = json.dumps([pixels()])
    deep = "[" * 500000 + "]" * 500000
    for body in (
        f'{{"unused": {deep}, "instances": {instances}}}',
        f'{{"parameters": {{"instances": 1}}, "instances": {instances}, "instances": 7}}',
        f'{{"\\u0069nstances": {instances}}}',
        f'{{"instances": {instances}, "signature_name": "serving_default", "signature_name": 5}}',
    ):
        assert post(body).json() == {"predictions": [logits]}
    assert post(f'{{"inputs": {{"extra": 1, "inputs": {instances}}}}}').json() == {"outputs": [logits]}


def test_content_type_is_not_read(post, logits):
    body = json.dumps({"instances": [pixels()]})
    for kind in ("application/x-www-form-urlencoded", "text/plain", "nonsense"):
        assert post(body, headers={"Content-Type": kind, "Accept": "image/png", "Accept-Encoding": "gzip"}).json() == {"predictions": [logits]}


def test_gzip(post, logits):
    body = gzip.compress(json.dumps({"instances": [pixels()]}).encode())
    answer = post(body, headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert answer.json() == {"predictions": [logits]}
    assert "Content-Encoding" not in answer.headers


def test_chunked_body(answering, logits):
    body = json.dumps({"instances": [pixels()]}).encode()
    chunks = (body[i:i + 1000] for i in range(0, len(body), 1000))
    assert requests.post(answering.url + PREDICT, data=chunks).json() == {"predictions": [logits]}


# ---- headers ----

def test_device_and_timings(post):
    headers = post(preprocess(instances=[b64(picture())])).headers
    assert headers["X-Resnetd-Device"].startswith("cpu ")
    stages = [entry.split(";")[0].strip() for entry in headers["Server-Timing"].split(",")]
    assert stages == ["parse", "decode", "queue", "run", "write", "batch"]
    assert "decode" not in post({"instances": [pixels()]}).headers["Server-Timing"]
