#!/usr/bin/env python3
"""Requests a second of resnetd and of a real Triton: a health endpoint and a model so small that what is measured is the server. Prints Markdown.

    python -m venv triton && triton/bin/pip install nvidia-pytriton    holds the program tritonserver, about 370 MB: not for CI
    apt-get install wrk nghttp2-client
    python tools/oracle/compare_triton_load.py --triton triton --build build

Both servers run all the time and are loaded in turns, A B A B, by one thread of wrk or h2load on the same machine. The processor time that a server's
processes have used for a request is measured too: where the load generator is the narrow place, it tells more than the rate.
"""
import argparse
import hashlib
import json
import os
import pathlib
import platform
import re
import statistics
import struct
import subprocess
import tempfile

from compare_triton import ROOT, start_resnetd, start_triton, wait_for

SIDE, CLASSES = 4, 10
TRITON_CONFIG = """name: "tiny" backend: "python" max_batch_size: 16
input [ { name: "inputs" data_type: TYPE_FP32 dims: [ 4, 4, 3 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "labels.txt" } ]
"""
BODY = json.dumps({"inputs": [{"name": "inputs", "shape": [1, SIDE, SIDE, 3], "datatype": "FP32", "data": [0.5] * (SIDE * SIDE * 3)}]})
SCRIPT = f"""wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{BODY}]==]
"""
PIPELINED = 8  # requests sent at once on a connection, so that one thread of the load generator can ask for more than it could one by one


def write_model(path):
    """The mean over the pixels and a dense layer, as a converted model file."""
    dense, bias = ([0.1 * (i % 7) - 0.3 for i in range(3 * CLASSES)], [0.1 * i for i in range(CLASSES)])
    first = struct.pack(f"<{len(dense)}f", *dense)
    padding = -len(first) % 64
    data = first + bytes(padding) + struct.pack(f"<{len(bias)}f", *bias)
    tensor = {"tf_name": "x:0", "dtype": "F32", "labels": False}
    plan = {"architecture": "tiny",
            "tensors": [{"name": "x", "dtype": "F32", "shape": [SIDE, SIDE, 3]}, {"name": "mean", "dtype": "F32", "shape": [1, 1, 3]},
                        {"name": "logits", "dtype": "F32", "shape": [1, 1, CLASSES]}],
            "ops": [{"kind": "global_average_pool", "name": "mean", "inputs": [0, None], "outputs": [1, None]},
                    {"kind": "dense", "name": "logits", "inputs": [1, None], "outputs": [2, None], "weights": 0, "bias": 1, "relu": False}],
            "signatures": [{"name": "serving_default", "method_name": "tensorflow/serving/predict",
                            "input": {"name": "inputs", "dims": [-1, SIDE, SIDE, 3], "tensor": 0, **tensor},
                            "outputs": [{"name": "logits", "dims": [-1, CLASSES], "tensor": 2, **tensor}]}]}
    metadata = {"format": "resnetd", "format_version": "1", "converter": "compare_triton_load", "source": "made up", "labels": "[]",
                "sha256": hashlib.sha256(data).hexdigest(), "plan": json.dumps(plan), "weights": json.dumps(["dense", "bias"])}
    header = {"__metadata__": metadata, "dense": {"dtype": "F32", "shape": [3, CLASSES], "data_offsets": [0, len(first)]},
              "__padding__": {"dtype": "U8", "shape": [padding], "data_offsets": [len(first), len(first) + padding]},
              "bias": {"dtype": "F32", "shape": [CLASSES], "data_offsets": [len(first) + padding, len(data)]}}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def processes(pid):
    """The process and all that it has started."""
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid):
    ticks = 0
    for process in processes(pid):
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wrk(url, connections, seconds, script=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *(["-s", script] if script else []), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{text}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])


def h2load(url, connections, seconds, body=None, pipelined=1):
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-m{pipelined}", f"-D{seconds}", *(["-d", body] if body else []), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if not re.search(r" 0 failed, 0 errored, 0 timeout", text) or not re.search(r" 0 3xx, 0 4xx, 0 5xx", text):
        raise SystemExit(f"{' '.join(map(str, command))}:\n{text}")
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triton", type=pathlib.Path, required=True, help="virtual environment with nvidia-pytriton")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--port", type=int, default=18600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    arguments = parser.parse_args()
    ports = {"resnetd": arguments.port, "Triton": arguments.port + 1}
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        write_model(work / "tiny/1/model.safetensors")
        (work / "post.lua").write_text(SCRIPT)
        (work / "body.json").write_text(BODY)
        servers = {"resnetd": start_resnetd(arguments.build.resolve(), ports["resnetd"], "tiny", work / "tiny"),
                   "Triton": start_triton(arguments.triton.resolve(), ports["Triton"], work / "triton", "tiny", TRITON_CONFIG)}
        cases = {}
        for connections in (16, 64):
            cases[f"health, wrk -t1 -c{connections}"] = lambda url, c=connections: wrk(f"{url}/v2/health/ready", c, arguments.seconds)
            cases[f"tiny model, wrk -t1 -c{connections}"] = \
                lambda url, c=connections: wrk(f"{url}/v2/models/tiny/infer", c, arguments.seconds, work / "post.lua")
        cases["health, h2load --h1 -t1 -c16"] = lambda url: h2load(f"{url}/v2/health/ready", 16, arguments.seconds)
        cases["tiny model, h2load --h1 -t1 -c16"] = lambda url: h2load(f"{url}/v2/models/tiny/infer", 16, arguments.seconds, work / "body.json")
        cases[f"health, h2load --h1 -t1 -c16 -m{PIPELINED}"] = lambda url: h2load(f"{url}/v2/health/ready", 16, arguments.seconds, pipelined=PIPELINED)
        rates = {case: {name: [] for name in servers} for case in cases}
        costs = {case: {name: [] for name in servers} for case in cases}
        try:
            for port in ports.values():
                wait_for(f"http://127.0.0.1:{port}")
            for _ in range(arguments.rounds):
                for case, load in cases.items():
                    for name, server in servers.items():
                        before = cpu_seconds(server.pid)
                        rate = load(f"http://127.0.0.1:{ports[name]}")
                        rates[case][name].append(rate)
                        costs[case][name].append((cpu_seconds(server.pid) - before) / (rate * arguments.seconds))
        finally:
            for server in servers.values():
                server.terminate()
            for server in servers.values():
                server.wait(60)
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores; medians of {arguments.rounds} turns of {arguments.seconds} s\n")
    print("| requests a second | resnetd | Triton | ratio | processor time a request: resnetd | Triton | ratio |\n|---|--:|--:|--:|--:|--:|--:|")
    for case in cases:
        ours, theirs = (statistics.median(rates[case][name]) for name in servers)
        our_us, their_us = (1e6 * statistics.median(costs[case][name]) for name in servers)
        print(f"| {case} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} | {our_us:.1f} us | {their_us:.1f} us | {their_us / our_us:.2f} |")


if __name__ == "__main__":
    main()
