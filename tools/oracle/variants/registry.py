"""What a variant is, and how its weights become ones that prove something."""
import dataclasses
import typing

import numpy as np

VARIANTS, UNSUPPORTED = [], []


@dataclasses.dataclass
class Variant:
    """`make(out, rng)` writes a SavedModel to the directory `out`. `pixels`: largest value of its inputs. `compute`: what TensorFlow computes in."""
    name: str
    words: str
    make: typing.Callable
    pixels: float = 255.0
    compute: str = "float32"


@dataclasses.dataclass
class Unsupported:
    """A graph that has no plan. `names`: what the message has to hold: the node or its operation, and the reason."""
    name: str
    words: str
    make: typing.Callable
    names: tuple = ()


def variant(words, **more):
    def register(function):
        VARIANTS.append(Variant(function.__name__, words, function, **more))
        return function
    return register


def unsupported(words, *names):
    def register(function):
        UNSUPPORTED.append(Unsupported(function.__name__, words, function, names))
        return function
    return register


def pictures(shape, rng, pixels=1.0):
    """[8,h,w,c] from smooth to pure noise, in 0 .. pixels; shape is [h,w,c], or [c,h,w] with c of 1 or 3."""
    h, w, c = shape if shape[2] in (1, 3) else (shape[1], shape[2], shape[0])
    rows, columns = np.arange(h) * 5 // h, np.arange(w) * 5 // w
    coarse = rng.random((8, 6, 6, c))
    smooth = (coarse[:, rows][:, :, columns] + coarse[:, rows + 1][:, :, columns + 1]) / 2
    share = np.linspace(0, 1, 8).reshape(8, 1, 1, 1)
    out = (smooth * (1 - share) + rng.random((8, h, w, c)) * share).astype(np.float32) * np.float32(pixels)
    return out if shape[2] in (1, 3) else out.transpose(0, 3, 1, 2)


def calibrate(model, layers, rng, pixels=255.0):
    """Keras, either version: random gamma, beta and biases, and the moving statistics of random pictures, so that signals keep their scale and
    different pictures get different answers. The norms that close a residual branch are damped, as training leaves them: undamped, a hundred random
    layers magnify rounding beyond what the comparison allows."""
    norms, visited = [], []

    def visit(layer):
        visited.append(layer)
        for inner in getattr(layer, "layers", []):
            visit(inner)

    visit(model)
    for layer in visited:
        if isinstance(layer, layers.BatchNormalization):
            norms.append(layer)
            damping = 0.25 if layer.name.endswith("_3_bn") else 1
            layer.gamma.assign(damping * rng.uniform(0.6, 1.4, layer.gamma.shape))
            layer.beta.assign(rng.uniform(-0.3, 0.3, layer.beta.shape))
            layer.momentum = 0.0
        elif isinstance(layer, layers.Conv2D) and layer.use_bias:
            layer.bias.assign(rng.uniform(-0.2, 0.2, layer.bias.shape))
            if layer.name.endswith("_3_conv"):  # closes a branch of V2
                layer.kernel.assign(layer.kernel * 0.25)
    model(pictures(model.input_shape[1:], rng, pixels), training=True)
    for layer in norms:
        layer.momentum = 0.99
    return model
