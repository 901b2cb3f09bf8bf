"""Makes tests/data/pictures: a picture of every Fashion-MNIST class as PNG and JPEG, with TensorFlow's answers to them.

usage: make_sample_pictures.py SAVED_MODEL_DIR OUT_DIR      (TensorFlow, Pillow; Debian package dataset-fashion-mnist)

Takes the first test picture of each class. PNG files keep the grey original; JPEG files are the same garment enlarged to an odd size in colour, so that
cropping, chroma upsampling and resizing all have work to do. answers.json: what the SavedModel's two signatures say in TensorFlow.
"""
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
from PIL import Image

from fashion_mnist import test_set

NAMES = ["t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot"]
TINTS = [(255, 214, 170), (170, 214, 255), (214, 255, 170), (255, 170, 214), (236, 236, 200)]


def coloured(picture, tint, size):
    """A grey garment on black -> a tinted one, `size` = (width, height)."""
    grey = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.float32) / 255.0
    return Image.fromarray((grey[..., None] * np.array(tint, np.float32)).astype(np.uint8))


def main(model_dir, out_dir):
    out = pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    pictures, classes = test_set()
    names = []
    for c in range(10):
        i = int(np.argmax(classes == c))
        names += [f"{NAMES[c]}.png", f"{NAMES[c]}.jpg"]
        Image.fromarray(pictures[i]).save(out / names[-2], optimize=True)
        coloured(pictures[i], TINTS[c % len(TINTS)], (150 + 7 * c, 187 - 5 * c)).save(out / names[-1], quality=88)

    model = tf.saved_model.load(model_dir)
    files = [(out / name).read_bytes() for name in names]
    classified = model.signatures["serving_preprocess"](image_bytes=tf.constant(files))
    # The float signature gets the plain picture, grey repeated to three channels, enlarged to 64 x 64 by repetition of pixels: no resizing
    # is part of what this checks.
    floats = np.stack([np.kron(pictures[int(np.argmax(classes == c))], np.ones((2, 2), np.uint8)) for c in range(10)])
    floats = np.pad(floats, ((0, 0), (4, 4), (4, 4)))[..., None].repeat(3, -1).astype(np.float32) / 255.0
    logits = model.signatures["serving_default"](inputs=tf.constant(floats))["logits"].numpy()
    answers = {
        "tensorflow": tf.__version__,
        "serving_preprocess": {
            name: {"labels": [label.decode() for label in labels], "probabilities": [float(p) for p in probabilities]}
            for name, labels, probabilities in zip(names, classified["labels"].numpy(), classified["probabilities"].numpy())
        },
        "serving_default": {f"{NAMES[c]}.png": [float(v) for v in logits[c]] for c in range(10)},
    }
    (out / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


main(*sys.argv[1:])
