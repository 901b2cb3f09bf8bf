"""POST ...:explain, and the output `explanation` of the Open Inference Protocol. That the numbers are right is tests/oracle/class_map_test.py's."""
import gzip
import io

import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from PIL import Image

from client import PICTURES, PREDICT, b64, picture, pixels

EXPLAIN = PREDICT.replace(":predict", ":explain")


def post(server, data, query="", code=200, content_type="image/png", **headers):
    answer = requests.post(server.url + EXPLAIN + query, data=data, headers={"Content-Type": content_type, **headers})
    assert answer.status_code == code, answer.text
    return answer


def test_a_posted_picture(server):
    """The answer of :predict with one member more."""
    body = post(server, picture("ankle_boot.png"), "?topk=2").json()
    assert list(body) == ["predictions", "explanations"]
    predicted = requests.post(f"{server.url}{PREDICT}?topk=2", data=picture("ankle_boot.png"), headers={"Content-Type": "image/png"})
    assert body["predictions"] == predicted.json()["predictions"]
    (found,) = body["explanations"]
    assert list(found) == ["class", "label", "window", "rows", "columns", "map"]
    assert (found["class"], found["label"], found["window"]) == (9, "Ankle boot", {"of": "shorter_side", "height": 1.0, "width": 1.0})
    # Five halvings, each with a pixel of padding on both sides: position 0 looks at the first pixel, the next one 32 pixels further on.
    assert found["rows"] == found["columns"] == [0.5 / 64, 32.5 / 64]
    assert np.shape(found["map"]) == (2, 2)


def test_a_class_that_is_asked_for(server):
    maps = [post(server, picture("bag.jpg"), f"?class={k}", content_type="image/jpeg").json()["explanations"][0] for k in range(10)]
    assert [m["class"] for m in maps] == list(range(10))
    assert len({str(m["map"]) for m in maps}) == 10
    assert post(server, picture("bag.jpg"), content_type="image/jpeg").json()["explanations"][0] == maps[8]
    # A map's mean and the dense layer's bias are the class's logit: the differences of the logits of two pictures do without the bias.
    others = [post(server, picture("coat.png"), f"?class={k}").json()["explanations"][0] for k in range(10)]
    instances = [b64(picture("bag.jpg")), b64(picture("coat.png"))]
    rows = requests.post(server.url + PREDICT, json={"signature_name": "serving_preprocess", "instances": instances}).json()["predictions"]
    logit = lambda row: dict(zip(row["labels"], np.log(row["probabilities"])))
    shared = set(rows[0]["labels"]) & set(rows[1]["labels"])
    names = {m["label"]: i for i, m in enumerate(maps)}
    differences = [logit(rows[0])[name] - logit(rows[1])[name] - (np.mean(maps[names[name]]["map"]) - np.mean(others[names[name]]["map"])) for name in shared]
    assert np.ptp(differences) < 1e-3 and len(shared) > 1


def test_documents_and_forms(server):
    """Rows, columns, floats without a picture, several pictures, gzip, versions."""
    instances = [b64(picture("bag.jpg")), b64(picture("coat.png"))]
    document = {"signature_name": "serving_preprocess", "instances": instances}
    rows = requests.post(server.url + EXPLAIN, json=document).json()
    assert rows["predictions"] == requests.post(server.url + PREDICT, json=document).json()["predictions"]
    assert [e["label"] for e in rows["explanations"]] == ["Bag", "Coat"]
    columns = requests.post(server.url + EXPLAIN, json={"signature_name": "serving_preprocess", "inputs": instances}).json()
    assert list(columns) == ["outputs", "explanations"] and columns["explanations"] == rows["explanations"]
    (floats,) = requests.post(server.url + EXPLAIN + "?class=3", json={"instances": [pixels()]}).json()["explanations"]
    assert floats["class"] == 3 and "window" not in floats
    form = requests.post(server.url + EXPLAIN, files=[("a", ("x.jpg", picture("bag.jpg"))), ("a", ("y.png", picture("coat.png")))]).json()
    np.testing.assert_allclose([e["map"] for e in form["explanations"]], [e["map"] for e in rows["explanations"]], rtol=1e-4, atol=1e-4)
    packed = post(server, gzip.compress(picture("coat.png")), **{"Content-Encoding": "gzip"}).json()
    assert packed["explanations"][0]["label"] == "Coat"
    version = requests.post(server.url + EXPLAIN.replace(":", "/versions/1:"), data=picture("coat.png"), headers={"Content-Type": "image/png"})
    assert version.json()["explanations"] == packed["explanations"]


def test_the_overlay(server):
    """As large as the picture, within limits; bright where the map is hot, and grey outside of what the network sees."""
    wide = io.BytesIO()
    Image.new("RGB", (900, 500), (120, 160, 120)).save(wide, "PNG")
    answer = post(server, wide.getvalue(), "?class=8", Accept="image/png")
    assert answer.headers["Content-Type"] == "image/png" and "run;dur=" in answer.headers["Server-Timing"]
    shown = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int32)
    assert shown.shape == (500, 900, 3)
    outside = np.concatenate([shown[:, :200], shown[:, 700:]], axis=1)
    assert (np.ptp(outside, axis=2) == 0).all() and outside.max() < 80
    (e,) = post(server, wide.getvalue(), "?class=8").json()["explanations"]
    values, lightness = np.array(e["map"]), shown.sum(2)
    places = [(round(500 * row), 200 + round(500 * column)) for row in e["rows"] for column in e["columns"]]
    found = [lightness[place] for place in places]
    assert np.argsort(found).tolist() == np.argsort(values.ravel()).tolist()
    assert Image.open(io.BytesIO(post(server, picture("bag.png"), Accept="image/png").content)).size == (448, 448)
    json_first = post(server, picture("bag.png"), Accept="application/json, image/png")
    assert json_first.headers["Content-Type"] == "application/json"
    document = {"signature_name": "serving_preprocess", "instances": [b64(picture("bag.png"))]}
    same = requests.post(server.url + EXPLAIN, json=document, headers={"Accept": "image/png"})
    assert same.content == post(server, picture("bag.png"), Accept="image/png").content


