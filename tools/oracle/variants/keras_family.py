"""Keras 3 and Keras 2 (tf_keras): keras.applications' own block functions at small width, in every form that Keras writes."""
import keras
import tensorflow as tf
import tf_keras
from keras.src.applications import imagenet_utils, resnet as resnet3
from tf_keras.src.applications import imagenet_utils as imagenet_utils2, resnet as resnet2

from .registry import calibrate, variant

DEPTH = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def network(depth=None, version=1, size=64, width=8, classes=10, generation=3, preprocess=None, shape=None, activation="softmax", **more):
    """keras.applications.ResNet<depth> at that width. preprocess(x) goes in front, inside the model."""
    kit = resnet3 if generation == 3 else resnet2
    layers = keras.layers if generation == 3 else tf_keras.layers
    stack = {(3, 1): "stack_residual_blocks_v1", (3, 2): "stack_residual_blocks_v2", (2, 1): "stack1", (2, 2): "stack2"}[generation, version]
    stack = getattr(kit, stack)

    def body(x):
        for i, blocks in enumerate(DEPTH[depth or (14 if version == 1 else 26)]):
            # The fourth stack's stride in V2, the first one's in V1.
            stride = (1 if i == 3 else 2) if version == 2 else (1 if i == 0 else 2)
            x = stack(x, width << i, blocks, stride1=stride, name=f"conv{i + 2}")
        return x

    shape = shape or (size, size, 3)
    if preprocess is None:
        inputs = tensor = None
    else:
        inputs = layers.Input(shape)
        tensor = preprocess(inputs)
        shape = tuple(tensor.shape[1:])
    more = {"input_shape": shape, **more}
    model = kit.ResNet(body, version == 2, True, weights=None, input_tensor=tensor, classes=classes, classifier_activation=activation, **more)
    return model if inputs is None else (keras if generation == 3 else tf_keras).Model(inputs, model.output)


def made3(rng, pixels=255.0, **options):
    return calibrate(network(**options), keras.layers, rng, pixels)


def made2(rng, pixels=255.0, **options):
    return calibrate(network(generation=2, **options), tf_keras.layers, rng, pixels)


def with_policy(module, policy, build):
    module.mixed_precision.set_global_policy(policy)
    try:
        return build()
    finally:
        module.mixed_precision.set_global_policy("float32")


def with_channels_first(module, build):
    module.backend.set_image_data_format("channels_first")
    try:
        return build()
    finally:
        module.backend.set_image_data_format("channels_last")


# ---- Keras 3 ----

@variant("Keras 3 ResNet50 V1, `model.export`")
def keras3_resnet50_v1(out, rng):
    made3(rng, depth=50).export(out)


@variant("Keras 3 ResNet101 V1, 1000 classes, no softmax, `model.export`")
def keras3_resnet101_v1(out, rng):
    made3(rng, depth=101, classes=1000, activation=None).export(out)


@variant("Keras 3 ResNet50 V2, `model.export`", pixels=1.0)
def keras3_resnet50_v2(out, rng):
    made3(rng, 1.0, depth=50, version=2).export(out)


@variant("Keras 3 ResNet152 V2, `model.export`", pixels=1.0)
def keras3_resnet152_v2(out, rng):
    made3(rng, 1.0, depth=152, version=2, width=4).export(out)


@variant("Keras 3 V1, `tf.saved_model.save(model)`")
def keras3_saved_model_save(out, rng):
    tf.saved_model.save(made3(rng), out)


@variant("Keras 3 V1 under `tf.saved_model.save` of a module with its own signature")
def keras3_in_a_module(out, rng):
    module = tf.Module()
    module.model = made3(rng)
    serve = tf.function(lambda images: {"probabilities": module.model(images, training=False)}, input_signature=[tf.TensorSpec([None, 64, 64, 3], tf.float32)])
    tf.saved_model.save(module, out, signatures={"serving_default": serve})


