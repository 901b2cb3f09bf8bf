"""Graphs that are no ResNet of this family: each has to be refused by a message that says where and why."""
import keras
import numpy as np
import tensorflow as tf
import tf_keras
from keras.src.applications import densenet as densenet_kit

from .keras_family import network
from .registry import calibrate, unsupported
from .tensorflow_family import LABELS, Net, four

v1 = tf.compat.v1
layers = keras.layers


def keras_chain(out, *chain, shape=(32, 32, 3)):
    """A stem, what is given, a classifier; written by `model.export`."""
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, 2, "same", name="stem")(inputs)
    for layer in chain:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    keras.Model(inputs, layers.Dense(5)(x)).export(out)


def module(out, function, *specs):
    holder = tf.Module()
    holder.w = tf.Variable(tf.random.normal([3, 3, 3, 8]))
    specs = specs or (tf.TensorSpec([None, 32, 32, 3], tf.float32, name="images"),)
    tf.saved_model.save(holder, out, signatures=tf.function(lambda *args: {"y": function(holder, *args)}, input_signature=specs))


def stem(holder, x):
    return tf.nn.conv2d(x, holder.w, 2, "SAME")


# ---- whole architectures ----

@unsupported("MobileNetV2", "op Relu6")
def mobilenet_v2(out, rng):
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5).export(out)


@unsupported("MobileNetV3Small", "op ")
def mobilenet_v3(out, rng):
    keras.applications.MobileNetV3Small((32, 32, 3), alpha=0.75, minimalistic=True, weights=None, classes=5).export(out)


@unsupported("EfficientNetB0", "op ")
def efficientnet_b0(out, rng):
    keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=5).export(out)


@unsupported("DenseNet of four blocks", "op ConcatV2")
def densenet(out, rng):
    densenet_kit.DenseNet([1, 1, 1, 1], weights=None, input_shape=(32, 32, 3), classes=5).export(out)


@unsupported("InceptionV3's first mixed block", "op ConcatV2")
def inception(out, rng):
    inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(16, 3, 2, activation="relu")(inputs)
    branches = [layers.Conv2D(8, k, padding="same", activation="relu")(x) for k in (1, 3, 5)]
    keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(layers.Concatenate()(branches)))).export(out)


@unsupported("VGG: a map flattened into a dense layer", "op Reshape")
def vgg(out, rng):
    keras_chain(out, layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(32, "relu"))


@unsupported("Xception: separable convolutions", "op DepthwiseConv2dNative")
def xception(out, rng):
    keras_chain(out, layers.SeparableConv2D(16, 3, padding="same"), layers.BatchNormalization(), layers.ReLU())


@unsupported("ConvNeXt: layer normalisation and GELU", "op ")
def convnext(out, rng):
    keras_chain(out, layers.LayerNormalization(), layers.Conv2D(32, 1), layers.Activation("gelu"), layers.Conv2D(8, 1))


@unsupported("SE-ResNet: a map scaled by its own squeezed channels", "op ")
def squeeze_and_excite(out, rng):
    def excite(x):
        y = layers.GlobalAveragePooling2D(keepdims=True)(x)
        return layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(y))])
    keras_chain(out, excite)


@unsupported("ResNet-D: shortcuts through average pooling", "op AvgPool")
def resnet_d(out, rng):
    keras_chain(out, layers.AveragePooling2D(2), layers.Conv2D(16, 1), layers.BatchNormalization())


@unsupported("keras.applications' ResNeXt of Keras 2: depthwise convolution and a sum over groups", "op DepthwiseConv2dNative")
def resnext_stack3(out, rng):
    x = inputs = tf_keras.Input((32, 32, 16))
    c = 4
    x = tf_keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=c, use_bias=False)(x)
    x = tf_keras.layers.Reshape((32, 32, 4, c, c))(x)
    x = tf_keras.layers.Lambda(lambda x: sum(x[:, :, :, :, i] for i in range(c)))(x)
    x = tf_keras.layers.Reshape((32, 32, 16))(x)
    tf_keras.Model(inputs, tf_keras.layers.GlobalAveragePooling2D()(x)).save(out, save_format="tf")


@unsupported("a vision Transformer: patches and attention", "op ")
def transformer(out, rng):
    inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 8, 8)(inputs))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x))).export(out)


@unsupported("an LSTM", "expected [batch,height,width,channels]")
def lstm(out, rng):
    inputs = keras.Input((12, 6))
    keras.Model(inputs, layers.Dense(5)(layers.LSTM(8)(inputs))).export(out)