@pytest.mark.parametrize("query, body, headers, code, message", [
    ("?class=10", b"bag", {}, 400, "class=10: expected a number from 0 to 9"),
    ("?class=-1", b"bag", {}, 400, "class=-1: expected a number from 0 to 9"),
    ("?class=1x", b"bag", {}, 400, "class=1x: expected a number from 0 to 9"),
    ("?topk=0", b"bag", {}, 400, "topk=0: expected a number from 1 to 1000000"),
    ("", b"no picture", {}, 400, "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."),
    ("", b"x", {"Content-Type": "image/tiff"}, 415, "image/tiff: pictures are read as JPEG, PNG, GIF, BMP and WebP"),
    ("", b'{"instances": 1}', {"Content-Type": "application/json"}, 400, "Expecting 'instances' to be an list/array"),
    ("", b"{", {"Content-Type": "application/json"}, 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
])
def test_what_is_refused(server, query, body, headers, code, message):
    data = picture("bag.png") if body == b"bag" else body
    assert message in requests.post(server.url + EXPLAIN + query, data=data, headers={"Content-Type": "image/png", **headers}).json()["error"]


def test_more_refusals(server):
    two = {"signature_name": "serving_preprocess", "instances": [b64(picture("bag.png"))] * 2}
    answer = requests.post(server.url + EXPLAIN, json=two, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]) == (400, "image/png is made of one encoded picture, this call has another number of them")
    answer = requests.post(server.url + EXPLAIN, json={"instances": [pixels()]}, headers={"Accept": "image/png"})
    assert answer.json()["error"] == "image/png is made of one encoded picture, this call has numbers"
    unknown = requests.post(f"{server.url}/v1/models/nope:explain", data=b"x", headers={"Content-Type": "image/png"})
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Servable not found for request: Latest(nope)")
    assert requests.get(server.url + EXPLAIN).status_code == 400


def test_curl(server):
    import subprocess
    command = ["curl", "-s", "--fail", "-H", "Content-Type: image/jpeg", "-H", "Accept: image/png", "--data-binary",
               f"@{PICTURES}/bag.jpg", server.url + EXPLAIN]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(b"\x89PNG")


def v2_output(client, kind, **parameters):
    """The explanation of two instances by a client of Triton's."""
    value = np.array([pixels(1), pixels(2)], np.float32)
    tensor = kind.InferInput("inputs", value.shape, "FP32")
    tensor.set_data_from_numpy(value)
    return client.infer("fashion", [tensor], outputs=[output(kind, "explanation", parameters), output(kind, "logits", {})]), value


def output(kind, name, parameters):
    made = kind.InferRequestedOutput(name)
    if kind is tritonclient.http:
        made._parameters.update(parameters)
    else:
        for key, value in parameters.items():
            made._output.parameters[key].int64_param = value
    return made


def test_the_output_of_v2(server):
    """By name only, in both protocols, with "class" as a parameter; a list of all outputs stays as it is."""
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as http, \
            tritonclient.grpc.InferenceServerClient(server.grpc_target) as grpc:
        wanted = None
        for client, kind in ((http, tritonclient.http), (grpc, tritonclient.grpc)):
            for parameters, query in (({}, ""), ({"class": 4}, "?class=4")):
                found, value = v2_output(client, kind, **parameters)
                wanted = requests.post(server.url + EXPLAIN + query, json={"instances": value.tolist()}).json()["explanations"]
                np.testing.assert_allclose(found.as_numpy("explanation"), [e["map"] for e in wanted], rtol=1e-4, atol=1e-4)
                assert found.as_numpy("explanation").shape == (2, 2, 2) and found.as_numpy("logits").shape == (2, 10)
    body = {"inputs": [{"name": "inputs", "datatype": "FP32", "shape": [1, 64, 64, 3], "data": pixels()}], "outputs": [{"name": "explanation"}]}
    url = f"{server.url}/v2/models/fashion/infer"
    (output_found,) = requests.post(url, json=body).json()["outputs"]
    assert (output_found["name"], output_found["datatype"], output_found["shape"], len(output_found["data"])) == ("explanation", "FP32", [1, 2, 2], 4)
    body["outputs"][0]["parameters"] = {"class": 10}
    refused = requests.post(url, json=body)
    assert (refused.status_code, refused.json()["error"]) == (400, "output 'explanation': class 10, the model has 10")
    del body["outputs"]
    assert [o["name"] for o in requests.post(url, json=body).json()["outputs"]] == ["logits"]


def test_it_is_counted(server):
    page = requests.get(server.url + "/metrics").text
    assert 'resnetd_requests_total{model="fashion",version="1",method="explain",protocol="http",code="200"}' in page
