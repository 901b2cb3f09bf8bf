"""Holds the loader against every way of writing a ResNet, and writes the table of it.

usage: check_variants.py [NAME...] [--build=build] [--models=build/variants] [--table=docs/variants.md] [--keep] [--list]

Makes the variants (all, or those named) in this one process, runs each with TensorFlow and with the plan that the loader makes of it (build/tests/tools/
model_run, on the SavedModel and on the file that resnet-convert makes of it), and compares every output of every signature with numeric inputs. The graphs
that have no plan have to be refused by name. Exit status: 0 when all of it holds.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without it, the default on processors with AVX2 alone, TensorFlow has no NCHW on a CPU
import keras
import numpy as np
import tensorflow as tf
import tf_keras

from variants import registry
from variants import keras_family, tensorflow_family, unsupported_graphs  # noqa: F401: they fill the registry

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of the largest magnitude. float32: sums of many layers in another order. TensorFlow computes the others in 16 bits and we in 32: its own rounding, 2^-11 or
# 2^-8 at each of some tens of layers, is what is measured, and softmax outputs show it as absolute errors of that size.
ALLOWED = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
ROWS = 3


class Failed(Exception):
    pass


def program(build, *command):
    done = subprocess.run([build / command[0], *command[1:]], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def make(entry, models):
    out = models / entry.name / "1"
    if not (out / "saved_model.pb").exists():
        shutil.rmtree(out, ignore_errors=True)
        keras.utils.set_random_seed(101)
        tf_keras.utils.set_random_seed(101)
        entry.make(str(out), np.random.default_rng(101))
        keras.backend.clear_session()
        tf_keras.backend.clear_session()
    return out


def rows_for(spec, pixels):
    rng = np.random.default_rng(5)
    shape = [dim or 64 for dim in spec.shape.as_list()[1:]]
    rows = registry.pictures(shape, rng, pixels)[:ROWS]
    return rows.astype(np.uint8) if spec.dtype == tf.uint8 else rows


def difference(got, wanted):
    """Largest difference, as a share of the largest magnitude. Probabilities are compared as logits too, up to softmax's free constant."""
    worst = np.abs(got - wanted).max() / np.abs(wanted).max()
    if wanted.ndim == 2 and np.allclose(wanted.sum(-1), 1, atol=1e-3) and (wanted > 1e-6).all():
        centred = [np.log(p) - np.log(p).mean(-1, keepdims=True) for p in (got, wanted)]
        worst = max(worst, np.abs(centred[0] - centred[1]).max() / np.abs(centred[1]).max())
    return float(worst)


def compare_signature(build, path, name, signature, entry, labels):
    """The worst difference over its outputs; raises Failed where labels or classes differ."""
    (key, spec), = signature.structured_input_signature[1].items()
    if spec.dtype == tf.string:
        return 0.0
    rows = rows_for(spec, entry.pixels)
    wanted = {k: v.numpy() for k, v in signature(**{key: tf.constant(rows, spec.dtype)}).items()}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "input")
        source.write_bytes((rows if spec.dtype == tf.uint8 else rows.astype(np.float32)).tobytes())
        code, _, errors = program(build, "tests/tools/model_run", path, name, source, pathlib.Path(folder, "out"))
        if code:
            raise Failed(errors.strip())
        for output, value in wanted.items():
            raw = pathlib.Path(folder, f"out.{output}").read_bytes()
            if value.dtype == object:
                got = [labels[i].encode() for i in np.frombuffer(raw, np.int32)]
                if got != list(value.reshape(-1)):
                    raise Failed(f"{output}: labels differ")
            elif np.issubdtype(value.dtype, np.integer):
                if not (np.frombuffer(raw, np.int32).reshape(value.shape) == value).all():
                    raise Failed(f"{output}: classes differ")
            else:
                value = value.astype(np.float32)
                if len(np.unique(np.round(value, 5), axis=0)) < 2:
                    raise Failed(f"{output}: TensorFlow says the same about every picture, which proves nothing")
                worst = max(worst, difference(np.frombuffer(raw, np.float32).reshape(value.shape), value))
    return worst


