"""ResNets of plain TensorFlow operations: modules of TensorFlow 2, graphs of TensorFlow 1, modules in the style of TF-Hub."""
import numpy as np
import tensorflow as tf

from .registry import pictures, variant

v1 = tf.compat.v1
LABELS = [f"class {i}" for i in range(11)]


def channels(x):
    return int(x.shape[-1])


class Values:
    """Random weights by name. Statistics are those of the first forward pass."""

    def __init__(self, rng):
        self.rng, self.values = rng, {}

    def __call__(self, name, shape, kind):
        if name not in self.values:
            rng = self.rng
            self.values[name] = {
                "filter": lambda: rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
                "bias": lambda: rng.uniform(-0.2, 0.2, shape),
                "gamma": lambda: rng.uniform(0.6, 1.4, shape) * (0.25 if "closing" in name else 1),
                "beta": lambda: rng.uniform(-0.3, 0.3, shape),
            }[kind]().astype(np.float32)
        return self.values[name]


def same_conv(x, w, stride):
    return tf.nn.conv2d(x, w, stride, "SAME")


def torch_conv(x, w, stride):
    """As PyTorch pads: the same on both sides, whatever the stride."""
    pad = (int(w.shape[0]) - 1) // 2
    return tf.nn.conv2d(x, w, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])


def resnet(x, variable, normalize, conv=same_conv, groups=1, stride_on=0, units=(2, 1), width=8, pool="same", classes=11):
    """Bottlenecks, post-activation. stride_on: which of a unit's three convolutions has the stride: 0 as in slim and Keras, 1 as in V1.5. Returns pooled
    features and logits."""

    def layer(x, name, k, r, stride=1, g=1):
        x = conv(x, variable(name + "/w", [r, r, channels(x) // g, k], "filter"), stride)
        return normalize(x, name + "/norm", variable)

    x = tf.nn.relu(layer(x, "stem", width, 7, 2))
    if pool == "same":
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    elif pool == "torch":
        x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    else:  # zeros would take part: PyTorch's border never wins
        x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf), 3, 2, "VALID")
    for stage, count in enumerate(units):
        for u in range(count):
            base, name = width << stage, f"stage{stage}/unit{u}"
            stride = 2 if stage and u == 0 else 1
            shortcut = x if u else layer(x, name + "/shortcut", 4 * base, 1, stride)
            y = tf.nn.relu(layer(x, name + "/a", base, 1, stride if stride_on == 0 else 1))
            y = tf.nn.relu(layer(y, name + "/b", base, 3, stride if stride_on == 1 else 1, groups))
            x = tf.nn.relu(layer(y, name + "/closing", 4 * base, 1) + shortcut)
    features = tf.reduce_mean(x, [1, 2])
    logits = tf.matmul(features, variable("logits/w", [channels(features), classes], "filter")) + variable("logits/b", [classes], "bias")
    return features, logits


def statistics(values):
    """normalize() for the pass that finds the moving statistics."""
    def normalize(x, name, variable):
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        values.values[name + "/mean"], values.values[name + "/variance"] = mean.numpy(), variance.numpy()
        c = [channels(x)]
        return tf.nn.batch_normalization(x, mean, variance, variable(name + "/beta", c, "beta"), variable(name + "/gamma", c, "gamma"), 1e-5)
    return normalize


def four(name, x, variable):
    c = [channels(x)]
    return [variable(f"{name}/{part}", c, part) for part in ("gamma", "beta", "mean", "variance")]


def fused_v3(x, name, variable):
    return tf.raw_ops.FusedBatchNormV3(x=x, **dict(zip(("scale", "offset", "mean", "variance"), four(name, x, variable))), epsilon=1e-5, is_training=False)[0]


def fused_v2(x, name, variable):
    return tf.raw_ops.FusedBatchNormV2(x=x, **dict(zip(("scale", "offset", "mean", "variance"), four(name, x, variable))), epsilon=1e-5, is_training=False)[0]


def fused_v1(x, name, variable):
    return tf.raw_ops.FusedBatchNorm(x=x, **dict(zip(("scale", "offset", "mean", "variance"), four(name, x, variable))), epsilon=1e-5, is_training=False)[0]


def spelled_out(x, name, variable):
    gamma, beta, mean, variance = four(name, x, variable)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)


