"""Exports ResNet SavedModels with TensorFlow, to hold the loader against: one for each way in which such models are written.

usage: make_models.py OUT_DIR NAME... [--width N] [--size N] [--seed N]

  keras_v1         keras.applications.ResNet101 as it is, Model.export
  slim_v2          pre-activation ResNet-101 of plain TensorFlow 1 operations, wrapped as TF-Hub modules are; signatures for numbers and pictures
  thin_v1          post-activation ResNet-26 of Keras layers, Model.export
  thin_v2          slim_v2 with three stages, an eighth of the width and 64x64 pictures
  thin_keras_save  thin_v1 through tf.saved_model.save: its restore operation assigns none of the weights
  thin_sharded     thin_v2 with its checkpoint cut into small shards, tensors into slices
  thin_mixed       thin_v1 under the mixed_float16 policy
  thin_grouped     thin_v1 with grouped 3x3 convolutions
  thin_tf1         TensorFlow 1 graph by SavedModelBuilder: reference variables, one of them partitioned, a training switch
  thin_frozen      the same with its variables frozen into constants

Weights are random (He), gamma and beta are not 1 and 0, and the moving statistics are those of the activations on random pictures, so that
signals keep their scale through a hundred layers, different pictures give different answers, and logits have a deviation of 2.
"""
import argparse
import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def calibration_pictures(size, rng):
    """Random pictures in [0,1], from smooth to pure noise, so that neither photographs nor noise fall far outside of what was seen."""
    smooth = tf.image.resize(rng.random((8, 8, 8, 3)), [size, size]).numpy()
    share = np.linspace(0, 1, 8).reshape(8, 1, 1, 1)
    return (smooth * (1 - share) + rng.random((8, size, size, 3)) * share).astype(np.float32)


# ---- Keras ----

def keras_thin(args, groups=1):
    """Bottleneck units 2, 2, 2, 2, post-activation, the stride on the first 1x1 as keras.applications has it."""
    layers = keras.layers
    width = args.width or 8

    def conv(x, channels, size, stride=1, groups=1):
        x = layers.Conv2D(channels, size, stride, "same", groups=groups)(x)
        return layers.BatchNormalization(epsilon=1.001e-5)(x)

    def unit(x, base, stride):
        shortcut = conv(x, 4 * base, 1, stride) if stride > 1 or x.shape[-1] != 4 * base else x
        y = layers.ReLU()(conv(x, base, 1, stride))
        y = layers.ReLU()(conv(y, base, 3, groups=groups))
        return layers.ReLU()(layers.Add()([shortcut, conv(y, 4 * base, 1)]))

    inputs = keras.Input((args.size or 64,) * 2 + (3,))
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    x = layers.ZeroPadding2D(3)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 7, 2)(x)))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for stage in range(4):
        for u in range(2):
            x = unit(x, width << stage, 2 if stage and u == 0 else 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, dtype="float32")(x))


