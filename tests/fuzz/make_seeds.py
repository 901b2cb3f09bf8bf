"""Makes the seeds of some fuzz targets anew: tests/fuzz/corpus/{saved_model,checkpoint_index,checkpoint_data,model_file,picture}.

usage: python tests/fuzz/make_seeds.py        with TensorFlow, after `make`
"""
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(__file__).parent / "corpus"
sys.path.insert(0, str(ROOT / "tests/oracle"))
import pictures as encoded  # noqa: E402

v1 = tf.compat.v1


class Tiny(tf.Module):
    """One residual unit of four channels on 8x8 pictures: everything that a ResNet has, as small as can be."""

    def __init__(self, keep, normalize):
        super().__init__()
        rng = np.random.default_rng(1)
        make = lambda *shape: keep(rng.normal(0, 0.3, shape).astype(np.float32))
        self.w, self.u, self.d, self.b = make(3, 3, 3, 4), make(1, 1, 4, 4), make(4, 3), make(3)
        self.norm = [keep(np.ones(4, np.float32)) for _ in range(4)]
        self.normalize = normalize

    def __call__(self, x):
        x = tf.nn.conv2d(tf.pad(x * 2 - 1, [[0, 0], [1, 1], [1, 1], [0, 0]]), self.w, 2, "VALID")
        x = tf.nn.max_pool2d(tf.nn.relu(self.normalize(x, *self.norm)), 3, 1, "SAME")
        x = tf.nn.relu(x + tf.nn.conv2d(x, self.u, 1, "SAME"))
        return tf.matmul(tf.reduce_mean(x, [1, 2]), self.d) + self.b


def fused(x, gamma, beta, mean, variance):
    return tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, is_training=False)[0]


def spelled(x, gamma, beta, mean, variance):
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)


def numbers(net):
    signature = [tf.TensorSpec([None, 8, 8, 3], tf.float32)]
    return {"serving_default": tf.function(lambda x: {"logits": net(x), "best": tf.argmax(net(x), -1)}, input_signature=signature)}


def first_channels(net):
    serve = lambda x: tf.nn.softmax(net(tf.transpose(tf.image.resize(tf.transpose(x, [0, 2, 3, 1]), [8, 8]), [0, 1, 2, 3])))
    return {"serving_default": tf.function(serve, input_signature=[tf.TensorSpec([None, 3, 8, 8], tf.float32)])}


def pictures(net):
    def read(raw):
        image = tf.io.decode_image(raw, channels=3, expand_animations=False)
        return tf.cast(tf.image.resize(image, [8, 8]), tf.uint8)

    def serve(raw):
        images = tf.map_fn(read, raw, fn_output_signature=tf.TensorSpec([8, 8, 3], tf.uint8))
        best = tf.math.top_k(net(tf.image.convert_image_dtype(images, tf.float32)), 2)
        return {"labels": tf.gather(tf.constant(["a", "b", "c"]), best.indices), "values": best.values}
    return {"serving_preprocess": tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string)])}


def slim_down(path):
    """Without what only people read: half of the bytes."""
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in model.meta_graphs:
        graph.meta_info_def.ClearField("stripped_op_list")
        graph.ClearField("object_graph_def")
        graph.graph_def.ClearField("debug_info")
        for nodes in [graph.graph_def.node, *(f.node_def for f in graph.graph_def.library.function)]:
            for node in nodes:
                node.ClearField("experimental_debug_info")
                for key in [key for key in node.attr if key.startswith("_")]:
                    del node.attr[key]
    return model.SerializeToString(deterministic=True)


def make_pictures():
    """The smallest of every form that has more than a header, used in as many ways as there are forms."""
    smallest = {}
    for name, data in encoded.every_picture():
        form = re.sub(r"-\d+x\d+", "", name)
        if 60 < len(data) < 1700 and len(data) < len(smallest.get(form, bytes(1700))):
            smallest[form] = data
    for i, (form, data) in enumerate(sorted(smallest.items())):
        (CORPUS / "picture" / form).write_bytes(bytes([i * 37 % 256]) + data)


def main():
    for name in ("saved_model", "checkpoint_index", "checkpoint_data", "model_file", "picture"):
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        (CORPUS / name).mkdir(parents=True)
    make_pictures()
    with tempfile.TemporaryDirectory() as folder:
        for name, normalize, signatures in (("fused", fused, numbers), ("spelled", spelled, numbers),
                                            ("channels_first", fused, first_channels), ("pictures", fused, pictures)):
            path = pathlib.Path(folder, name)
            net = Tiny(tf.constant, normalize)
            tf.saved_model.save(net, str(path), signatures=signatures(net))
            shutil.rmtree(path / "variables")
            (path / "saved_model.pb").write_bytes(slim_down(path / "saved_model.pb"))
            shutil.copy(path / "saved_model.pb", CORPUS / "saved_model" / name)
            subprocess.run([ROOT / "build/resnet-convert", path, CORPUS / "model_file" / name, "--quiet"], check=True)
            data = (CORPUS / "model_file" / name).read_bytes()
            (CORPUS / "model_file" / name).write_bytes(data.replace(folder.encode(), b"." * len(folder)))
        for name, policy in (("whole", None), ("sliced", 64)):
            path = pathlib.Path(folder, name)
            options = {}
            if policy:
                from tensorflow.python.checkpoint.sharding import sharding_policies
                options["experimental_sharding_callback"] = sharding_policies.MaxShardSizePolicy(max_shard_size=policy * 1000)
            net = Tiny(tf.Variable, fused)
            net.label = tf.Variable(["a", "bc"])
            tf.saved_model.save(net, str(path), signatures=numbers(net), options=tf.saved_model.SaveOptions(**options))
            index = (path / "variables/variables.index").read_bytes()
            (CORPUS / "checkpoint_index" / name).write_bytes(index)
            data = (path / "variables/variables.data-00000-of-00001").read_bytes()
            (CORPUS / "checkpoint_data" / name).write_bytes(struct.pack("<H", len(index)) + index + data)
        # The blocks of a table without their checksums, as checkpoint_index_fuzz.c takes them.
        index = (CORPUS / "checkpoint_index/whole").read_bytes()
        handles, at = [], len(index) - 48
        for _ in range(4):
            value = shift = 0
            while True:
                byte, at = index[at], at + 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            handles.append(value)
        block = index[handles[2]:handles[2] + handles[3]]
        first = index[:handles[0] - 5]
        (CORPUS / "checkpoint_index/blocks").write_bytes(struct.pack("<H", len(first)) + first + block)


if __name__ == "__main__":
    main()
