#!/usr/bin/env python3
"""Our speed beside other engines': the same SavedModel, batch and thread count, on this machine, in turns (A B A B ...).

    prepare SAVED_MODEL DIR --pixel_range 255     into the forms that the engines read; needs tensorflow, tf2onnx and, for int8, nncf
    measure DIR --batch 8 --minutes 3             adds pairs to DIR/pairs.jsonl: run it as often and as long as the machine is free
    report DIR OUT                                OUT.md, OUT.json, OUT.svg and OUT.png from all pairs there are

Every engine is a process that stays loaded and runs when it is its turn. Its answers are compared with ours before anything is timed. A pair is one
turn of ours and one of the peer's right after it; where somebody else used more than a twentieth of the machine meanwhile, it does not count. The
ratio of a pair is peer time / our time, so that 1.2 means that we are 1.2 times as fast; reported are medians over all pairs.

    pip install numpy onnx onnxruntime openvino nncf tensorflow-cpu tf2onnx torch matplotlib
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))
from idle import Watch  # noqa: E402

BUSY_LIMIT = 0.05
ROWS = 32
# What resnet-bench is told, and which file it opens.
OURS = {"resnetd-fp32": ("converted", ["--precision=fp32"]), "resnetd-bf16": ("converted", ["--precision=bf16"]),
        "resnetd-int8": ("converted-int8", [])}
PAIRS = ["resnetd-fp32:openvino-f32", "resnetd-bf16:openvino-bf16", "resnetd-int8:resnetd-bf16", "resnetd-int8:openvino-int8",
         "resnetd-fp32:onnxruntime", "resnetd-fp32:tensorflow", "resnetd-fp32:pytorch"]
# Largest difference to our fp32 answers that may be rounding, relative to the largest magnitude: f32 sums of a hundred layers in another order; 8 bits of
# mantissa, which networks with random weights magnify (OpenVINO's bf16 lies at 0.05 and 0.10 on those of make_models.py, its int8 at 0.3).
ALLOWED = {"bf16": 2e-1, "int8": 5e-1}
ALLOWED_FP32 = 1e-4


def pictures(count, side, seed):
    """[count][side][side][3] in [0, 1], from smooth to pure noise."""
    rng = np.random.default_rng(seed)
    coarse = np.repeat(np.repeat(rng.random((count, 14, 14, 3)), side // 14, 1), side // 14, 2)
    share = np.linspace(0, 1, count).reshape(count, 1, 1, 1)
    return (coarse * (1 - share) + rng.random((count, side, side, 3)) * share).astype(np.float32)


# ---- prepare ----

def quantize(folder, rows):
    """OpenVINO's own int8, by its quantiser NNCF. The pictures it calibrates with are others than those that are timed."""
    import nncf
    import openvino
    model = nncf.quantize(openvino.Core().read_model(folder / "model.onnx"), nncf.Dataset([row[None] for row in rows]), subset_size=len(rows))
    openvino.save_model(model, folder / "int8.xml", compress_to_fp16=False)