def calibrate_keras(model, rng, closing=None):
    """Random gamma and beta; with a momentum of 0 one training step leaves the statistics of its own batch.

    `closing`: how the names of the batch norms end that close a residual branch. They get a quarter of the others' gamma, as training leaves them: a
    hundred undamped random layers magnify rounding, so much that TensorFlow's own float32 answer is 6e-4 away from its float64 one (2e-5 damped).
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        damping = 0.25 if closing and layer.name.endswith(closing) else 1
        layer.gamma.assign(damping * rng.uniform(0.6, 1.4, layer.gamma.shape))
        layer.beta.assign(rng.uniform(-0.3, 0.3, layer.beta.shape))
        layer.momentum = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            layer.bias.assign(rng.uniform(-0.2, 0.2, layer.bias.shape))
    pictures = calibration_pictures(model.input_shape[1], rng) * 255
    model(pictures, training=True)
    for layer in norms:
        layer.momentum = 0.99
    head = model.layers[-1]
    features = keras.Model(model.input, model.layers[-2].output)(pictures)
    head.kernel.assign(head.kernel.numpy() * logit_scale(np.asarray(features, np.float32) @ head.kernel.numpy()))
    return model


def logit_scale(logits):
    """Brings logits to a standard deviation of 2: probabilities that are neither all alike nor all in one class."""
    return 2 / np.std(logits)


def save_keras_v1(out, args, rng):
    size = args.size or 224
    model = keras.applications.ResNet101(weights=None, input_shape=(size, size, 3), classes=args.classes or 1000)
    calibrate_keras(model, rng, closing="_3_bn").export(out)


def save_thin_v1(out, args, rng):
    calibrate_keras(keras_thin(args), rng).export(out)


def save_thin_grouped(out, args, rng):
    calibrate_keras(keras_thin(args, groups=4), rng).export(out)


def save_thin_mixed(out, args, rng):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        calibrate_keras(keras_thin(args), rng).export(out)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def save_thin_keras_save(out, args, rng):
    module = tf.Module()
    module.model = calibrate_keras(keras_thin(args), rng)
    size = args.size or 64
    serve = tf.function(lambda inputs: {"logits": module.model(inputs, training=False)},
                        input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="inputs")])
    tf.saved_model.save(module, out, signatures={"serving_default": serve})


# ---- pre-activation ResNet of TensorFlow 1 operations ----

class Weights:
    """Random weights by name; moving statistics are filled in by the first forward pass."""

    def __init__(self, rng):
        self.rng, self.values = rng, {}

    def get(self, name, shape, kind):
        if name not in self.values:
            rng = self.rng
            self.values[name] = {
                "filter": lambda: rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape),
                "closing filter": lambda: rng.normal(0, 0.25 * np.sqrt(2 / np.prod(shape[:3])), shape),  # damped, as calibrate_keras has it
                "bias": lambda: rng.uniform(-0.2, 0.2, shape),
                "gamma": lambda: rng.uniform(0.6, 1.4, shape),
                "beta": lambda: rng.uniform(-0.3, 0.3, shape),
            }[kind]().astype(np.float32)
        return self.values[name]


def resnet_v2(x, variable, normalize, width, units, classes):
    """variable(name, shape, kind) -> weights; normalize(name, x) -> batch norm. slim's order of operations, names and paddings."""
    channels = lambda x: int(x.shape[-1])

    def conv(x, name, k, size, stride=1, bias=False, kind="filter"):
        if stride > 1 and size > 1:
            before = (size - 1) // 2
            x = tf.pad(x, [[0, 0], [before, size - 1 - before], [before, size - 1 - before], [0, 0]])
        padding = "VALID" if stride > 1 and size > 1 else "SAME"
        x = tf.nn.conv2d(x, variable(name + "/weights", [size, size, channels(x), k], kind), stride, padding)
        return tf.nn.bias_add(x, variable(name + "/biases", [k], "bias")) if bias else x

    def unit(x, name, base, stride):
        pre = tf.nn.relu(normalize(name + "/preact", x))
        if channels(x) == 4 * base:
            shortcut = x if stride == 1 else tf.nn.max_pool2d(x, 1, stride, "SAME")
        else:
            shortcut = conv(pre, name + "/shortcut", 4 * base, 1, stride, bias=True)
        y = tf.nn.relu(normalize(name + "/conv1/BatchNorm", conv(pre, name + "/conv1", base, 1)))
        y = tf.nn.relu(normalize(name + "/conv2/BatchNorm", conv(y, name + "/conv2", base, 3, stride)))
        return shortcut + conv(y, name + "/conv3", 4 * base, 1, bias=True, kind="closing filter")

    x = conv(x * 2.0 - 1.0, "conv1", width, 7, 2, bias=True)
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    for stage, count in enumerate(units):
        for u in range(count):
            stride = 2 if u == count - 1 and stage < len(units) - 1 else 1
            x = unit(x, f"block{stage + 1}/unit_{u + 1}", width << stage, stride)
    x = tf.nn.relu(normalize("postnorm", x))
    x = tf.reduce_mean(x, [1, 2], keepdims=True)
    return tf.squeeze(conv(x, "logits", classes, 1, bias=True), [1, 2])