def naive(x, name, variable):
    gamma, beta, mean, variance = four(name, x, variable)
    return gamma * (x - mean) / tf.sqrt(variance + 1e-5) + beta


def rsqrt_first(x, name, variable):
    gamma, beta, mean, variance = four(name, x, variable)
    scale = tf.math.rsqrt(variance + 1e-5) * gamma
    return tf.add(tf.multiply(x, scale), tf.subtract(beta, tf.multiply(mean, scale)))


class Net(tf.Module):
    """A network whose weights are variables, or constants where `keep` says so."""

    def __init__(self, rng, size=64, normalize=fused_v3, keep=tf.Variable, dtype=tf.float32, **options):
        super().__init__()
        self.size, self.normalize, self.options, self.dtype = size, normalize, options, dtype
        values = Values(rng)
        resnet(tf.constant(pictures((size, size, 3), rng)), values, statistics(values), **options)
        self.weights = {name: keep(tf.cast(value, dtype)) for name, value in values.values.items()}

    def get(self, name, shape, kind):
        return tf.cast(self.weights[name], tf.float32) if self.dtype != tf.float32 else tf.convert_to_tensor(self.weights[name])

    def __call__(self, x):
        return resnet(x, self.get, self.normalize, **self.options)

    def spec(self, dtype=tf.float32, name="inputs"):
        return tf.TensorSpec([None, self.size, self.size, 3], dtype, name=name)

    def save(self, out, function=None, **options):
        function = function or (lambda inputs: {"logits": self(inputs)[1]})
        tf.saved_model.save(self, out, signatures=tf.function(function, input_signature=[self.spec()]), **options)


# ---- TensorFlow 2 modules ----

@variant("TensorFlow 2 module, FusedBatchNormV3", pixels=1.0)
def module_fused_v3(out, rng):
    Net(rng).save(out)


@variant("TensorFlow 2 module, FusedBatchNormV2", pixels=1.0)
def module_fused_v2(out, rng):
    Net(rng, normalize=fused_v2).save(out)


@variant("TensorFlow 2 module, FusedBatchNorm", pixels=1.0)
def module_fused_v1(out, rng):
    Net(rng, normalize=fused_v1).save(out)


@variant("TensorFlow 2 module, `tf.nn.batch_normalization`", pixels=1.0)
def module_spelled_out(out, rng):
    Net(rng, normalize=spelled_out).save(out)


@variant("TensorFlow 2 module, `gamma * (x - mean) / sqrt(variance + eps) + beta`", pixels=1.0)
def module_naive(out, rng):
    Net(rng, normalize=naive).save(out)


@variant("TensorFlow 2 module, rsqrt folded into scale and shift", pixels=1.0)
def module_rsqrt(out, rng):
    Net(rng, normalize=rsqrt_first).save(out)


@variant("TensorFlow 2 module of constants", pixels=1.0)
def module_constants(out, rng):
    Net(rng, keep=tf.constant).save(out)


@variant("TensorFlow 2 module, weights kept in float16, computed in float32", pixels=1.0)
def module_float16_weights(out, rng):
    Net(rng, dtype=tf.float16).save(out)


@variant("TensorFlow 2 module, bfloat16 constants, computed in float32", pixels=1.0)
def module_bfloat16_constants(out, rng):
    Net(rng, dtype=tf.bfloat16, keep=tf.constant).save(out)


@variant("torchvision's V1.5: explicit padding, stride on the 3x3", pixels=1.0)
def torchvision_v1_5(out, rng):
    Net(rng, conv=torch_conv, stride_on=1, pool="torch").save(out)


@variant("torchvision's V1.5, pooling behind a border of minus infinity", pixels=1.0)
def torchvision_infinite_border(out, rng):
    Net(rng, conv=torch_conv, stride_on=1, pool="infinite").save(out)


@variant("ResNeXt, grouped convolutions", pixels=1.0)
def resnext_grouped(out, rng):
    Net(rng, groups=4, stride_on=1, width=16).save(out)


@variant("ResNeXt, groups as split, convolutions and concat", pixels=1.0)
def resnext_split(out, rng):
    def conv(x, w, stride):
        groups = channels(x) // int(w.shape[2])
        if groups == 1:
            return same_conv(x, w, stride)
        parts = zip(tf.split(x, groups, axis=-1), tf.split(w, groups, axis=-1))
        return tf.concat([same_conv(part, filters, stride) for part, filters in parts], axis=-1)
    Net(rng, groups=4, stride_on=1, width=16, conv=conv).save(out)