@variant("Keras 3 V1 without top, pooling `avg`")
def keras3_pooling_avg(out, rng):
    made3(rng, include_top=False, pooling="avg").export(out)


@variant("Keras 3 V1 without top, pooling `max`")
def keras3_pooling_max(out, rng):
    made3(rng, include_top=False, pooling="max").export(out)


@variant("Keras 3 V2 without top, no pooling: a feature map", pixels=1.0)
def keras3_feature_map(out, rng):
    made3(rng, 1.0, version=2, include_top=False).export(out)


@variant("Keras 3 V1, 3 classes, pictures of 32x32, the smallest that Keras takes")
def keras3_smallest(out, rng):
    made3(rng, size=32, classes=3).export(out)


@variant("Keras 3 V1, pictures of 75x53")
def keras3_odd_size(out, rng):
    made3(rng, shape=(75, 53, 3)).export(out)


@variant("Keras 3, `Rescaling` and `Normalization` inside")
def keras3_rescaling_normalization(out, rng):
    def preprocess(x):
        normalization = keras.layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.229**2, 0.224**2, 0.225**2])
        return normalization(keras.layers.Rescaling(1 / 255.0)(x))
    made3(rng, preprocess=preprocess).export(out)


@variant("Keras 3, `preprocess_input` caffe in a `Lambda`")
def keras3_caffe_lambda(out, rng):
    made3(rng, preprocess=keras.layers.Lambda(keras.applications.resnet.preprocess_input)).export(out)


@variant("Keras 3, `preprocess_input` tf as operations")
def keras3_tf_ops(out, rng):
    made3(rng, preprocess=keras.applications.resnet_v2.preprocess_input, version=2).export(out)


@variant("Keras 3, `preprocess_input` torch as operations")
def keras3_torch_ops(out, rng):
    made3(rng, preprocess=lambda x: imagenet_utils.preprocess_input(x, mode="torch")).export(out)


@variant("Keras 3, `CenterCrop` inside, in inference mode by a module")
def keras3_center_crop(out, rng):
    module = tf.Module()
    module.model = made3(rng, preprocess=keras.layers.CenterCrop(64, 64), shape=(80, 71, 3))
    serve = tf.function(lambda images: module.model(images, training=False), input_signature=[tf.TensorSpec([None, 80, 71, 3], tf.float32)])
    tf.saved_model.save(module, out, signatures=serve)


@variant("Keras 3, `Resizing` inside, in inference mode by a module")
def keras3_resizing(out, rng):
    module = tf.Module()
    module.model = made3(rng, preprocess=keras.layers.Resizing(64, 64), shape=(80, 71, 3))
    serve = tf.function(lambda images: module.model(images, training=False), input_signature=[tf.TensorSpec([None, 80, 71, 3], tf.float32)])
    tf.saved_model.save(module, out, signatures=serve)


@variant("Keras 3, policy mixed_float16", compute="float16")
def keras3_mixed_float16(out, rng):
    with_policy(keras, "mixed_float16", lambda: made3(rng)).export(out)


@variant("Keras 3, policy mixed_bfloat16", compute="bfloat16")
def keras3_mixed_bfloat16(out, rng):
    with_policy(keras, "mixed_bfloat16", lambda: made3(rng)).export(out)


@variant("Keras 3, policy float16: weights and outputs of 16 bits", compute="float16")
def keras3_float16(out, rng):
    with_policy(keras, "float16", lambda: made3(rng)).export(out)


@variant("Keras 3, policy bfloat16: weights and outputs of 16 bits", compute="bfloat16")
def keras3_bfloat16(out, rng):
    with_policy(keras, "bfloat16", lambda: made3(rng)).export(out)


@variant("Keras 3 V1, `channels_first`")
def keras3_channels_first(out, rng):
    with_channels_first(keras, lambda: made3(rng, shape=(3, 64, 64))).export(out)


