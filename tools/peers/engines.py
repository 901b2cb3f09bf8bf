"""The engines that compare_peers.py lets take turns, ours included. Each is a process of its own, so that no thread pool disturbs another:

    engines.py NAME DIRECTORY --batch N --threads N      DIRECTORY as compare_peers.py prepared it

loads the model, writes its answers for DIRECTORY/rows.npy to stdout as one JSON line, and then answers every line of standard input with the median
milliseconds of a run, as `resnet-bench model --paced` does.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

import numpy as np

SIGNATURE = "serving_default"


class OnnxRuntime:
    def __init__(self, folder, pixels, threads):
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.run = lambda: session.run(None, {name: pixels})[0]


class OpenVino:
    """hint: INFERENCE_PRECISION_HINT, None for OpenVINO's own choice."""
    file, hint = "model.onnx", "f32"

    def __init__(self, folder, pixels, threads):
        import openvino
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if self.hint:
            settings["INFERENCE_PRECISION_HINT"] = self.hint
        model = openvino.Core().read_model(folder / self.file)
        model.reshape(pixels.shape)
        request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        self.version = f"OpenVINO {openvino.__version__.split('-')[0]}"
        self.run = lambda: request.infer([pixels], share_inputs=True)[0]


class OpenVinoBf16(OpenVino):
    hint = "bf16"


class OpenVinoInt8(OpenVino):
    file, hint = "int8.xml", None


class TensorFlow:
    def __init__(self, folder, pixels, threads):
        import tensorflow as tf
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.model = tf.saved_model.load(str(folder / "saved_model"))
        signature = self.model.signatures[SIGNATURE]
        (name, _), = signature.structured_input_signature[1].items()
        tensor = tf.constant(pixels)
        self.version = f"TensorFlow {tf.__version__}"
        self.run = lambda: next(iter(signature(**{name: tensor}).values())).numpy()


class PyTorch:
    """TorchScript, frozen, channels last, with oneDNN's fusions: what torch.jit.optimize_for_inference makes of it."""

    def __init__(self, folder, pixels, threads):
        import onnx
        import torch

        from onnx_to_torch import Graph
        torch.set_num_threads(threads)
        rows = torch.from_numpy(pixels)
        with torch.inference_mode():
            module = Graph(onnx.load(folder / "model.onnx").graph).eval().to(memory_format=torch.channels_last)
            traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module, rows)))
            for _ in range(3):
                traced(rows)
        self.version = f"PyTorch {torch.__version__.split('+')[0]}"

        def run():
            with torch.inference_mode():
                return traced(rows).numpy()
        self.run = run


ENGINES = {"onnxruntime": OnnxRuntime, "openvino-f32": OpenVino, "openvino-bf16": OpenVinoBf16, "openvino-int8": OpenVinoInt8,
           "tensorflow": TensorFlow, "pytorch": PyTorch}


def median_ms(run, seconds):
    """After one run to warm up, of at least three."""
    run()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return 1e3 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    sys.stdout, answers = sys.stderr, sys.stdout  # libraries print what they like
    pixels = np.ascontiguousarray(np.load(options.folder / "rows.npy")[:options.batch])
    engine = ENGINES[options.engine](options.folder, pixels, options.threads)
    print(json.dumps({"version": engine.version, "answers": np.asarray(engine.run()).tolist()}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"median_ms": median_ms(engine.run, options.seconds)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