@unsupported("half_plus_two", "expected [batch,height,width,channels]")
def half_plus_two(out, rng):
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        a, b = (v1.get_variable(name, [], initializer=v1.constant_initializer(value), use_resource=False) for name, value in (("a", 0.5), ("b", 2.0)))
        y = tf.add(tf.multiply(a, x), b, "y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, out, {"x": x}, {"y": y})


@unsupported("text through an embedding", "int64")
def text(out, rng):
    inputs = keras.Input((12,), dtype="int64")
    keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(layers.Embedding(20, 8)(inputs)))).export(out)


# ---- ResNets that no plan expresses ----

@unsupported("Keras 3 with `Resizing` inside, exported: batch norm by the batch's own statistics", "op Mean", "batch")
def batch_statistics(out, rng):
    calibrate(network(preprocess=layers.Resizing(64, 64), shape=(80, 71, 3)), layers, rng).export(out)


@unsupported("FusedBatchNormV3 in training mode", "op FusedBatchNormV3", "is_training")
def training_mode(out, rng):
    def normalize(x, name, variable):
        gamma, beta, _, _ = four(name, x, variable)
        return tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=1e-5, is_training=True)[0]
    Net(rng, normalize=normalize).save(out)


@unsupported("dilated convolutions", "op Conv2D", "dilations")
def dilated(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.conv2d(x, holder.w, 1, "SAME", dilations=2), [1, 2]))


@unsupported("dilation as space to batch", "op SpaceToBatchND")
def space_to_batch(out, rng):
    none = [[0, 0], [0, 0]]
    module(out, lambda holder, x: tf.reduce_mean(tf.batch_to_space(tf.space_to_batch(stem(holder, x), [2, 2], none), [2, 2], none), [1, 2]))


@unsupported("a depthwise convolution", "op DepthwiseConv2dNative")
def depthwise(out, rng):
    keras_chain(out, layers.DepthwiseConv2D(3, padding="same"))


@unsupported("a transposed convolution", "op Conv2DBackpropInput")
def transposed(out, rng):
    keras_chain(out, layers.Conv2DTranspose(8, 3, 2, "same"))


@unsupported("GELU in place of ReLU", "op Erf")
def gelu(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.gelu(stem(holder, x)), [1, 2]))


@unsupported("SiLU in place of ReLU", "op Sigmoid")
def silu(out, rng):
    module(out, lambda holder, x: tf.reduce_mean((lambda y: y * tf.sigmoid(y))(stem(holder, x)), [1, 2]))


@unsupported("leaky ReLU", "op LeakyRelu")
def leaky_relu(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.leaky_relu(stem(holder, x)), [1, 2]))


@unsupported("ReLU6", "op Relu6")
def relu6(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.relu6(stem(holder, x)), [1, 2]))


@unsupported("group normalisation", "op ")
def group_norm(out, rng):
    keras_chain(out, layers.GroupNormalization(4))


@unsupported("a mirrored border", "op MirrorPad")
def mirror_pad(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), holder.w, 2, "VALID"), [1, 2]))


@unsupported("a border of ones", "op PadV2", "expected 0 or minus infinity")
def border_of_ones(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1), holder.w, 2, "VALID"), [1, 2]))


@unsupported("two inputs", "2 inputs, expected 1")
def two_inputs(out, rng):
    spec = lambda name: tf.TensorSpec([None, 32, 32, 3], tf.float32, name=name)
    module(out, lambda holder, a, b: tf.reduce_mean(stem(holder, a) + stem(holder, b), [1, 2]), spec("a"), spec("b"))


@unsupported("pictures of any size", "height, width and channels have to be known")
def unknown_size(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(stem(holder, x), [1, 2]), tf.TensorSpec([None, None, None, 3], tf.float32, name="images"))


@unsupported("float64", "double, expected float, uint8 or string")
def float64(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(stem(holder, tf.cast(x, tf.float32)), [1, 2]), tf.TensorSpec([None, 32, 32, 3], tf.float64, name="images"))


@unsupported("labels from a hash table", "op HashTableV2")
def hash_table(out, rng):
    net = Net(rng)
    net.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.range(11, dtype=tf.int64), tf.constant(LABELS)), "?")
    net.save(out, lambda inputs: {"label": net.table.lookup(tf.argmax(net(inputs)[1], -1))})


@unsupported("random numbers: dropout that stays on", "op ")
def dropout(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(tf.nn.dropout(stem(holder, x), 0.5), [1, 2]))


@unsupported("a crop after the first layer", "op StridedSlice", "expected of the signature's input")
def inner_crop(out, rng):
    module(out, lambda holder, x: tf.reduce_mean(stem(holder, x)[:, 2:10, 2:10], [1, 2]))


@unsupported("a Python function", "op EagerPyFunc")
def python_function(out, rng):
    module(out, lambda holder, x: tf.reshape(tf.py_function(np.mean, [stem(holder, x)], tf.float32), [1, 1]))