def calibrated_weights(size, width, units, classes, rng):
    weights = Weights(rng)

    def normalize(name, x):
        c = [int(x.shape[-1])]
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        weights.values[name + "/moving_mean"] = mean.numpy()
        weights.values[name + "/moving_variance"] = variance.numpy()
        return tf.nn.batch_normalization(x, mean, variance, weights.get(name + "/beta", c, "beta"), weights.get(name + "/gamma", c, "gamma"), 1e-5)

    logits = resnet_v2(tf.constant(calibration_pictures(size, rng)), weights.get, normalize, width, units, classes)
    weights.values["logits/weights"] *= logit_scale(logits.numpy())
    return weights.values


class WrappedResNet(tf.Module):
    """The graph and its variables as a TensorFlow 1 function, and two signatures round it."""

    def __init__(self, size, width, units, classes, rng):
        super().__init__()
        self.size = size
        values = calibrated_weights(size, width, units, classes, rng)

        def network(inputs):
            def variable(name, shape, kind):
                return v1.get_variable(name, shape, use_resource=True)

            def normalize(name, x):
                c = [int(x.shape[-1])]
                get = lambda part: v1.get_variable(f"{name}/{part}", c, use_resource=True)
                return v1.nn.fused_batch_norm(x, get("gamma"), get("beta"), get("moving_mean"), get("moving_variance"), 1e-5, is_training=False)[0]

            with v1.variable_scope("resnet_v2_101"):
                return resnet_v2(inputs, variable, normalize, width, units, classes)

        self.network = v1.wrap_function(network, [tf.TensorSpec([None, size, size, 3], tf.float32)])
        self.network_variables = self.network.variables
        for variable in self.network_variables:
            variable.assign(values[variable.name.removeprefix("resnet_v2_101/").removesuffix(":0")])
        self.labels = [f"class {i}" for i in range(classes)]

    def read(self, raw):
        image = tf.io.decode_image(raw, channels=3, expand_animations=False)
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        side = tf.minimum(height, width)
        image = tf.image.crop_to_bounding_box(image, (height - side + 1) // 2, (width - side + 1) // 2, side, side)
        return tf.cast(tf.image.resize(image, [self.size, self.size]), tf.uint8)

    def classify(self, image_bytes):
        images = tf.map_fn(self.read, image_bytes, fn_output_signature=tf.TensorSpec([self.size, self.size, 3], tf.uint8))
        probabilities = tf.nn.softmax(self.network(tf.image.convert_image_dtype(images, tf.float32)))
        order = tf.argsort(probabilities, direction="DESCENDING")
        return {"labels": tf.gather(tf.constant(self.labels), order[:, :5]),
                "probabilities": tf.gather(probabilities, order, batch_dims=1)[:, :5]}

    def save(self, out, **options):
        size = self.size
        logits = tf.function(lambda inputs: {"logits": self.network(inputs)},
                             input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, name="inputs")])
        classify = tf.function(self.classify, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        tf.saved_model.save(self, out, signatures={"serving_default": logits, "serving_preprocess": classify},
                            options=tf.saved_model.SaveOptions(**options))


def save_slim_v2(out, args, rng):
    WrappedResNet(args.size or 224, args.width or 64, (3, 4, 23, 3), args.classes or 1001, rng).save(out)


def thin_v2(args, rng):
    return WrappedResNet(args.size or 64, args.width or 8, (2, 2, 2), args.classes or 11, rng)


def save_thin_v2(out, args, rng):
    thin_v2(args, rng).save(out)


def save_thin_sharded(out, args, rng):
    from tensorflow.python.checkpoint.sharding import sharding_policies
    thin_v2(args, rng).save(out, experimental_sharding_callback=sharding_policies.MaxShardSizePolicy(max_shard_size=6000))


# ---- TensorFlow 1 ----

def build_tf1(args, rng, pictures, freeze):
    """Basic post-activation units with a switch between training and inference; returns what SavedModelBuilder needs."""
    size, width, classes = args.size or 32, args.width or 8, args.classes or 11
    inputs = v1.placeholder(tf.float32, [None, size, size, 3], "inputs")
    training = v1.placeholder_with_default(False, [], "training")
    he = v1.keras.initializers.he_normal(seed=args.seed)
    session = v1.Session()
    statistics = []

    def conv(x, name, k, r, stride, **more):
        w = v1.get_variable(name + "/w", [r, r, int(x.shape[-1]), k], initializer=he, use_resource=False, **more)
        x = tf.nn.conv2d(x, w, stride, "SAME")
        c = [k]
        get = lambda part, low, high: v1.get_variable(f"{name}/{part}", c, use_resource=False,
                                                      initializer=v1.constant_initializer(rng.uniform(low, high, c)))
        gamma, beta, mean, variance = get("gamma", 0.6, 1.4), get("beta", -0.3, 0.3), get("mean", 0, 0), get("variance", 1, 1)
        statistics.append((x, mean, variance))
        return v1.cond(training, lambda: v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5)[0],
                       lambda: v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, 1e-5, is_training=False)[0])

    parts = dict(partitioner=v1.fixed_size_partitioner(3, axis=3))
    x = tf.nn.relu(conv(inputs, "first", width, 3, 1, **parts))
    for stage in range(3):
        stride, k = 1 + (stage > 0), width << stage
        shortcut = conv(x, f"unit{stage}/shortcut", k, 1, stride) if stage else x
        y = conv(tf.nn.relu(conv(x, f"unit{stage}/a", k, 3, stride)), f"unit{stage}/b", k, 3, 1)
        x = tf.nn.relu(y + shortcut)
    x = tf.squeeze(tf.reduce_mean(x, [1, 2], keepdims=True), [1, 2])
    w = v1.get_variable("logits/w", [int(x.shape[-1]), classes], initializer=he, use_resource=False)
    b = v1.get_variable("logits/b", [classes], initializer=v1.constant_initializer(rng.uniform(-1, 1, classes)), use_resource=False)
    logits = tf.nn.bias_add(tf.matmul(x, w), b)
    outputs = {"probabilities": tf.nn.softmax(logits, name="probabilities"), "logits": tf.identity(logits, "scores")}
    session.run(v1.global_variables_initializer())
    for x, mean, variance in statistics:
        values = session.run(tf.nn.moments(x, [0, 1, 2]), {inputs: pictures})
        session.run([mean.assign(values[0]), variance.assign(values[1])])
    if not freeze:
        return session, inputs, outputs
    names = [t.op.name for t in outputs.values()]
    frozen = v1.graph_util.convert_variables_to_constants(session, v1.get_default_graph().as_graph_def(), names)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(frozen, name="")
    get = graph.get_tensor_by_name
    return v1.Session(graph=graph), get("inputs:0"), {key: get(name + ":0") for key, name in zip(outputs, names)}