@variant("NCHW inside two transposes", pixels=1.0)
def nchw_inside(out, rng):
    def conv(x, w, stride):
        y = tf.nn.conv2d(tf.transpose(x, [0, 3, 1, 2]), w, stride, "SAME", data_format="NCHW")
        return tf.transpose(y, [0, 2, 3, 1])
    Net(rng, conv=conv).save(out)


@variant("NCHW throughout, one transpose at the start", pixels=1.0)
def nchw_throughout(out, rng):
    class Nchw(Net):
        def __call__(self, x):
            x = tf.transpose(x, [0, 3, 1, 2])
            get = self.get

            def layer(x, name, k, r, stride=1):
                pad = (r - 1) // 2
                x = tf.nn.conv2d(x, get(name + "/w", None, None), stride, [[0, 0], [0, 0], [pad, pad], [pad, pad]], data_format="NCHW")
                parts = [get(f"{name}/norm/{part}", None, None) for part in ("gamma", "beta", "mean", "variance")]
                return tf.raw_ops.FusedBatchNormV3(x=x, scale=parts[0], offset=parts[1], mean=parts[2], variance=parts[3], epsilon=1e-5,
                                                   is_training=False, data_format="NCHW")[0]

            x = tf.nn.relu(layer(x, "stem", 8, 7, 2))
            x = tf.nn.max_pool2d(tf.transpose(x, [0, 2, 3, 1]), 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])  # TensorFlow has no other on CPUs
            x = tf.transpose(x, [0, 3, 1, 2])
            for stage, count in enumerate((2, 1)):
                for u in range(count):
                    name, stride = f"stage{stage}/unit{u}", 2 if stage and u == 0 else 1
                    shortcut = x if u else layer(x, name + "/shortcut", 0, 1, stride)
                    y = tf.nn.relu(layer(x, name + "/a", 0, 1))
                    y = tf.nn.relu(layer(y, name + "/b", 0, 3, stride))
                    x = tf.nn.relu(shortcut + layer(y, name + "/closing", 0, 1))
            features = tf.reshape(tf.reduce_mean(x, [2, 3], keepdims=True), [-1, 64])
            return features, tf.nn.bias_add(tf.matmul(features, get("logits/w", None, None)), get("logits/b", None, None))
    Nchw(rng, conv=torch_conv, stride_on=1, pool="torch").save(out)


@variant("four signatures on one network: logits, probabilities, pooled features, top 3", pixels=1.0)
def several_signatures(out, rng):
    net = Net(rng)
    functions = {
        "serving_default": lambda inputs: {"logits": net(inputs)[1]},
        "probabilities": lambda inputs: tf.nn.softmax(net(inputs)[1]),
        "embedding": lambda inputs: {"features": net(inputs)[0]},
        "top": lambda inputs: dict(zip(("scores", "classes"), tf.math.top_k(tf.nn.softmax(net(inputs)[1]), 3))),
    }
    tf.saved_model.save(net, out, signatures={key: tf.function(f, input_signature=[net.spec()]) for key, f in functions.items()})


@variant("one unnamed output and an unnamed input", pixels=1.0)
def unnamed_output(out, rng):
    net = Net(rng)
    tf.saved_model.save(net, out, signatures=tf.function(lambda x: net(x)[1], input_signature=[net.spec(name=None)]))


@variant("outputs as a list: `output_0`, `output_1`", pixels=1.0)
def listed_outputs(out, rng):
    net = Net(rng)

    def serve(inputs):
        features, logits = net(inputs)
        return {"output_0": tf.nn.softmax(logits), "output_1": features, "classes": tf.argmax(logits, -1)}
    net.save(out, serve)


@variant("uint8 pictures through `convert_image_dtype`")
def uint8_input(out, rng):
    net = Net(rng)
    serve = tf.function(lambda images: {"logits": net(tf.image.convert_image_dtype(images, tf.float32))[1]}, input_signature=[net.spec(tf.uint8)])
    tf.saved_model.save(net, out, signatures=serve)


@variant("labels of the best five from floats", pixels=1.0)
def labels_from_floats(out, rng):
    net = Net(rng)
    labels = tf.constant(LABELS)

    def serve(inputs):
        best = tf.math.top_k(tf.nn.softmax(net(inputs)[1]), 5)
        return {"labels": tf.gather(labels, best.indices), "probabilities": best.values}
    net.save(out, serve)


