"""Every way of writing a ResNet, and graphs that are none: tools/oracle/check_variants.py, some of it here, all of it marked `soak`:

    build/venv/bin/python -m pytest -m soak tests/oracle/variants_test.py

The models stay in build/variants. One of them gets a picture front end of its own.
"""
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PICTURES = [ROOT / "tests/data/pictures" / name for name in ("bag.jpg", "ankle_boot.png", "coat.png")]
# What takes a second or two to write, and of everything in docs/variants.md one.
QUICK = ["keras2_caffe_lambda", "module_naive", "module_constants", "torchvision_infinite_border", "resnext_split",
         "nchw_throughout", "several_signatures", "uint8_input", "labels_from_floats", "hub_tensorflow1", "tf1_partitioned"]
QUICK_REFUSALS = ["half_plus_two", "dilated", "gelu", "hash_table", "two_inputs", "unknown_size",
                  "mirror_pad", "python_function", "training_mode", "inner_crop"]


def check(build_dir, *names):
    done = subprocess.run([sys.executable, ROOT / "tools/oracle/check_variants.py", f"--build={build_dir}", f"--models={ROOT}/build/variants", *names],
                          capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "FAILED ")) or line.endswith("failed")]
    print("\n".join(lines))
    assert done.returncode == 0, "\n".join(line for line in lines if not line.startswith("ok ")) + done.stderr[-2000:]
    return lines[-1]


@pytest.fixture(scope="module")
def quick(build_dir):
    return check(build_dir, *QUICK, *QUICK_REFUSALS)


def test_some_variants(quick):
    assert quick == f"{len(QUICK)} variants and {len(QUICK_REFUSALS)} refusals hold, 0 failed"


@pytest.mark.soak
def test_all_variants(build_dir):
    assert check(build_dir).endswith(" 0 failed")


# ---- --image_input ----

@pytest.fixture(scope="module")
def numbers_only(quick):
    """A model that takes floats [-1,64,64,3] and gives 11 logits."""
    return ROOT / "build/variants/module_constants/1"


def convert(build_dir, *arguments):
    return subprocess.run([build_dir / "resnet-convert", *map(str, arguments), "--quiet"], capture_output=True, text=True, timeout=300)


def tensorflow_answer(model, mode, resize):
    import tensorflow as tf
    rows = []
    for path in PICTURES:
        picture = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
        height, width = picture.shape[:2]
        side = min(height, width)
        if resize:
            factor = np.float32(resize) / np.float32(side)
            size = [int(np.float32(n) * factor) for n in (height, width)]
            top, left = (size[0] - 64) // 2, (size[1] - 64) // 2
            picture = tf.image.resize(picture, size)[top:top + 64, left:left + 64]
        else:
            top, left = (height - side) // 2, (width - side) // 2
            picture = tf.image.resize(picture[top:top + side, left:left + side], [64, 64])
        rows.append(tf.cast(tf.cast(picture, tf.uint8), tf.float32))
    pixels = tf.stack(rows)
    pixels = {"caffe": lambda x: x[..., ::-1] - [103.939, 116.779, 123.68], "tf": lambda x: x / 127.5 - 1,
              "torch": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], "unit": lambda x: x / 255}[mode](pixels)
    loaded = tf.saved_model.load(str(model))
    best = tf.math.top_k(tf.nn.softmax(loaded.signatures["serving_default"](pixels)["logits"]), 5)
    return best.values.numpy(), best.indices.numpy()


@pytest.mark.parametrize("mode, resize", [("unit", 0), ("tf", 0), ("torch", 80), ("caffe", 0)])
def test_a_front_end_for_numbers(build_dir, numbers_only, tmp_path, mode, resize):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"label {i}" for i in range(11)) + "\n")
    more = [f"--resize={resize}", "--crop=64"] if resize else []
    done = convert(build_dir, numbers_only, tmp_path / "out", f"--image_input={mode}", f"--labels={labels}", *more)
    assert done.returncode == 0, done.stderr
    (tmp_path / "list").write_text("\n".join(map(str, PICTURES)))
    run = [build_dir / "tests/tools/model_run", tmp_path / "out", "serving_preprocess", tmp_path / "list", tmp_path / "answer"]
    subprocess.run(run, check=True, capture_output=True)
    values, indexes = tensorflow_answer(numbers_only, mode, resize)
    assert (np.fromfile(tmp_path / "answer.labels", np.int32).reshape(-1, 5) == indexes).all()
    np.testing.assert_allclose(np.fromfile(tmp_path / "answer.probabilities", np.float32).reshape(-1, 5), values, rtol=1e-4, atol=1e-6)
    assert convert(build_dir, "verify", tmp_path / "out").returncode == 0


@pytest.mark.parametrize("lines, first", [(["a"] * 10, "background"), (["background"] + ["b"] * 10, "background"), (["background"] + ["c"] * 11, "c"),
                                          (["a"] * 9, None), (["d"] * 12, None)])
def test_label_files(build_dir, numbers_only, tmp_path, lines, first):
    (tmp_path / "labels").write_text("\r\n".join(lines))
    done = convert(build_dir, numbers_only, tmp_path / "out", "--image_input=unit", f"--labels={tmp_path}/labels", "--golden=0")
    if first is None:
        assert done.returncode == 65 and f"{len(lines)} lines, expected 11" in done.stderr and not (tmp_path / "out").exists()
        return
    shown = convert(build_dir, "show", tmp_path / "out").stdout
    assert f"labels       11: {first}, {lines[-1]}" in shown or f"labels       11: {first}" in shown, shown
    assert "front end" in shown


def test_front_ends_that_do_not_fit(build_dir, numbers_only, tmp_path):
    (tmp_path / "labels").write_text("x\n" * 11)
    done = convert(build_dir, numbers_only, tmp_path / "out", "--image_input=unit", f"--labels={tmp_path}/labels", "--resize=100", "--crop=50")
    assert done.returncode == 65 and "--crop=50: the model takes pictures of 64x64" in done.stderr
    done = convert(build_dir, ROOT / "tests/data/fashion_resnet101/1", tmp_path / "out", "--image_input=unit", f"--labels={tmp_path}/labels")
    assert done.returncode == 65 and "serving_preprocess already" in done.stderr
    assert convert(build_dir, numbers_only, tmp_path / "out", "--image_input=unit", "--labels=/no/such/file").returncode == 66
