"""The bundled model over HTTP gives TensorFlow's answers: on ten committed pictures, and on the Fashion-MNIST test set.

RN_PICTURES=10000 runs the whole test set; the default is its first 1,000 pictures.
"""
import base64
import concurrent.futures
import io
import json
import os
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data"
SAVED_MODEL = DATA / "fashion_resnet101"
ANSWERS = json.loads((DATA / "pictures/answers.json").read_text())
sys.path.insert(0, str(ROOT / "tools/oracle"))

PROBABILITY_TOLERANCE = 1e-4  # absolute: float32 sums of 101 layers in another order, seen at 1e-6
LOGIT_TOLERANCE = 1e-4        # of the largest magnitude


def predict(url, body):
    import requests
    answer = requests.post(f"{url}/v1/models/fashion:predict", data=json.dumps(body), timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def b64(raw):
    return {"b64": base64.b64encode(raw).decode()}


@pytest.fixture(scope="module")
def url(start_server):
    return start_server(SAVED_MODEL, name="fashion").url


def test_committed_pictures(url):
    names = sorted(ANSWERS["serving_preprocess"])
    assert len(names) == 20
    body = {"signature_name": "serving_preprocess", "instances": [b64((DATA / "pictures" / name).read_bytes()) for name in names]}
    for name, got in zip(names, predict(url, body)["predictions"], strict=True):
        wanted = ANSWERS["serving_preprocess"][name]
        assert got["labels"] == wanted["labels"], name
        np.testing.assert_allclose(got["probabilities"], wanted["probabilities"], rtol=0, atol=PROBABILITY_TOLERANCE, err_msg=name)


def test_committed_float_inputs(url):
    for name, wanted in ANSWERS["serving_default"].items():
        grey = np.kron(np.asarray(Image.open(DATA / "pictures" / name)), np.ones((2, 2), np.uint8))
        picture = np.pad(grey, 4)[..., None].repeat(3, -1).astype(np.float32) / 255.0
        got = predict(url, {"instances": [picture.tolist()]})["predictions"][0]
        assert np.abs(np.subtract(got, wanted)).max() <= LOGIT_TOLERANCE * np.abs(wanted).max(), name


def encode_png(picture):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def classify(url, files):
    """What serving_preprocess says about each picture."""
    chunks = [files[i:i + 50] for i in range(0, len(files), 50)]
    post = lambda chunk: predict(url, {"signature_name": "serving_preprocess", "instances": [b64(raw) for raw in chunk]})["predictions"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return [row for rows in pool.map(post, chunks) for row in rows]


def test_fashion_mnist(url):
    """Top 1 equal wherever TensorFlow's top two probabilities differ by more than 1e-4; every probability within 1e-4."""
    import tensorflow as tf
    from fashion_mnist import test_set

    count = int(os.environ.get("RN_PICTURES", "1000"))
    pictures, classes = test_set()
    files = [encode_png(picture) for picture in pictures[:count]]
    ours = classify(url, files)

    model = tf.saved_model.load(str(SAVED_MODEL / "1"))
    signature = model.signatures["serving_preprocess"]
    names = [line.strip() for line in "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")]
    worst, right, close_calls = 0.0, 0, 0
    for start in range(0, count, 250):
        answer = signature(image_bytes=tf.constant(files[start:start + 250]))
        for i, (labels, probabilities) in enumerate(zip(answer["labels"].numpy(), answer["probabilities"].numpy()), start):
            wanted = {label.decode(): float(p) for label, p in zip(labels, probabilities)}
            got = dict(zip(ours[i]["labels"], ours[i]["probabilities"]))
            worst = max(worst, np.abs(np.subtract(sorted(got.values()), sorted(wanted.values()))).max())
            if probabilities[0] - probabilities[1] > 1e-4:
                assert ours[i]["labels"][0] == labels[0].decode(), f"picture {i}: {ours[i]}, TensorFlow {wanted}"
            else:
                close_calls += 1
            right += ours[i]["labels"][0] == names[classes[i]]
    print(f"\n{count} pictures: {right} right, worst difference of a probability {worst:.2e}, {close_calls} too close to call")
    assert worst <= PROBABILITY_TOLERANCE
    assert len(ours) == count


@pytest.mark.parametrize("isa, flag, device", [("avx512", "avx512bw", "cpu avx512 bf16, maps in f32"), ("avx512_bf16", "avx512_bf16", "cpu avx512_bf16 bf16")])
def test_fashion_mnist_in_bf16(url, start_server, isa, flag, device):
    """bf16, of weights alone and of maps too, names the class that fp32 names, but for one picture in a thousand. RN_PICTURES=10000 as above; the
    default is 500 pictures."""
    from fashion_mnist import test_set

    if flag not in pathlib.Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {flag}")

    count = int(os.environ.get("RN_PICTURES", "500"))
    pictures, _ = test_set()
    files = [encode_png(picture) for picture in pictures[:count]]
    server = start_server(SAVED_MODEL, "--precision=bf16", f"--isa={isa}", name="fashion")
    server.wait_for(f"({device}, )")
    wide, narrow = classify(url, files), classify(server.url, files)
    differ = sum(a["labels"][0] != b["labels"][0] for a, b in zip(wide, narrow, strict=True))
    worst = max(np.abs(np.subtract(a["probabilities"], b["probabilities"])).max() for a, b in zip(wide, narrow))
    print(f"\n{count} pictures: {differ} with another class in bf16, worst difference of a probability by rank {worst:.2e}")
    assert differ <= max(1, count // 1000)
    assert worst > 0  # it is not fp32 that answers