@variant("Keras 3, one network with logits, probabilities and pooled features as dict outputs")
def keras3_three_outputs(out, rng):
    whole = made3(rng, activation=None)
    features, logits = whole.layers[-2].output, whole.output
    keras.Model(whole.input, {"logits": logits, "probabilities": keras.layers.Softmax()(logits), "features": features}).export(out)


@variant("Keras 3, ReLU with a maximum value of none, Add of three, `Flatten` after pooling")
def keras3_functional(out, rng):
    layers = keras.layers
    inputs = keras.Input((48, 48, 3), name="image")
    x = layers.Conv2D(16, 3, 2, "same", use_bias=False)(layers.Rescaling(1 / 127.5, -1)(inputs))
    x = layers.Activation("relu")(layers.BatchNormalization(scale=False)(x))
    y = layers.BatchNormalization(center=False)(layers.Conv2D(16, 3, padding="same")(x))
    z = layers.BatchNormalization()(layers.Conv2D(16, 1)(x))
    x = layers.ReLU()(layers.add([x, y, z]))
    x = layers.Flatten()(layers.AveragePooling2D(24)(x))
    model = keras.Model(inputs, layers.Dense(7, name="scores")(layers.Dropout(0.5)(x)))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(rng.uniform(-0.1, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.export(out)


# ---- Keras 2 ----

@variant("Keras 2 ResNet50 V1, `model.save`")
def keras2_resnet50_v1(out, rng):
    made2(rng, depth=50).save(out, save_format="tf")


@variant("Keras 2 ResNet101 V1, no softmax, `tf.saved_model.save`")
def keras2_resnet101_v1(out, rng):
    tf.saved_model.save(made2(rng, depth=101, activation=None), out)


@variant("Keras 2 ResNet50 V2, `model.save`", pixels=1.0)
def keras2_resnet50_v2(out, rng):
    made2(rng, 1.0, depth=50, version=2).save(out, save_format="tf")


@variant("Keras 2 V1, `model.export`")
def keras2_export(out, rng):
    made2(rng).export(out)


@variant("Keras 2 V1, compiled and fitted before `model.save`: optimiser variables")
def keras2_fitted(out, rng):
    model = made2(rng)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(rng.random((4, 64, 64, 3)) * 255, rng.integers(0, 10, 4), verbose=0, batch_size=4)
    model.save(out, save_format="tf")


@variant("Keras 2 V1 without top, pooling `max`")
def keras2_pooling_max(out, rng):
    made2(rng, include_top=False, pooling="max").save(out, save_format="tf")


@variant("Keras 2, `preprocess_input` caffe in a `Lambda`")
def keras2_caffe_lambda(out, rng):
    made2(rng, preprocess=tf_keras.layers.Lambda(tf_keras.applications.resnet.preprocess_input)).save(out, save_format="tf")


@variant("Keras 2, `preprocess_input` tf as operations")
def keras2_tf_ops(out, rng):
    made2(rng, preprocess=tf_keras.applications.resnet_v2.preprocess_input, version=2).save(out, save_format="tf")


@variant("Keras 2, `preprocess_input` torch as operations")
def keras2_torch_ops(out, rng):
    made2(rng, preprocess=lambda x: imagenet_utils2.preprocess_input(x, mode="torch")).save(out, save_format="tf")


@variant("Keras 2, `Resizing` and `CenterCrop` inside")
def keras2_resizing_center_crop(out, rng):
    layers = tf_keras.layers
    made2(rng, preprocess=lambda x: layers.CenterCrop(64, 64)(layers.Resizing(73, 70)(x)), shape=(90, 100, 3)).save(out, save_format="tf")


@variant("Keras 2, policy mixed_float16", compute="float16")
def keras2_mixed_float16(out, rng):
    with_policy(tf_keras, "mixed_float16", lambda: made2(rng)).save(out, save_format="tf")


@variant("Keras 2 V1, `channels_first`")
def keras2_channels_first(out, rng):
    with_channels_first(tf_keras, lambda: made2(rng, shape=(3, 64, 64))).save(out, save_format="tf")

