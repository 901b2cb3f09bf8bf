"""Picture front ends as people write them, in front of a small network: exported by TensorFlow, imported and run here, compared value for value.

What the front end gives is as exact as pictures_test.py shows; the network behind it amplifies nothing, so its results are held to 1e-5.
"""
import os
import pathlib
import subprocess

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

from pictures import photo, pillow  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("RN_BUILD", "build")
MODEL_RUN = BUILD / "tests/tools/model_run"
SIZES = [(64, 64), (41, 120), (233, 97), (300, 301), (49, 98), (40, 33)]
SIDE = 32


def decode(raw):
    return tf.io.decode_image(raw, channels=3, expand_animations=False)


def centre(image, size):
    top, left = (tf.shape(image)[0] - size) // 2, (tf.shape(image)[1] - size) // 2
    return tf.image.crop_to_bounding_box(image, top, left, size, size)


def shorter_side(image, side, rule):
    """Both sides as people scale them: the shorter one becomes `side`."""
    h, w = tf.shape(image)[0], tf.shape(image)[1]
    shorter = tf.minimum(h, w)
    if rule == "integer":
        return h * side // shorter, w * side // shorter
    scale = tf.cast(side, tf.float32) / tf.cast(shorter, tf.float32)
    rounded = tf.round if rule == "rounded" else tf.identity
    return tuple(tf.cast(rounded(tf.cast(n, tf.float32) * scale), tf.int32) for n in (h, w))


def keep_ratio(rule, side=40, method="bilinear"):
    def read(raw):
        image = decode(raw)
        return centre(tf.image.resize(image, shorter_side(image, side, rule), method), SIDE)

    return read


# name -> (function of one encoded picture, element type of the loop's result, function of the batch)
unit = lambda images: images / 255.0
same = lambda images: images
MEAN = np.float32([123.68, 116.779, 103.939])
FRONT_ENDS = {
    "floats": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE]), tf.float32, unit),
    "floats_normalised_inside": (lambda raw: (tf.image.resize(decode(raw), [SIDE, SIDE]) - MEAN) / 58.0, tf.float32, same),
    "scaled_before_the_resize": (lambda raw: tf.image.resize(tf.image.convert_image_dtype(decode(raw), tf.float32), [SIDE, SIDE]), tf.float32, same),
    "minus_one_to_one": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE]) / 127.5 - 1.0, tf.float32, same),
    "blue_first": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE])[..., ::-1] - MEAN[::-1], tf.float32, unit),
    "blue_first_by_reverse": (lambda raw: tf.reverse(tf.cast(tf.image.resize(decode(raw), [SIDE, SIDE]), tf.uint8), [-1]), tf.uint8,
                              lambda images: tf.cast(images, tf.float32) / 255.0),
    "bytes_then_floats_inside": (lambda raw: tf.cast(tf.cast(tf.image.resize(decode(raw), [SIDE, SIDE]), tf.uint8), tf.float32) / 255.0, tf.float32, same),
    "nearest": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE], "nearest"), tf.uint8, lambda images: tf.cast(images, tf.float32) / 255.0),
    "bicubic": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE], "bicubic"), tf.float32, unit),
    "bicubic_clipped_bytes": (lambda raw: tf.cast(tf.clip_by_value(tf.image.resize(decode(raw), [SIDE, SIDE], "bicubic"), 0.0, 255.0), tf.uint8),
                              tf.uint8, lambda images: tf.cast(images, tf.float32) / 255.0),
    "area": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE], "area"), tf.float32, unit),
    "tensorflow_1": (lambda raw: tf.compat.v1.image.resize_bilinear(decode(raw)[None], [SIDE, SIDE])[0], tf.float32, unit),
    "aligned_corners": (lambda raw: tf.compat.v1.image.resize_bilinear(decode(raw)[None], [SIDE, SIDE], align_corners=True)[0], tf.float32, unit),
    "larger_then_centre": (lambda raw: centre(tf.image.resize(decode(raw), [SIDE + 8, SIDE + 9]), SIDE), tf.float32, unit),
    "shorter_side_truncated": (keep_ratio("float"), tf.float32, unit),
    "shorter_side_rounded": (keep_ratio("rounded"), tf.float32, unit),
    "shorter_side_integer": (keep_ratio("integer", method="bicubic"), tf.float32, unit),
}