def check_variant(build, entry, models):
    """(architecture, worst difference, signatures); raises Failed."""
    path = make(entry, models)
    converted = path.parent / "converted.safetensors"
    code, words, errors = program(build, "resnet-convert", path, converted, "--quiet")
    if code:
        raise Failed(errors.strip())
    loaded = tf.saved_model.load(str(path))
    worst, names = 0.0, []
    for name, signature in sorted(loaded.signatures.items()):
        if not name.startswith("__"):
            names.append(name)
            for source in (path, converted):
                worst = max(worst, compare_signature(build, source, name, signature, entry, tensorflow_family.LABELS))
    if worst > ALLOWED[entry.compute]:
        raise Failed(f"{worst:.1e} of the largest magnitude, allowed {ALLOWED[entry.compute]:.0e}")
    return words.split(": ", 1)[1].split(", ")[0], worst, names


def check_unsupported(build, entry, models):
    """The message; raises Failed when it is served after all, crashes or says too little."""
    path = make(entry, models)
    code, words, errors = program(build, "resnet-convert", path, path.parent / "converted.safetensors", "--quiet")
    message = errors.strip().removeprefix("resnet-convert: ").removeprefix(f"{path}: ")
    if code != 65:
        raise Failed(f"exit status {code}: {words}{errors}")
    missing = [text for text in ("signature ", "the network up to it", *entry.names) if text not in message]
    if missing:
        raise Failed(f"{missing} not in: {message}")
    return message


HEAD = """# What is loaded, and what is refused

Thin networks, each written by TensorFlow 2.21.0, Keras 3 or Keras 2 (tf_keras) in another way (`tools/oracle/variants/`): converted, and run on the CPU backend
from the SavedModel and from the converted file. "Worst" is the largest difference from TensorFlow's own answer over all outputs of all signatures and {rows}
pictures, as a share of the largest magnitude; probabilities are compared as logits too. Classes and labels have to be equal.

Made by `build/venv/bin/python tools/oracle/check_variants.py --table=docs/variants.md`.
"""


def escape(text):
    return text.replace("|", "\\|")


def write_table(path, results, refusals):
    lines = [HEAD.format(rows=ROWS), "| variant | architecture | signatures | computed by TensorFlow in | allowed | worst |", "|---|---|---|---|---|---|"]
    for entry, (architecture, worst, names) in results:
        lines.append(f"| {escape(entry.words)} | {architecture} | {len(names)} | {entry.compute} | {ALLOWED[entry.compute]:.0e} | {worst:.1e} |")
    lines += ["", "The 16-bit ones are computed in 32 bits here: what differs is TensorFlow's own rounding.", "", "## Refused", "",
              "Graphs that are no ResNet, or one that no plan can express. The converter ends with status 65, the server does not load the version.", "",
              "| graph | message |", "|---|---|"]
    lines += [f"| {escape(entry.words)} | {escape(message)} |" for entry, message in refusals]
    path.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    every = [*registry.VARIANTS, *registry.UNSUPPORTED]
    if args.list:
        print(*(entry.name for entry in every), sep="\n")
        return 0
    unknown = set(args.names) - {entry.name for entry in every}
    if unknown:
        parser.error(f"no variant {', '.join(sorted(unknown))}")
    models = args.models or args.build / "variants"
    results, refusals, failed = [], [], 0
    for entry in every:
        if args.names and entry.name not in args.names:
            continue
        check, done = (check_variant, results) if isinstance(entry, registry.Variant) else (check_unsupported, refusals)
        try:
            outcome = check(args.build, entry, models)
        except Exception as problem:  # noqa: BLE001: a writer that fails is a failure among others
            failed += 1
            print(f"FAILED {entry.name}: {type(problem).__name__}: {problem}", flush=True)
            continue
        done.append((entry, outcome))
        print(f"ok {entry.name}: {outcome}", flush=True)
    print(f"{len(results)} variants and {len(refusals)} refusals hold, {failed} failed")
    if args.table and not args.names and not failed:
        write_table(args.table, results, refusals)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
