#!/usr/bin/env python3
"""Paired comparison of resnet-bench with onnxruntime or OpenVINO on this machine: the same network, batch and thread count, in turns (A B A B ...).

Both sides run ResNet-101 V1 at 224x224 with random weights, batch norm folded. A round runs ours for some seconds, then the peer; the ratio of
a pair is peer time / our time, so that 1.2 means that we are 1.2 times as fast. The medians over all pairs are printed, and each pair.

    pip install numpy onnx onnxruntime openvino
    python tools/compare_peers.py --peer openvino --batch 1 --threads 2 --rounds 7
"""
import argparse
import json
import statistics
import subprocess
import time

import numpy
from onnx import TensorProto, helper

STAGES = ((64, 3), (128, 4), (256, 23), (512, 3))


class Network:
    """ResNet-101 V1 as an ONNX graph in NCHW, built layer by layer."""

    def __init__(self, batch):
        self.batch, self.nodes, self.weights = batch, [], []
        self.random = numpy.random.default_rng(1)

    def weight(self, shape, spread):
        name = f"w{len(self.weights)}"
        values = self.random.uniform(-spread, spread, shape).astype(numpy.float32)
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, values.tobytes(), raw=True))
        return name

    def node(self, kind, inputs, **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x, channels, filters, size, stride, relu, gain=1.0):
        pad = size // 2
        w = self.weight((filters, channels, size, size), gain * (6.0 / (channels * size * size)) ** 0.5)
        y = self.node("Conv", [x, w, self.weight((filters,), 0.1)], kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4)
        return self.node("Relu", [y]) if relu else y

    def block(self, x, channels, width, stride, project):
        shortcut = self.conv(x, channels, 4 * width, 1, stride, False, 0.7) if project else x
        y = self.conv(x, channels, width, 1, stride, True)
        y = self.conv(y, width, width, 3, 1, True)
        y = self.conv(y, width, 4 * width, 1, 1, False, 0.3)
        return self.node("Relu", [self.node("Add", [shortcut, y])])

    def build(self):
        x = self.conv("inputs", 3, 64, 7, 2, True)
        x = self.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        channels = 64
        for stage, (width, blocks) in enumerate(STAGES):
            for i in range(blocks):
                x = self.block(x, channels, width, 2 if stage and i == 0 else 1, i == 0)
                channels = 4 * width
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        x = self.node("Gemm", [x, self.weight((channels, 1000), 0.05), self.weight((1000,), 0.1)])
        y = self.node("Softmax", [x])
        graph = helper.make_graph(self.nodes, "resnet101",
                                  [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, [self.batch, 3, 224, 224])],
                                  [helper.make_tensor_value_info(y, TensorProto.FLOAT, [self.batch, 1000])], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class OnnxRuntime:
    """`run(pixels)` answers one batch; `name` says who did."""

    def __init__(self, model, threads):
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.run = lambda pixels: session.run(None, {"inputs": pixels})


class OpenVino:
    def __init__(self, model, threads):
        import openvino
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        request = openvino.compile_model(openvino.Core().read_model(model), "CPU", settings).create_infer_request()
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} f32"
        self.run = lambda pixels: request.infer({"inputs": pixels}, share_inputs=True)


PEERS = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def time_peer(peer, pixels, seconds):
    """Median milliseconds of a run."""
    peer.run(pixels)
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        peer.run(pixels)
        times.append(time.perf_counter() - before)
    return 1e3 * statistics.median(times)


def time_ours(options, extra):
    command = [options.bench, "model", "--synthetic=resnet101_v1", f"--batch={options.batch}", f"--threads={options.threads}",
               f"--seconds={options.seconds}", "--json", *extra]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=PEERS, default="onnxruntime")
    parser.add_argument("--bench", default="build/resnet-bench")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--isa", help="limit our instruction set")
    options = parser.parse_args()
    extra = [f"--isa={options.isa}"] if options.isa else []

    peer = PEERS[options.peer](Network(options.batch).build().SerializeToString(), options.threads)
    pixels = numpy.random.default_rng(2).uniform(-1, 1, (options.batch, 3, 224, 224)).astype(numpy.float32)
    ours, theirs = [], []
    for i in range(options.rounds):
        result = time_ours(options, extra)
        ours.append(result["median_ms"])
        theirs.append(time_peer(peer, pixels, options.seconds))
        print(f"pair {i + 1}: resnetd {ours[-1]:8.2f} ms  {options.peer} {theirs[-1]:8.2f} ms  ratio {theirs[-1] / ours[-1]:.3f}", flush=True)
    ratios = [t / o for t, o in zip(theirs, ours)]
    print(f"batch {options.batch}, {options.threads} threads, {options.rounds} pairs: resnetd {statistics.median(ours):.2f} ms "
          f"({result['backend']}, commit {result['commit']}), {peer.name} {statistics.median(theirs):.2f} ms, "
          f"median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} .. {max(ratios):.3f}) on {result['processor']}")


if __name__ == "__main__":
    main()
