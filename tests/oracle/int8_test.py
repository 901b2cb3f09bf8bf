"""The bundled model, quantised by resnet-convert, over HTTP: its classes are those of TensorFlow on the float model, but for a hundredth.

RN_PICTURES=10000 runs the whole test set but the pictures that calibrated the model; the default is its first 1,000 pictures.
"""
import base64
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sample_test import SAVED_MODEL, encode_png, predict

ROOT = pathlib.Path(__file__).resolve().parents[2]
LABELS = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")
CALIBRATION_PICTURES = 250  # the last ones of the test set
LEAST_AGREEMENT = 0.99
sys.path.insert(0, str(ROOT / "tools/oracle"))


@pytest.fixture(scope="module")
def convert(build_dir):
    def run(*arguments):
        return subprocess.run([build_dir / "resnet-convert", *map(str, arguments)], capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    from fashion_mnist import test_set
    folder = tmp_path_factory.mktemp("calibration")
    for i, picture in enumerate(test_set()[0][-CALIBRATION_PICTURES:]):
        (folder / f"{i:05}.png").write_bytes(encode_png(picture))
    return folder


@pytest.fixture(scope="module")
def int8(convert, calibration, tmp_path_factory):
    """What the converter said, and the folder of the served model."""
    base = tmp_path_factory.mktemp("int8")
    (base / "1").mkdir()
    done = convert(SAVED_MODEL / "1", base / "1", "--dtype=int8", f"--calibration={calibration}")
    assert done.returncode == 0, done.stderr
    return done.stdout, base


def test_says_how_well_it_agrees(int8):
    found = re.search(r"that of f32 for (\d+) of (\d+) calibration inputs \((\S+) %\); relative error of the logits (\S+) on average, (\S+) at worst", int8[0])
    same, count, share, mean, worst = (float(number) for number in found.groups())
    assert count == CALIBRATION_PICTURES and share == pytest.approx(100 * same / count, abs=0.01)
    assert same >= LEAST_AGREEMENT * count and 0 < mean < 0.05 and mean < worst < 0.5


def test_same_input_same_bytes(convert, calibration, int8, tmp_path):
    done = convert(SAVED_MODEL / "1", tmp_path / "again.safetensors", "--dtype=int8", f"--calibration={calibration}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.safetensors").read_bytes() == (int8[1] / "1/model.safetensors").read_bytes()


def test_safetensors_opens_it(int8):
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(int8[1] / "1/model.safetensors", "np") as file:
        plan = json.loads(file.metadata()["plan"])
        names = json.loads(file.metadata()["weights"])
        pairs = [(file.get_tensor(names[i]), file.get_tensor(names[j])) for i, j in plan["filter_steps"]]
    assert len(pairs) > 100
    for filter, steps in pairs:
        assert filter.dtype == np.int8 and steps.dtype == np.float32 and steps.shape == filter.shape[3:]
        assert np.abs(filter).max() == 127 and (steps > 0).all()


def test_show(convert, int8):
    done = convert("show", int8[1] / "1", "--ops")
    assert done.returncode == 0 and "convolutions run on bytes" in done.stdout
    assert re.search(r"conv2d .* int8 3x3 .* relu -> bytes, step \S+ zero 0\n", done.stdout)


def test_classes_over_http(start_server, int8):
    import tensorflow as tf
    from fashion_mnist import test_set

    server = start_server(int8[1], name="fashion")
    pictures, classes = test_set()
    count = min(int(os.environ.get("RN_PICTURES", "1000")), len(pictures) - CALIBRATION_PICTURES)
    files = [encode_png(picture) for picture in pictures[:count]]
    chunks = [files[i:i + 50] for i in range(0, count, 50)]

    def post(chunk):
        instances = [{"b64": base64.b64encode(raw).decode()} for raw in chunk]
        return [row["labels"][0] for row in predict(server.url, {"signature_name": "serving_preprocess", "instances": instances})["predictions"]]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ours = [label for labels in pool.map(post, chunks) for label in labels]
    signature = tf.saved_model.load(str(SAVED_MODEL / "1")).signatures["serving_preprocess"]
    theirs = [row[0].decode() for i in range(0, count, 250) for row in signature(image_bytes=tf.constant(files[i:i + 250]))["labels"].numpy()]
    same, right, right_f32 = (sum(a == b for a, b in zip(*pair)) for pair in
                              ((ours, theirs), (ours, [LABELS[c] for c in classes]), (theirs, [LABELS[c] for c in classes])))
    print(f"\n{count} pictures: {same} in the class of f32, {right} right, {right_f32} with f32")
    assert len(ours) == len(theirs) == count
    assert same >= LEAST_AGREEMENT * count
    assert right >= right_f32 - (1 - LEAST_AGREEMENT) * count
    assert re.search(r"cpu (avx512_\w+ int8|.*int8 filters widened)", server.log), server.log


def test_without_vnni_filters_are_widened(start_server, int8):
    server = start_server(int8[1], "--isa=scalar", name="fashion")
    assert re.search(r"cpu openblas fp32.*int8 filters widened", server.log), server.log
    picture = (ROOT / "tests/data/pictures/bag.png").read_bytes()
    answer = predict(server.url, {"signature_name": "serving_preprocess", "instances": [{"b64": base64.b64encode(picture).decode()}]})
    assert answer["predictions"][0]["labels"][0] == "Bag"


# ---- refusals ----

@pytest.mark.parametrize("arguments, words", [
    (["--dtype=int8"], "belong together"),
    (["--calibration=x"], "belong together"),
    (["--dtype=int4", "--calibration=x"], "expected fp32, fp16, bf16 or int8"),
    (["--min_agreement=99"], "belongs to --dtype=int8"),
    (["--dtype=int8", "--calibration=x", "--min_agreement=101"], "from 0 to 100"),
])
def test_usage(convert, tmp_path, arguments, words):
    done = convert(SAVED_MODEL / "1", tmp_path / "out", *arguments)
    assert done.returncode == 2 and words in done.stderr
    assert not (tmp_path / "out").exists()


def test_bad_calibration_names_the_file(convert, calibration, tmp_path):
    out = tmp_path / "out.safetensors"
    empty, mixed, text = tmp_path / "empty", tmp_path / "mixed", tmp_path / "text"
    for folder in (empty, mixed, text):
        folder.mkdir()
    shutil.copy(calibration / "00000.png", mixed / "a.png")
    np.save(mixed / "b.npy", np.zeros((1, 64, 64, 3), np.float32))
    (text / "a.png").write_text("no picture")
    for folder, code, words in ((tmp_path / "none", 66, "none"), (empty, 66, "empty folder"), (mixed, 65, "b.npy: pictures and .npy files"),
                                (text, 65, "a.png")):
        done = convert(SAVED_MODEL / "1", out, "--dtype=int8", f"--calibration={folder}")
        assert done.returncode == code and words in done.stderr, done.stderr
        assert not out.exists()


def test_float_rows(convert, tmp_path):
    rows, out = tmp_path / "rows", tmp_path / "out.safetensors"
    rows.mkdir()
    values = np.random.default_rng(1).random((4, 64, 64, 3), np.float32)
    np.save(rows / "a.npy", values)
    np.save(rows / "b.npy", values[0])
    done = convert(SAVED_MODEL / "1", out, "--dtype=int8", f"--calibration={rows}", "--min_agreement=0")
    assert done.returncode == 0 and " of 5 calibration inputs" in done.stdout, done.stderr
    for bad, words in ((values.astype(np.float64), "float32 in C order"), (np.asfortranarray(values), "float32 in C order"),
                       (values[..., :2], "no whole number of rows")):
        np.save(rows / "b.npy", bad)
        done = convert(SAVED_MODEL / "1", out, "--dtype=int8", f"--calibration={rows}")
        assert done.returncode == 65 and words in done.stderr and "b.npy" in done.stderr, done.stderr


def test_too_little_agreement_writes_nothing(convert, tmp_path):
    """Rows of very different magnitudes share one range, and the small ones vanish in its steps."""
    rows, out = tmp_path / "rows", tmp_path / "out.safetensors"
    rows.mkdir()
    rng = np.random.default_rng(7)
    values = rng.normal(size=(100, 64, 64, 3)) * np.repeat([0.01, 0.1, 1, 10], 25)[:, None, None, None]
    np.save(rows / "rows.npy", values.astype(np.float32))
    done = convert(SAVED_MODEL / "1", out, "--dtype=int8", f"--calibration={rows}", "--min_agreement=100")
    assert done.returncode == 65
    assert re.search(r"int8 keeps the top class of \d+ of 100 calibration inputs, \S+ %, expected at least 100 %", done.stderr), done.stderr
    assert "Nothing was written" in done.stderr and not out.exists()
