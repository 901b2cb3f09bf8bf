#!/usr/bin/env python3
"""The same requests of the Open Inference Protocol, good and bad, to resnetd and to a real Triton; prints as Markdown where they differ.

    python -m venv triton && triton/bin/pip install nvidia-pytriton    holds the program tritonserver, about 370 MB: not for CI
    python tools/oracle/compare_triton.py --triton triton --build build > differences

Both serve a model of the same name, input and output; Triton's is a few lines of Python, so that numbers are not compared, only codes, types and the
shape of answers. Every difference needs a line in REASONS: one without a reason is printed as unexplained and makes the exit code 1.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/fashion_resnet101"
LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
COUNT = 64 * 64 * 3
VALUES = [0.5] * COUNT
RAW = struct.pack(f"<{COUNT}f", *VALUES)
SIZE_HEADER = "Inference-Header-Content-Length"

CONFIG = """name: "fashion" backend: "python" max_batch_size: 16
input [ { name: "inputs" data_type: TYPE_FP32 dims: [ 64, 64, 3 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
"""
PYTHON_MODEL = """import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        inputs = [backend.get_input_tensor_by_name(request, "inputs").as_numpy() for request in requests]
        outputs = [rows.reshape(len(rows), -1)[:, :10].astype(np.float32) for rows in inputs]
        return [backend.InferenceResponse([backend.Tensor("logits", rows)]) for rows in outputs]
"""

CLIENT = "the client's fault: 400 tells it not to try again, 500 would"
LATER = "every batch size is served: larger ones are cut into runs"
REASONS = {
    "model, unknown: stats": "404 as for every other question about a model that is not there",
    "model, unknown: ready": "404 as for every other question about a model that is not there",
    "model, version overflow": "as in TensorFlow Serving's URLs, where such a number is 400 with an empty body",
    "trace settings": "there is no tracing to set: 501 says so",
    "log settings": "there are no settings to change at run time: 501 says so",
    "repository: load unknown": "the model is not found: 404, not a fault of the server",
    "repository: unload unknown": "a typing error should not look like success",
    "infer, empty body": "an empty document is reported as that, not as a bare tensor",
    "infer, 17 rows": LATER,
    "infer, 0 rows": "a batch without rows has an answer without rows",
    "infer, shape without batch": "the shape is what is wrong, and is named",
    "infer, huge shape": "refused by the size of a batch; Triton 2.51 ends its process",
    "infer, sequence": "nothing here has a state: an answer would pretend that it had",
    "infer, bad header": "a header that is no number is refused; Triton takes it for 0",
    "server": "name and extensions are ours",
    "live": "a body, which KServe's client reads",
    "ready": "a body, which KServe's client reads",
    "configuration": "what has no meaning here (optimisation, files, ensembles) is left out",
    "metadata": "the platform is the format that models come in",
    "statistics": "no cache here; batch sizes are rounded up to powers of two",
}


def tensor(**fields):
    out = {"name": "inputs", "shape": [1, 64, 64, 3], "datatype": "FP32", "data": VALUES, **fields}
    return {key: value for key, value in out.items() if value is not None}


def binary(size=len(RAW)):
    return tensor(data=None, parameters={"binary_data_size": size})


def infer(label, body, tail=b"", header=None, path="fashion/infer", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    if tail or header is not None:
        headers[SIZE_HEADER] = str(len(raw)) if header is None else header
    return f"infer, {label}", "POST", "/v2/models/" + path, raw + tail, {key.replace("_", "-"): value for key, value in headers.items()}


def document(label, **fields):
    return infer(label, {"inputs": [tensor(**fields)]})


def asked(label, **fields):
    return infer(label, {"inputs": [tensor()], **fields})


REQUESTS = [
    ("server", "GET", "/v2", b"", {}),
    ("live", "GET", "/v2/health/live", b"", {}),
    ("ready", "GET", "/v2/health/ready", b"", {}),
    ("ready, wrong method", "DELETE", "/v2/health/ready", b"", {}),
    ("metadata", "GET", "/v2/models/fashion", b"", {}),
    ("metadata, version", "GET", "/v2/models/fashion/versions/9", b"", {}),
    ("configuration", "GET", "/v2/models/fashion/config", b"", {}),
    ("configuration, version", "GET", "/v2/models/fashion/versions/9/config", b"", {}),
    ("model, unknown: config", "GET", "/v2/models/nope/config", b"", {}),
    ("model ready", "GET", "/v2/models/fashion/ready", b"", {}),
    ("model, unknown", "GET", "/v2/models/nope", b"", {}),
    ("model, unknown: ready", "GET", "/v2/models/nope/ready", b"", {}),
    ("model, unknown: stats", "GET", "/v2/models/nope/stats", b"", {}),
    ("model, version overflow", "GET", "/v2/models/fashion/versions/99999999999999999999", b"", {}),
    ("model, wrong method", "POST", "/v2/models/fashion", b"", {}),
    ("config, wrong method", "POST", "/v2/models/fashion/config", b"", {}),
    ("infer, wrong method", "GET", "/v2/models/fashion/infer", b"", {}),
    ("no such page", "GET", "/v2/foo", b"", {}),
    ("trailing slash", "GET", "/v2/models/fashion/versions/1/", b"", {}),
    ("statistics", "GET", "/v2/models/stats", b"", {}),
    ("trace settings", "GET", "/v2/trace/setting", b"", {}),
    ("log settings", "GET", "/v2/logging", b"", {}),
    ("repository: index", "POST", "/v2/repository/index", b'{"ready":true}', {}),
    ("repository: wrong method", "GET", "/v2/repository/index", b"", {}),
    ("repository: load unknown", "POST", "/v2/repository/models/nope/load", b"", {}),
    ("repository: unload unknown", "POST", "/v2/repository/models/nope/unload", b"", {}),
    asked("plain"),
    asked("id", id='a"\\b'),
    asked("classification", outputs=[{"name": "logits", "parameters": {"classification": 3}}]),
    asked("classification in binary", outputs=[{"name": "logits", "parameters": {"classification": 2, "binary_data": True}}]),
    asked("no classification", outputs=[{"name": "logits", "parameters": {"classification": 0}}]),
    asked("negative classification", outputs=[{"name": "logits", "parameters": {"classification": -1}}]),
    asked("binary output", parameters={"binary_data_output": True}),
    asked("output unknown", outputs=[{"name": "x"}]),
    asked("output twice", outputs=[{"name": "logits"}] * 2),
    asked("no outputs", outputs=[]),
    asked("outputs a string", outputs="x"),
    asked("output without name", outputs=[{}]),
    asked("id a number", id=1),
    asked("priority and timeout", parameters={"priority": 1, "timeout": 60_000_000}),
    asked("priority a string", parameters={"priority": "x"}),
    asked("sequence", parameters={"sequence_id": 1, "sequence_start": True}),
    asked("unknown parameter", parameters={"foo": 1}),
    asked("reserved parameter", parameters={"triton_x": 1}),
    asked("parameters a list", parameters=[1]),
    infer("empty body", b""),
    infer("garbage", b"garbage"),
    infer("cut", b'{"inputs":['),
    infer("trailing bytes", json.dumps({"inputs": [tensor()]}).encode() + b"x"),
    infer("array", b"[1]"),
    infer("no inputs", {}),
    infer("inputs an object", {"inputs": {}}),
    infer("inputs empty", {"inputs": []}),
    infer("input a number", {"inputs": [1]}),
    infer("two inputs", {"inputs": [tensor(), tensor(name="x")]}),
    infer("one input twice", {"inputs": [tensor(), tensor()]}),
    document("no name", name=None),
    document("name a number", name=1),
    document("name unknown", name="x"),
    document("no datatype", datatype=None),
    document("datatype unknown", datatype="FLOAT"),
    document("datatype another", datatype="INT32", data=[1] * COUNT),
    document("no shape", shape=None),
    document("shape a string", shape="x"),
    document("shape negative", shape=[-1, 64, 64, 3]),
    document("shape a fraction", shape=[1.5, 64, 64, 3]),
    document("shape another", shape=[1, 32, 32, 3], data=[0] * 3072),
    document("shape without batch", shape=[64, 64, 3]),
    document("one value too many", data=VALUES + [1]),
    document("one value too few", data=VALUES[1:]),
    document("no data", data=None),
    document("data a string", data="x"),
    document("data of strings", data=["x"] * COUNT),
    document("nested data", data=[[VALUES]]),
    document("17 rows", shape=[17, 64, 64, 3], data=VALUES * 17),
    document("0 rows", shape=[0, 64, 64, 3], data=[]),
    infer("binary", {"inputs": [binary()]}, RAW),
    infer("binary, short", {"inputs": [binary()]}, RAW[:-4]),
    infer("binary, long", {"inputs": [binary()]}, RAW + b"xxxx"),
    infer("binary, another size", {"inputs": [binary(100)]}, RAW[:100]),
    infer("binary, negative size", {"inputs": [binary(-100)]}, RAW[:100]),
    infer("binary and data", {"inputs": [tensor(parameters={"binary_data_size": 100})]}, RAW[:100]),
    infer("binary without bytes", {"inputs": [binary()]}),
    infer("header too large", {"inputs": [binary()]}, RAW, "1000000"),
    infer("header negative", {"inputs": [binary()]}, RAW, "-1"),
    infer("bad header", {"inputs": [binary()]}, RAW, "x"),
    infer("header too small", {"inputs": [binary()]}, RAW, "10"),
    infer("bare", b"", RAW, "0"),
    infer("bare, short", b"", RAW[:-1], "0"),
    infer("bare, two rows", b"", RAW * 2, "0"),
    infer("deflate", zlib.compress(json.dumps({"inputs": [tensor()]}).encode()), Content_Encoding="deflate"),
    infer("not gzip", b"xxx", Content_Encoding="gzip"),
    infer("brotli", {"inputs": [tensor()]}, Content_Encoding="br"),
    infer("version", {"inputs": [tensor()]}, path="fashion/versions/1/infer"),
    infer("model unknown", b"{", path="nope/infer"),
    document("huge shape", shape=[2**40, 64, 64, 3], data=[]),
]


def shape_of(value):
    """What an answer is made of: keys and types, texts only where both servers must agree."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("name", "datatype", "shape", "id", "model_name", "model_version") else shape_of(value[key]) for key in value}
    if isinstance(value, list):
        return [shape_of(element) for element in value[:1]]
    return type(value).__name__


def ask(url, method, path, body, headers):
    """(code, whether the answer is binary, its shape, its text if it is an error)"""
    request = urllib.request.Request(url + path, body or None, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=60)) as answer:
            code, raw, head = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        code, raw, head = error.code, error.read(), error.headers
    except OSError:
        return None, False, None, "the connection is closed without an answer"
    size = head.get(SIZE_HEADER)
    value = json.loads(raw[:int(size)] if size else raw) if raw else None
    return code, bool(size), shape_of(value), value["error"] if isinstance(value, dict) and "error" in value else None


def start_triton(home, port, work, name="fashion", config=CONFIG):
    program = next(home.glob("lib/python*/site-packages/pytriton/tritonserver"))
    version = "{}.{}".format(*sys.version_info[:2])
    backend = work / "backends/python"
    shutil.copytree(program / "backends/python", backend)
    shutil.copytree(program / f"python_backend_stubs/{version}", backend, dirs_exist_ok=True)
    model = work / "models" / name
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(config)
    (model / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (model / "1/model.py").write_text(PYTHON_MODEL)
    site = next(home.glob("lib/python*/site-packages"))
    libraries = f"{site}/nvidia_pytriton.libs:{sysconfig.get_config_var('LIBDIR')}"  # the backend is linked with both
    env = {**os.environ, "PYTHONPATH": str(site), "PATH": f"{home}/bin:{os.environ['PATH']}", "LD_LIBRARY_PATH": libraries}
    return subprocess.Popen([program / "bin/tritonserver", f"--model-repository={work}/models", f"--backend-directory={work}/backends",
                             "--model-control-mode=explicit", f"--load-model={name}", f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false"],
                            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_resnetd(build, port, name="fashion", base=MODEL):
    return subprocess.Popen([build / "resnetd", f"--model_name={name}", f"--model_base_path={base}", f"--rest_api_port={port}", "--port=-1",
                             "--monitoring_port=0"], stderr=subprocess.DEVNULL)


def wait_for(url):
    for _ in range(1200):
        if ask(url, "GET", "/v2/health/ready", b"", {})[0] == 200:
            return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not get ready")


def reason_for(label, ours, theirs):
    if label in REASONS:
        return REASONS[label]
    if ours[0] == 400 and theirs[0] == 500:
        return CLIENT
    if ours[0] == theirs[0] and ours[3] and theirs[3]:
        return "same code, other words"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triton", type=pathlib.Path, required=True, help="virtual environment with nvidia-pytriton")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--port", type=int, default=18600)
    arguments = parser.parse_args()
    ours_url, theirs_url = f"http://127.0.0.1:{arguments.port}", f"http://127.0.0.1:{arguments.port + 1}"
    with tempfile.TemporaryDirectory() as work:
        servers = [start_resnetd(arguments.build.resolve(), arguments.port), start_triton(arguments.triton.resolve(), arguments.port + 1, pathlib.Path(work))]
        try:
            wait_for(ours_url)
            wait_for(theirs_url)
            rows, same, unexplained = [], 0, 0
            for label, *request in REQUESTS:
                ours, theirs = ask(ours_url, *request), ask(theirs_url, *request)
                if ours == theirs:
                    same += 1
                    continue
                reason = reason_for(label, ours, theirs)
                unexplained += reason is None
                rows.append((label, ours, theirs, reason or "**unexplained**"))
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(60)
    print(f"{len(REQUESTS)} requests, {same} answered alike to the letter (codes, framing, keys, types, texts of errors).\n")
    print("| request | resnetd | Triton | why |\n|---|---|---|---|")
    for label, ours, theirs, reason in rows:
        cells = [f"{code or ''} {text or ('binary' if is_binary else 'answers')}".strip().replace("|", "\\|") for code, is_binary, _, text in (ours, theirs)]
        print(f"| {label} | {cells[0][:300]} | {cells[1][:300]} | {reason} |")
    return unexplained > 0


if __name__ == "__main__":
    sys.exit(main())