def convert(options, calibration):
    """Ours, in f32 and in int8. How often random weights agree with themselves says nothing, so that no agreement is asked for."""
    folder, converter = options.folder, options.build / "resnet-convert"
    subprocess.run([converter, options.saved_model, folder / "converted/1"], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        for i, row in enumerate(calibration):
            np.save(f"{scratch}/{i}.npy", row)
        subprocess.run([converter, options.saved_model, folder / "converted-int8/1", "--dtype=int8", f"--calibration={scratch}", "--min_agreement=0"],
                       check=True)


def prepare(options):
    folder = options.folder
    calibration = pictures(ROWS, 224, seed=3) * np.float32(options.pixel_range)
    (folder / "converted-int8/1").mkdir(parents=True, exist_ok=True)
    (folder / "converted/1").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model").unlink(missing_ok=True)
    (folder / "saved_model").symlink_to(options.saved_model.resolve())
    np.save(folder / "rows.npy", pictures(ROWS, 224, seed=2) * np.float32(options.pixel_range))
    convert(options, calibration)
    subprocess.run([sys.executable, "-m", "tf2onnx.convert", "--saved-model", options.saved_model, "--signature_def", "serving_default", "--tag", "serve",
                    "--opset", "17", "--output", folder / "model.onnx"], check=True)
    quantize(folder, calibration)


# ---- engines at work ----

class EngineFailed(Exception):
    """Not there, or it refuses: what it said is on standard error."""


class Engine:
    """A process that measures once for every line."""

    def __init__(self, command):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise EngineFailed(f"{' '.join(self.process.args)}: code {self.process.wait()}")
        return json.loads(line)

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Peer(Engine):
    def __init__(self, name, options):
        super().__init__([sys.executable, HERE / "peers/engines.py", name, options.folder, f"--batch={options.batch}", f"--threads={options.threads}",
                          f"--seconds={options.seconds}"])
        hello = self.read()
        self.version, self.answers = hello["version"], np.array(hello["answers"], np.float32)


class Ours(Engine):
    def __init__(self, name, options):
        path, flags = OURS[name]
        with tempfile.TemporaryDirectory() as scratch:
            rows, answers = pathlib.Path(scratch, "rows"), pathlib.Path(scratch, "answers")
            np.load(options.folder / "rows.npy")[:options.batch].tofile(rows)
            super().__init__([options.build / "resnet-bench", "model", options.folder / path / "1", "--paced", "--json", f"--batch={options.batch}",
                              f"--threads={options.threads}", f"--seconds={options.seconds}", f"--input={rows}", f"--output={answers}", *flags])
            first = self.turn()
            self.answers = np.fromfile(answers, np.float32).reshape(options.batch, -1)
        self.version = f"{first['backend']}, commit {first['commit']}"
        self.facts = {"processor": first["processor"], "model": first["model"]}


def check(name, engine, reference):
    """The share of the largest magnitude by which an engine's answers differ from our fp32's."""
    difference = float(np.abs(engine.answers - reference).max() / np.abs(reference).max())
    if not difference <= ALLOWED.get(name.rpartition("-")[2], ALLOWED_FP32):
        raise EngineFailed(f"{name} ({engine.version}) differs from our fp32 by {difference:.1e} of the largest magnitude")
    return difference


def measure(options):
    pairs = [tuple(pair.split(":")) for pair in options.pairs.split(",")]
    deadline = time.monotonic() + 60 * options.minutes
    reference = Ours("resnetd-fp32", options)
    engines, differences = {"resnetd-fp32": reference}, {"resnetd-fp32": 0.0}
    for name in sorted({name for pair in pairs for name in pair} - {"resnetd-fp32"}):
        try:
            engine = (Ours if name in OURS else Peer)(name, options)
            differences[name] = check(name, engine, reference.answers)
            engines[name] = engine
        except EngineFailed as failure:
            print(f"{name} takes no part: {failure}", flush=True)
    pairs = [pair for pair in pairs if all(name in engines for name in pair)]
    watch = Watch([engine.process.pid for engine in engines.values()])
    kept, dropped = 0, 0
    with open(options.folder / "pairs.jsonl", "a") as out:
        while pairs and time.monotonic() < deadline:
            for pair in pairs:
                watch.start()
                milliseconds = [engines[name].turn()["median_ms"] for name in pair]
                busy = watch.share()
                kept, dropped = kept + (busy <= BUSY_LIMIT), dropped + (busy > BUSY_LIMIT)
                print(f"{pair[0]} {milliseconds[0]:8.2f} ms  {pair[1]} {milliseconds[1]:8.2f} ms  ratio {milliseconds[1] / milliseconds[0]:.3f}"
                      f"  others {100 * busy:.1f} %{'  dropped' if busy > BUSY_LIMIT else ''}", flush=True)
                if busy <= BUSY_LIMIT:
                    record = {"engines": pair, "ms": milliseconds, "versions": [engines[name].version for name in pair],
                              "differences": [differences[name] for name in pair], "batch": options.batch, "threads": options.threads, **reference.facts}
                    out.write(json.dumps(record) + "\n")
                    out.flush()
                if time.monotonic() > deadline:
                    break
    for engine in engines.values():
        engine.stop()
    print(f"batch {options.batch}: {kept} pairs kept, {dropped} dropped because somebody else was at work")


def report(options):
    import peer_report
    peer_report.write(options.folder / "pairs.jsonl", options.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare")
    command.add_argument("saved_model", type=pathlib.Path)
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--pixel_range", type=float, default=1, help="the model takes numbers from 0 to this")
    command.set_defaults(run=prepare)
    command = commands.add_parser("measure")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--batch", type=int, default=1, choices=range(1, ROWS + 1), metavar=f"1..{ROWS}")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--seconds", type=float, default=1, help="of a turn; three runs at least")
    command.add_argument("--minutes", type=float, default=3)
    command.add_argument("--pairs", default=",".join(PAIRS), help=f"default: {','.join(PAIRS)}")
    command.set_defaults(run=measure)
    command = commands.add_parser("report")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("out", type=pathlib.Path)
    command.set_defaults(run=report)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