@variant("checkpoint in shards of 6000 bytes, tensors in slices", pixels=1.0)
def sharded(out, rng):
    from tensorflow.python.checkpoint.sharding import sharding_policies
    policy = sharding_policies.MaxShardSizePolicy(max_shard_size=6000)
    Net(rng).save(out, options=tf.saved_model.SaveOptions(experimental_sharding_callback=policy))


@variant("TF-Hub style for TensorFlow 2: `__call__(inputs, training)`, `tf.cond` on it", pixels=1.0)
def hub_tensorflow2(out, rng):
    def normalize(x, name, variable):
        gamma, beta, mean, variance = four(name, x, variable)
        training = v1.placeholder_with_default(False, [])
        live = lambda: tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=1e-5, is_training=True)[0]
        still = lambda: tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=1e-5, is_training=False)[0]
        return tf.cond(training, live, still)
    Net(rng, normalize=normalize).save(out)


# ---- TensorFlow 1 ----

def calibrated(rng, network=resnet, size=64):
    values = Values(rng)
    network(tf.constant(pictures((size, size, 3), rng)), values, statistics(values))
    return values


def tf1_graph(values, resource, size=64, trained_by_switch=False, partitioner=None, softmax=False):
    """Builds the network in the current graph; returns session, input and outputs."""
    inputs = v1.placeholder(tf.float32, [None, size, size, 3], "images")
    training = v1.placeholder_with_default(False, [], "training") if trained_by_switch else None

    def variable(name, shape, kind):
        more = dict(partitioner=partitioner) if kind == "filter" and len(shape) == 4 and shape[3] >= 3 else {}
        def initial(shape, dtype=None, partition_info=None):
            value = values.values[name]
            start = partition_info.var_offset if partition_info else [0] * value.ndim
            return tf.constant(value[tuple(slice(at, at + size) for at, size in zip(start, shape))])

        return v1.get_variable(name, shape, use_resource=resource, initializer=initial, **more)

    def normalize(x, name, variable):
        gamma, beta, mean, variance = four(name, x, variable)
        still = lambda: v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, 1e-5, is_training=False)[0]
        if training is None:
            return still()
        return v1.cond(training, lambda: v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5)[0], still)

    with v1.variable_scope("resnet"):
        features, logits = resnet(inputs, variable, normalize)
    session = v1.Session()
    session.run(v1.global_variables_initializer())
    outputs = {"logits": tf.identity(logits, "scores"), "features": tf.identity(features, "features")}
    if softmax:
        outputs = {"probabilities": tf.nn.softmax(logits, name="probabilities"), "classes": tf.argmax(logits, 1, name="classes")}
    return session, inputs, outputs


@variant("TensorFlow 1 `simple_save`, reference variables", pixels=1.0)
def tf1_simple_save(out, rng):
    values = calibrated(rng)
    with tf.Graph().as_default():
        session, inputs, outputs = tf1_graph(values, resource=False)
        v1.saved_model.simple_save(session, out, {"images": inputs}, outputs)


def build(out, session, inputs, outputs, **options):
    builder = v1.saved_model.Builder(out)
    signature = v1.saved_model.predict_signature_def({"images": inputs}, outputs)
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, **options)
    builder.save()


@variant("TensorFlow 1 `SavedModelBuilder`, resource variables, softmax and classes", pixels=1.0)
def tf1_builder(out, rng):
    values = calibrated(rng)
    with tf.Graph().as_default():
        build(out, *tf1_graph(values, resource=True, softmax=True))


@variant("TensorFlow 1, a saver of its own, sharded; default attributes stripped", pixels=1.0)
def tf1_own_saver(out, rng):
    values = calibrated(rng)
    with tf.Graph().as_default():
        session, inputs, outputs = tf1_graph(values, resource=True)
        build(out, session, inputs, outputs, saver=v1.train.Saver(sharded=True), strip_default_attrs=True)


@variant("TensorFlow 1, partitioned variables", pixels=1.0)
def tf1_partitioned(out, rng):
    values = calibrated(rng)
    with tf.Graph().as_default():
        build(out, *tf1_graph(values, resource=False, partitioner=v1.fixed_size_partitioner(3, axis=3)))


