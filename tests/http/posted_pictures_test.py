"""Pictures as request bodies, with curl and requests: no JSON, no base64."""
import gzip
import io
import subprocess

import numpy as np
import pytest
import requests
from PIL import Image

from client import MODEL, PICTURES, PREDICT, b64, picture

TYPES = {"image/jpeg": "bag.jpg", "image/png": "sneaker.png", "IMAGE/JPG; q=1": "bag.jpg"}


@pytest.fixture(scope="module")
def by_json(server):
    """by_json(file) -> [(label, probability)] from the API of TensorFlow Serving."""
    def call(name):
        body = {"signature_name": "serving_preprocess", "instances": [b64(picture(name))]}
        row = requests.post(server.url + PREDICT, json=body).json()["predictions"][0]
        return list(zip(row["labels"], row["probabilities"]))

    return call


def same(found, wanted):
    assert [c["label"] for c in found] == [label for label, _ in wanted]
    assert all(list(c) == ["label", "index", "probability"] for c in found)
    np.testing.assert_allclose([c["probability"] for c in found], [value for _, value in wanted], rtol=1e-4, atol=1e-7)


def post(server, data, content_type, query="", code=200, **headers):
    answer = requests.post(server.url + PREDICT + query, data=data, headers={"Content-Type": content_type, **headers})
    assert answer.status_code == code, answer.text
    return answer.json()


@pytest.mark.parametrize("content_type", TYPES)
def test_one_picture(server, by_json, content_type):
    wanted = by_json(TYPES[content_type])
    for query, count in (("", 5), ("?topk=1", 1), ("?a=b&topk=3", 3), ("?topk=1000", len(wanted))):
        same(post(server, picture(TYPES[content_type]), content_type, query)["predictions"], wanted[:count])
    packed = gzip.compress(picture(TYPES[content_type]))
    same(post(server, packed, content_type, **{"Content-Encoding": "gzip"})["predictions"], wanted[:5])


def test_index_is_the_class(server):
    (best,) = post(server, picture("bag.jpg"), "image/jpeg", "?topk=1")["predictions"]
    assert (best["label"], best["index"]) == ("Bag", 8)


def test_curl(server, by_json):
    command = ["curl", "-s", "--fail", "-H", "Content-Type: image/jpeg", "--data-binary", f"@{PICTURES}/bag.jpg",
               f"{server.url}/v1/models/fashion/versions/1:predict?topk=2"]
    answer = requests.models.complexjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    same(answer["predictions"], by_json("bag.jpg")[:2])


def test_forms(server, by_json):
    files = [("a", ("x.jpg", picture("bag.jpg"))), ("a", ("y", picture("sneaker.png"), "image/png")), ("b", ("z", picture("coat.png")))]
    rows = requests.post(server.url + PREDICT + "?topk=2", files=files).json()["predictions"]
    for row, name in zip(rows, ("bag.jpg", "sneaker.png", "coat.png"), strict=True):
        same(row, by_json(name)[:2])
    curl = ["curl", "-s", "--fail", "-F", f"p=@{PICTURES}/bag.jpg", "-F", f"p=@{PICTURES}/coat.png", f"{server.url}{PREDICT}?topk=1"]
    rows = requests.models.complexjson.loads(subprocess.run(curl, capture_output=True, check=True).stdout)["predictions"]
    assert [row[0]["label"] for row in rows] == ["Bag", "Coat"]


@pytest.mark.parametrize("content_type, data, query, code, message", [
    ("image/tiff", b"x", "", 415, "image/tiff: pictures are read as JPEG, PNG, GIF, BMP and WebP"),
    ("image/jpeg", b"x", "?topk=0", 400, "topk=0: expected a number from 1 to 1000000"),
    ("image/jpeg", b"x", "?topk=1x", 400, "topk=1x: expected a number from 1 to 1000000"),
    ("image/jpeg", b"", "", 400, "Input is empty."),
    ("multipart/form-data", b"x", "", 400, "multipart/form-data: Content-Type names no boundary of 1 to 70 bytes"),
    ("multipart/form-data; boundary=b", b"--b--", "", 400, "multipart/form-data without a part"),
    ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=k\r\n\r\n5\r\n--b--", "", 400,
     "multipart/form-data, part 0: a picture has a filename or a type image/..."),
    ("multipart/form-data; boundary=b", b"--b\r\nContent-Type: image/png\r\n\r\nno picture\r\n--b--", "", 400,
     "picture 0: Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."),
    ("application/json", b'{"instances":[1]}', "?topk=5", 400, "Malformed request: POST /v1/models/fashion:predict?topk=5"),
])
def test_what_is_refused(server, content_type, data, query, code, message):
    assert post(server, data, content_type, query, code) == {"error": message}


def test_too_many_parts(server):
    """The number of parts is bounded before there is memory for them."""
    body = b"--b\r\nContent-Type: image/png\r\n\r\n\r\n" * 20000 + b"--b--"
    assert "larger than maximum input batch size" in post(server, body, "multipart/form-data; boundary=b", code=400)["error"]
    assert post(server, picture("bag.jpg"), "image/jpeg")["predictions"][0]["label"] == "Bag"


def test_unknown_model(server):
    answer = requests.post(f"{server.url}/v1/models/nope:predict", data=b"x", headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()) == (404, {"error": "Servable not found for request: Latest(nope)"})


def test_limit_of_pixels(start_server):
    """A picture above --max_image_pixels is refused by its header, wherever it arrives; one at the limit is answered."""
    server = start_server(MODEL, "--max_image_pixels=1000")
    at_limit, above = png(50, 20), png(1001, 1)
    assert len(post(server, at_limit, "image/png")["predictions"]) == 5
    message = "the picture is too large: 1001 x 1 pixels, at most 1000 in all (max_image_pixels)"
    assert message in post(server, above, "image/png", code=400)["error"]
    body = {"signature_name": "serving_preprocess", "instances": [b64(at_limit), b64(above)]}
    answer = requests.post(server.url + PREDICT, json=body)
    assert answer.status_code == 400 and message in answer.json()["error"]
    explained = requests.post(f"{server.url}/v1/models/fashion:explain", data=above, headers={"Content-Type": "image/png"})
    assert explained.status_code == 400 and message in explained.json()["error"]
    assert server.stop() == 0


def test_limit_of_pixels_may_be_raised(start_server):
    """The overlay of an explanation decodes once more: by the same limit."""
    server = start_server(MODEL, "--max_image_pixels=100500000")
    large = png(10050, 10000)
    assert len(post(server, large, "image/png")["predictions"]) == 5
    headers = {"Content-Type": "image/png", "Accept": "image/png"}
    explained = requests.post(f"{server.url}/v1/models/fashion:explain", data=large, headers=headers)
    assert explained.status_code == 200 and explained.content.startswith(b"\x89PNG")
    assert server.stop() == 0


@pytest.mark.parametrize("pixels", ["0", "500000001"])
def test_limit_of_pixels_has_limits(build_dir, pixels):
    command = [f"{build_dir}/resnetd", f"--model_base_path={MODEL}", f"--max_image_pixels={pixels}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2 and "max_image_pixels" in answer.stderr


def png(w, h):
    """Grey, all black: a few bytes, whatever the size."""
    file = io.BytesIO()
    Image.new("L", (w, h)).save(file, "PNG")
    return file.getvalue()
