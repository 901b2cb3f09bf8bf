"""Class activation maps over HTTP against maps computed in TensorFlow from the same layers, and against what covering the hot places does.

RN_PICTURES=10000 covers as many pictures of the test set; the default is 500.
"""
import concurrent.futures
import os
import sys

import numpy as np
import pytest
import requests

from networks_test import PIXEL_RANGE, ROOT, export  # noqa: F401: a fixture
from sample_test import SAVED_MODEL, b64, encode_png

sys.path.insert(0, str(ROOT / "tools/oracle"))

pytestmark = pytest.mark.speed  # sanitizers run the same code in tests/http/explain_calls_test.py
TOLERANCE = 1e-4  # of the largest magnitude, as for logits


class Layers:
    """A SavedModel's last feature map and dense weights, found by what the graph does and not by names: the mean over two positions, and the product
    that reads it."""

    def __init__(self, path, signature):
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
        self.keep = tf.saved_model.load(str(path))
        frozen = convert_variables_to_constants_v2(self.keep.signatures[signature])
        graph = frozen.graph
        (mean,) = [op for op in graph.get_operations() if op.type == "Mean" and op.inputs[0].shape.rank == 4]
        reads_mean, found = {mean.outputs[0].name}, None
        for op in graph.get_operations():  # in order of computation
            if op.type in ("MatMul", "Conv2D") and op.inputs[0].name in reads_mean:
                found = op
                break
            if any(tensor.name in reads_mean for tensor in op.inputs):
                reads_mean.update(tensor.name for tensor in op.outputs)
        weights = found.inputs[1]
        self.run = frozen.prune([tensor.name for tensor in frozen.inputs], [mean.inputs[0].name, weights.name])
        self.dtype = frozen.inputs[0].dtype

    def maps(self, value, classes):
        import tensorflow as tf
        features, weights = (np.asarray(tensor, np.float64) for tensor in self.run(tf.constant(value, self.dtype)))
        weights = weights.reshape(features.shape[-1], -1)
        return np.stack([features[i] @ weights[:, k] for i, k in enumerate(classes)])


def explain(url, body, query=""):
    answer = requests.post(f"{url}:explain{query}", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["explanations"]


def compare(got, wanted, what):
    worst = np.abs(got - wanted).max() / np.abs(wanted).max()
    print(f"\n{what}: worst difference {worst:.2e} of the largest magnitude, {worst / TOLERANCE:.0%} of the allowance")
    assert got.shape == wanted.shape
    assert np.ptp(wanted, axis=(1, 2)).min() > 0.01 * np.abs(wanted).max(), "TensorFlow's maps are flat, which would prove nothing"
    assert worst <= TOLERANCE


@pytest.fixture(scope="module")
def test_pictures():
    from fashion_mnist import test_set
    return test_set()[0]


def test_sample(server, test_pictures):
    files = [encode_png(picture) for picture in test_pictures[:40]]
    body = {"signature_name": "serving_preprocess", "instances": [b64(raw) for raw in files]}
    layers, url = Layers(SAVED_MODEL / "1", "serving_preprocess"), f"{server.url}/v1/models/fashion"
    best = explain(url, body)
    predictions = requests.post(f"{url}:predict", json=body).json()["predictions"]
    assert [e["label"] for e in best] == [row["labels"][0] for row in predictions]
    compare(np.array([e["map"] for e in best]), layers.maps(files, [e["class"] for e in best]), "top class")
    compare(np.array([e["map"] for e in explain(url, body, "?class=6")]), layers.maps(files, [6] * len(files)), "class 6")


@pytest.mark.parametrize("name", ["thin_v1", "thin_v2", "thin_tf1"])
def test_other_networks(name, export, start_server):  # noqa: F811
    """Keras V1, pre-activation with the affine and ReLU before the average, and TensorFlow 1, whose dense layer is a convolution."""
    from make_models import calibration_pictures
    import tensorflow as tf
    model = export(name)
    loaded = tf.saved_model.load(str(model / "1"))
    (spec,) = loaded.signatures["serving_default"].structured_input_signature[1].values()
    pixels = calibration_pictures(spec.shape[1], np.random.default_rng(5))[:3] * PIXEL_RANGE.get(name, 1)
    url = f"{start_server(model, name=name).url}/v1/models/{name}"
    found = explain(url, {"instances": pixels.tolist()}, "?class=1")
    assert [e["class"] for e in found] == [1, 1, 1]
    compare(np.array([e["map"] for e in found]), Layers(model / "1", "serving_default").maps(pixels, [1] * 3), name)


def cover(picture, row, column):
    """A grey square of a quarter of the picture, around a place given as shares, as far as the border allows."""
    size = len(picture)
    y, x = (round(min(max(place * size - size / 4, 0), size / 2)) for place in (row, column))
    covered = picture.copy()
    covered[y:y + size // 2, x:x + size // 2] = 128
    return covered


def test_hot_places_matter(server, test_pictures):
    """A grey quarter over the hottest place has to cost the class clearly more than one over the coldest. As a control, the same with each picture covered
    where another picture's map is hot and cold: that the places differ by themselves must not explain it."""
    count = int(os.environ.get("RN_PICTURES", "500"))
    url = f"{server.url}/v1/models/fashion"
    pictures = test_pictures[:count]
    instances = lambda chunk: {"signature_name": "serving_preprocess", "instances": [b64(encode_png(picture)) for picture in chunk]}

    def in_chunks(call, items):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return [row for rows in pool.map(call, [items[i:i + 50] for i in range(0, len(items), 50)]) for row in rows]

    def probabilities(chunk):
        rows = requests.post(f"{url}:predict", json=instances(chunk), timeout=120).json()["predictions"]
        return [dict(zip(row["labels"], row["probabilities"])) for row in rows]

    explained = in_chunks(lambda chunk: explain(url, instances(chunk)), pictures)
    maps = np.array([e["map"] for e in explained])
    rows, columns = explained[0]["rows"], explained[0]["columns"]
    whole = in_chunks(probabilities, pictures)

    def drops(places):
        covered = in_chunks(probabilities, [cover(p, rows[i // len(columns)], columns[i % len(columns)]) for p, i in zip(pictures, places)])
        return np.array([w[e["label"]] - c.get(e["label"], 0) for w, c, e in zip(whole, covered, explained, strict=True)])

    flat, others = maps.reshape(count, -1), np.random.default_rng(3).permutation(count)
    hot, cold = drops(flat.argmax(1)), drops(flat.argmin(1))
    control = (drops(flat[others].argmax(1)) - drops(flat[others].argmin(1))).mean()
    error = (hot - cold).std() / np.sqrt(count)
    print(f"\n{count} pictures: a covered quarter costs the class {hot.mean():.3f} at the hottest place and {cold.mean():.3f} at the coldest, "
          f"{hot.mean() - cold.mean():.3f} +- {error:.3f} more; with other pictures' maps {control:.3f} more")
    assert hot.mean() - cold.mean() > max(5 * error, control + 3 * error)
    assert hot.mean() > 1.2 * cold.mean()
