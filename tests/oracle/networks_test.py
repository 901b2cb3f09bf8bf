"""Whole networks against TensorFlow, through converter and server: SavedModels written in every way that tools/oracle/make_models.py knows.

The models are exported once into <build directory>/models; weights are random, statistics calibrated (see make_models.py). Numbers go in and come out
as JSON over HTTP, pictures as files.
"""
import base64
import fcntl
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import requests
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/oracle"))

TOLERANCE = 1e-4  # of the largest magnitude: float32 sums of a hundred layers in another order
# TensorFlow computes this one in 16 bits, we in 32: its rounding of 2^-11, about a hundred times in a row, is a random walk of 5e-3, and the worst of
# 30 values lies three to four deviations out.
HALF_TOLERANCE = 2e-2
FULL_SIZE = ["keras_v1", "slim_v2"]
PIXEL_RANGE = {name: 255 for name in ("keras_v1", "thin_v1", "thin_keras_save", "thin_mixed", "thin_grouped")}  # the others take [0,1]
THIN = ["thin_v1", "thin_v2", "thin_keras_save", "thin_sharded", "thin_mixed", "thin_grouped", "thin_tf1", "thin_frozen"]


@pytest.fixture(scope="module")
def export():
    """export(name) -> directory of a SavedModel's versions."""
    out = ROOT / "build/models"

    def make(name):
        out.mkdir(parents=True, exist_ok=True)
        with open(out / "lock", "w") as lock:  # tests run side by side
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (out / name / "1/saved_model.pb").exists():
                subprocess.run([sys.executable, ROOT / "tools/oracle/make_models.py", out, name], check=True, capture_output=True)
        return out / name

    return make


def tensorflow_signature(model, name="serving_default"):
    import tensorflow as tf
    loaded = tf.saved_model.load(str(model / "1"))
    return loaded, loaded.signatures[name]  # a signature does not keep its model alive


def run_tensorflow(signature, value):
    import tensorflow as tf
    (name, spec), = signature.structured_input_signature[1].items()
    return {key: tensor.numpy() for key, tensor in signature(**{name: tf.constant(value, spec.dtype)}).items()}


def smooth_pictures(count, size, seed):
    """Random pictures with structure on several scales, as RGB uint8 of assorted sizes."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((size + 31 * i, size + 17 * (count - i)), Image.Resampling.BICUBIC)
        noise = rng.normal(0, 12, (coarse.height, coarse.width, 3))
        yield Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def predict(url, name, body):
    answer = requests.post(f"{url}/v1/models/{name}:predict", data=json.dumps(body), timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()


def convert(build_dir, model, tmp_path_factory):
    out = tmp_path_factory.mktemp(model.name)
    (out / "1").mkdir()
    subprocess.run([build_dir / "resnet-convert", model / "1", out / "1"], check=True, capture_output=True)
    return out


def rank(values):
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:5]


def difference(got, wanted):
    """Largest difference, as a share of the largest magnitude. Probabilities are compared as logits too, up to softmax's free constant."""
    worst = np.abs(got - wanted).max() / np.abs(wanted).max()
    if np.allclose(wanted.sum(-1), 1, atol=1e-3) and (wanted > 1e-30).all():
        centred = [np.log(p) - np.log(p).mean(-1, keepdims=True) for p in (got, wanted.astype(np.float64))]
        worst = max(worst, np.abs(centred[0] - centred[1]).max() / np.abs(centred[1]).max())
    return worst


def compare_numbers(url, model):
    """Every output of serving_default, in columns and in rows."""
    from make_models import calibration_pictures
    _keep, signature = tensorflow_signature(model)
    (spec,) = signature.structured_input_signature[1].values()
    size = spec.shape[1]
    pixels = calibration_pictures(size, np.random.default_rng(5))[:3] * PIXEL_RANGE.get(model.name, 1)
    wanted = run_tensorflow(signature, pixels)
    outputs = predict(url, model.name, {"inputs": pixels.tolist()})["outputs"]
    rows = predict(url, model.name, {"instances": pixels.tolist()})["predictions"]
    worst = 0.0
    for key, tensor in wanted.items():
        got = np.array(outputs[key] if len(wanted) > 1 else outputs)
        assert got.shape == tensor.shape
        if np.issubdtype(tensor.dtype, np.integer):
            assert (got == tensor).all(), key
            continue
        assert len({tuple(rank(row)) for row in tensor}) > 1, f"{key}: TensorFlow says the same about every picture, which would prove nothing"
        worst = max(worst, difference(got, tensor))
        assert (got == np.array([row[key] if len(wanted) > 1 else row for row in rows])).all(), "row and column format differ"
        if model.name != "thin_mixed":
            assert [rank(row) for row in got] == [rank(row) for row in tensor], key
    print(f"\n{model.name}: worst difference {worst:.2e} of the largest magnitude, {worst / TOLERANCE:.0%} of the allowance")
    return worst


def compare_pictures(url, model):
    """serving_preprocess on JPEG and PNG files."""
    _keep, signature = tensorflow_signature(model, "serving_preprocess")
    files = []
    for i, picture in enumerate(smooth_pictures(4, 180, 6)):
        out = io.BytesIO()
        picture.save(out, "JPEG" if i % 2 else "PNG", quality=90)
        files.append(out.getvalue())
    wanted = run_tensorflow(signature, files)
    body = {"signature_name": "serving_preprocess", "instances": [{"b64": base64.b64encode(raw).decode()} for raw in files]}
    for i, got in enumerate(predict(url, model.name, body)["predictions"]):
        assert got["labels"] == [label.decode() for label in wanted["labels"][i]]
        np.testing.assert_allclose(got["probabilities"], wanted["probabilities"][i], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size(name, export, start_server, build_dir, tmp_path_factory):
    model = export(name)
    url = start_server(convert(build_dir, model, tmp_path_factory), "--max_batch_size=4", name=name).url
    assert compare_numbers(url, model) <= TOLERANCE
    if name == "slim_v2":
        compare_pictures(url, model)


@pytest.mark.parametrize("name", THIN)
def test_thin(name, export, start_server):
    """Straight from the SavedModel: the server converts in memory."""
    model = export(name)
    url = start_server(model, name=name).url
    allowed = HALF_TOLERANCE if name == "thin_mixed" else TOLERANCE
    assert compare_numbers(url, model) <= allowed