@variant("TF-Hub style for TensorFlow 1: a `training` switch that nobody sets, v1 control flow", pixels=1.0)
def hub_tensorflow1(out, rng):
    values = calibrated(rng)
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default():
            build(out, *tf1_graph(values, resource=False, trained_by_switch=True))
    finally:
        v1.enable_control_flow_v2()


@variant("TensorFlow 1, frozen into constants", pixels=1.0)
def tf1_frozen(out, rng):
    values = calibrated(rng)
    with tf.Graph().as_default():
        session, inputs, outputs = tf1_graph(values, resource=False)
        names = {key: tensor.op.name for key, tensor in outputs.items()}
        frozen = v1.graph_util.convert_variables_to_constants(session, v1.get_default_graph().as_graph_def(), list(names.values()))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        get = graph.get_tensor_by_name
        build(out, v1.Session(graph=graph), get("images:0"), {key: get(name + ":0") for key, name in names.items()})


@variant("a TensorFlow 1 graph wrapped by `wrap_function`", pixels=1.0)
def tf1_wrapped(out, rng):
    module = tf.Module()
    values = calibrated(rng)

    def network(images):
        def variable(name, shape, kind):
            return v1.get_variable(name, shape, use_resource=True)
        return resnet(images, variable, fused_v3)[1]

    module.network = v1.wrap_function(network, [tf.TensorSpec([None, 64, 64, 3], tf.float32)])
    module.kept = module.network.variables
    for variable in module.kept:
        variable.assign(values.values[variable.name.removesuffix(":0")])
    serve = tf.function(lambda images: {"logits": module.network(images)}, input_signature=[tf.TensorSpec([None, 64, 64, 3], tf.float32)])
    tf.saved_model.save(module, out, signatures=serve)


# ---- slim ----

def slim_resnet_v1(inputs, variable, normalize):
    """slim's order of operations, names and paddings: the stride is on a block's last unit."""
    def conv(x, name, k, size, stride=1):
        if stride > 1 and size > 1:  # conv2d_same
            before = (size - 1) // 2
            x = tf.pad(x, [[0, 0], [before, size - 1 - before], [before, size - 1 - before], [0, 0]])
        x = tf.nn.conv2d(x, variable(name + "/weights", [size, size, channels(x), k], "filter"), stride, "VALID" if stride > 1 and size > 1 else "SAME")
        return normalize(x, name + "/BatchNorm", variable)

    x = tf.nn.relu(conv(inputs, "conv1", 8, 7, 2))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    for block, units in enumerate((2, 2)):
        for u in range(units):
            base, name = 8 << block, f"block{block + 1}/unit_{u + 1}/bottleneck_v1"
            stride = 2 if u == units - 1 and block == 0 else 1
            if channels(x) == 4 * base:
                shortcut = x if stride == 1 else tf.nn.max_pool2d(x, 1, stride, "SAME")
            else:
                shortcut = conv(x, name + "/shortcut", 4 * base, 1, stride)
            y = tf.nn.relu(conv(x, name + "/conv1", base, 1))
            y = tf.nn.relu(conv(y, name + "/conv2", base, 3, stride))
            x = tf.nn.relu(shortcut + conv(y, name + "/conv3/closing", 4 * base, 1))
    features = tf.reduce_mean(x, [1, 2], keepdims=True)
    w, b = variable("logits/weights", [1, 1, channels(x), 11], "filter"), variable("logits/biases", [11], "bias")
    return features, tf.squeeze(tf.nn.bias_add(tf.nn.conv2d(features, w, 1, "SAME"), b), [1, 2])


@variant("slim V1, TensorFlow 1, `global_pool` kept as a 1x1 map", pixels=1.0)
def slim_v1(out, rng):
    values = calibrated(rng, slim_resnet_v1)
    with tf.Graph().as_default():
        inputs = v1.placeholder(tf.float32, [None, 64, 64, 3], "images")

        def variable(name, shape, kind):
            return v1.get_variable(name, shape, use_resource=False, initializer=v1.constant_initializer(values.values[name]))
        features, logits = slim_resnet_v1(inputs, variable, fused_v3)
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        build(out, session, inputs, {"global_pool": features, "predictions": tf.nn.softmax(logits)})


@variant("slim V2 in a module with signatures for numbers and pictures", pixels=1.0)
def slim_v2(out, rng):
    from make_models import WrappedResNet
    WrappedResNet(64, 8, (2, 2, 2), 11, rng).save(out)