def save_tf1(out, args, rng, freeze=False):
    pictures = calibration_pictures(args.size or 32, rng)
    with tf.Graph().as_default():
        session, inputs, outputs = build_tf1(args, rng, pictures, freeze)
    with session.graph.as_default():
        builder = v1.saved_model.Builder(out)
        signature = v1.saved_model.predict_signature_def({"inputs": inputs}, outputs)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def save_thin_tf1(out, args, rng):
    save_tf1(out, args, rng)


def save_thin_frozen(out, args, rng):
    save_tf1(out, args, rng, freeze=True)


WRITERS = {name.removeprefix("save_"): function for name, function in globals().items()
           if name.startswith(("save_keras_v1", "save_slim_v2", "save_thin_"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="directory; each model goes to OUT/NAME/1")
    parser.add_argument("names", nargs="+", choices=sorted(WRITERS), metavar="NAME")
    parser.add_argument("--width", type=int, help="channels of the first stage")
    parser.add_argument("--size", type=int, help="height and width of pictures")
    parser.add_argument("--classes", type=int)
    parser.add_argument("--seed", type=int, default=101)
    args = parser.parse_args()
    for name in args.names:
        out = pathlib.Path(args.out) / name / "1"
        shutil.rmtree(out, ignore_errors=True)
        keras.utils.set_random_seed(args.seed)
        WRITERS[name](str(out), args, np.random.default_rng(args.seed))
        print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file())} bytes", flush=True)


if __name__ == "__main__":
    main()