REFUSED = {
    "standardised": (lambda raw: tf.image.per_image_standardization(tf.image.resize(decode(raw), [SIDE, SIDE])), tf.float32, same, "op"),
    "not_the_centre": (lambda raw: tf.image.resize(decode(raw), [SIDE + 8, SIDE + 8])[:SIDE, :SIDE], tf.float32, same, "not the centre"),
    "size_by_doubles": (lambda raw: tf.image.resize(decode(raw), [tf.cast(tf.cast(tf.shape(decode(raw))[0], tf.float64) * 0 + SIDE, tf.int32), SIDE]),
                        tf.float32, same, "double"),
    "antialiased": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE], antialias=True), tf.float32, same, "ScaleAndTranslate"),
    "random": (lambda raw: tf.image.resize(decode(raw), [SIDE, SIDE]) + tf.random.uniform([1]), tf.float32, same, "RandomUniform"),
}


class Small(tf.Module):
    """Front end, one convolution, a dense layer."""

    def __init__(self, read, dtype, of_batch):
        super().__init__()
        rng = np.random.default_rng(5)
        self.read, self.dtype, self.of_batch = read, dtype, of_batch
        self.filters = tf.Variable(rng.normal(0, 0.2, (3, 3, 3, 8)).astype(np.float32))
        self.weights = tf.Variable(rng.normal(0, 0.4, (8, 5)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        images = tf.map_fn(self.read, image_bytes, fn_output_signature=tf.TensorSpec([SIDE, SIDE, 3], self.dtype))
        features = tf.nn.relu(tf.nn.conv2d(self.of_batch(images), self.filters, 2, "SAME"))
        return {"logits": tf.linalg.matmul(tf.reduce_mean(features, [1, 2]), self.weights)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i, (h, w) in enumerate(SIZES):
        kind = ("JPEG", "PNG")[i % 2]
        paths.append(folder / f"{i}.{kind.lower()}")
        paths[-1].write_bytes(pillow(photo(h, w, 3), "RGB", kind))
    return paths


def export(folder, read, dtype, of_batch):
    module = Small(read, dtype, of_batch)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return module


def run(model, folder):
    """Logits of the listed pictures."""
    ended = subprocess.run([MODEL_RUN, model, "serving_default", folder / "list", folder / "out"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return np.fromfile(folder / "out.logits", np.float32)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_end(name, files, tmp_path):
    module = export(tmp_path / "1", *FRONT_ENDS[name])
    expected = module.serve(tf.constant([path.read_bytes() for path in files]))["logits"].numpy()
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in files))
    ours = run(tmp_path / "1", tmp_path).reshape(expected.shape)
    error = np.abs(ours - expected).max() / np.abs(expected).max()
    print(f"{name}: worst error {error:.1e} of the largest magnitude")
    assert error < 1e-5

    (tmp_path / "converted").mkdir()
    subprocess.run([BUILD / "resnet-convert", tmp_path / "1", tmp_path / "converted"], check=True, capture_output=True)
    assert np.array_equal(run(tmp_path / "converted", tmp_path).reshape(expected.shape), ours)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_named(name, tmp_path):
    *front_end, word = REFUSED[name]
    export(tmp_path / "1", *front_end)
    ended = subprocess.run([MODEL_RUN, tmp_path / "1"], capture_output=True, text=True)
    assert ended.returncode == 1 and "signature serving_default" in ended.stderr and word in ended.stderr, ended.stderr
    print(ended.stderr)
