"""resnet-bench: arguments, and that each subcommand measures what it says on small work. No time is judged."""
import json
import pathlib
import re
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "tests/data/fashion_resnet101"
MODEL = BASE / "1"
QUICK = "--seconds=0.01"


@pytest.fixture(scope="module")
def bench(build_dir):
    """bench(*arguments, code=0, stdin="") -> (stdout, stderr) of a run that ends with that code."""

    def run(*arguments, code=0, stdin=""):
        done = subprocess.run([build_dir / "resnet-bench", *map(str, arguments)], input=stdin, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def records(bench):
    """records(*arguments) -> what a run prints with --json."""
    return lambda *arguments, **kwargs: [json.loads(line) for line in bench(arguments[0], "--json", QUICK, *arguments[1:], **kwargs)[0].splitlines()]


@pytest.mark.parametrize("arguments, message", [
    ([], "a subcommand is missing"),
    (["race"], 'there is no subcommand "race"'),
    (["model"], "model: expected either a path or --synthetic"),
    (["model", MODEL, "--synthetic=resnet101_v1"], "model: expected either a path or --synthetic"),
    (["model", MODEL, MODEL], "unexpected argument"),
    (["model", "--nonsense"], "--nonsense: unknown option"),
    (["model", MODEL, "--json=yes"], "--json=yes: unknown option, or a value where none is taken"),
    (["model", MODEL, "--batch"], "--batch: expected a value"),
    (["model", MODEL, "--batch=1,two"], '--batch: expected a whole number from 1, found "two"'),
    (["model", MODEL, "--batch=1;2"], '--batch: expected numbers with commas between them, found "1;2"'),
    (["model", MODEL, "--batch=" + ",".join(["1"] * 17)], "--batch: more than 16 numbers"),
    (["model", MODEL, "--batch=99999999999"], "--batch: expected a whole number from 1"),
    (["model", MODEL, "--threads=-1"], '--threads: expected a whole number from 0, found "-1"'),
    (["model", MODEL, "--threads=2x"], '--threads: expected a number, found "2x"'),
    (["model", MODEL, "--seconds=0"], '--seconds: expected a number above 0, found "0"'),
    (["model", MODEL, "--isa=mmx"], '--isa: expected one of scalar avx2'),
    (["tune", MODEL], "tune: --cache is missing"),
    (["tune", MODEL, "--cache=.", "--synthetic=resnet101_v1"], "tune: expected either a path or --synthetic"),
    (["tune", MODEL, "--cache=."], "tune: the cpu device has nothing to measure ahead"),
    (["input", "--batch=1"], "--batch: has no meaning for input"),
    (["serve"], 'serve: expected http://HOST:PORT, found ""'),
    (["serve", "127.0.0.1:80"], 'serve: expected http://HOST:PORT, found "127.0.0.1:80"'),
    (["serve", "http://127.0.0.1:8x"], "serve: expected http://HOST:PORT"),
])
def test_bad_arguments_are_named(bench, arguments, message):
    assert message in bench(*arguments, code=2)[1]


def test_help(bench):
    text = bench("--help")[0]
    for word in ("resnet-bench model", "resnet-bench kernels", "resnet-bench input", "resnet-bench serve", "--synthetic", "--connections"):
        assert word in text
    assert max(map(len, text.splitlines())) < 160


def test_model(records):
    for found in (records("model", "--device=cpu", MODEL, "--batch=1,2,4"), records("model", MODEL, "--batch=1,2,4", "--isa=scalar", "--threads=1")):
        assert [r["batch"] for r in found] == [1, 2, 4]
        for r in found:
            assert r["best_ms"] <= r["median_ms"] <= r["p90_ms"] <= r["p99_ms"] and r["runs"] >= 3
            assert r["rows_per_s"] == pytest.approx(1000 * r["batch"] / r["median_ms"], rel=1e-3)
    assert "openblas" in found[0]["backend"] and "1 thread," in found[0]["backend"]


def test_profile_covers_the_run(records):
    run, *layers = records("model", MODEL, "--profile")
    assert {r["measures"] for r in layers} == {"layer"} and sum(r["share"] for r in layers) == pytest.approx(1, abs=1e-4)
    assert sum(r["layers"] for r in layers) > 100 and any("conv2d 3x3" in r["operation"] for r in layers)
    assert len({r["operation"] for r in layers}) == len(layers)


def test_paced_runs_answer_each_line(records):
    assert len(records("model", MODEL, "--paced", stdin="\n\n\n")) == 3
    assert records("model", MODEL, "--paced") == []


def test_rows_of_ones_own(bench, tmp_path):
    """The same picture twice gives the same answer twice; another one does not."""
    rows = np.random.default_rng(1).random((3, 64, 64, 3)).astype(np.float32)
    rows[1] = rows[0]
    rows.tofile(tmp_path / "in")
    bench("model", MODEL, "--batch=3", QUICK, f"--input={tmp_path}/in", f"--output={tmp_path}/out")
    first, second, third = np.fromfile(tmp_path / "out", np.float32).reshape(3, 10)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)
    assert np.abs(first - third).max() > 1e-2
    for batch in (2, 4):
        assert "--input: expected a file of" in bench("model", MODEL, f"--batch={batch}", QUICK, f"--input={tmp_path}/in", code=1)[1]


def test_what_cannot_be_measured(bench, tmp_path):
    assert "nowhere" in bench("model", tmp_path / "nowhere", code=1)[1]
    assert "resnet9_v7" in bench("model", "--synthetic=resnet9_v7", code=1)[1]
    assert "cannot read" in bench("kernels", f"--shapes={tmp_path}/none", code=1)[1]
    assert "cannot read" in bench("input", f"--picture={tmp_path}/none", code=1)[1]
    (tmp_path / "text").write_text("no picture")
    assert "INVALID_ARGUMENT" in bench("input", f"--picture={tmp_path}/text", code=1)[1] or "Unknown image" in bench(
        "input", f"--picture={tmp_path}/text", code=1)[1]


SHAPES = """
scale_shift_u8          8   8    3    3  0  0      0   0    0      0     0      1  b       1   0
conv2d                  8   8   16   32  3  3      1   1    1      1     1      1  bar     1   1
conv2d                  8   8  256  256  3  3      1   1    1      1     1      1  br      1   1
conv2d                  8   8   16   32  3  3      2   0    0      1     1      1  by      1   1
max_pool                8   8   16   16  3  3      2   0    0      1     1      1  -       1   1
add                     8   8   16   16  0  0      0   0    0      0     0      1  r       1   1
scale_shift             8   8   16   16  0  0      0   0    0      0     0      1  br      0   1
quantize                8   8    3    4  0  0      0   0    0      0     0      1  -       0   0
class_map               8   8   16   10  0  0      0   0    0      0     0      1  -       1   1
global_average_pool     8   8   16   16  0  0      0   0    0      0     0      1  -       1   1
dense                   1   1   16   10  0  0      0   0    0      0     0      1  b       1   1
softmax                 1   1   10   10  0  0      0   0    0      0     0      1  -       1   1
top_k                   1   1   10    5  0  0      0   0    0      0     0      1  -       1   1
"""


LISTED = re.findall(r"^RN_CPU_KERNEL\((\w+), +(\w+), +(\w+), +(\w+),", (ROOT / "kernels/cpu/cpu_kernels.def").read_text(), re.M)
ISAS = list(dict.fromkeys(isa.lower() for *_, isa in LISTED))


def kernels_up_to(best):
    """(symbol, type) of every kernel of the list that an instruction set runs and that does a layer's work by itself. The others are the references of
    matrix products, and Winograd's transforms of floats: convolutions take these along."""
    types = {"F32": "float", "BF16": "bfloat16", "U8": "uint8"}
    return {(symbol, types[dtype]) for slot, dtype, symbol, isa in LISTED
            if ISAS.index(isa.lower()) <= ISAS.index(best) and slot not in ("conv2d", "dense", "winograd_output")
            and (slot != "winograd_input" or dtype == "U8")}


def test_kernels(records, bench, tmp_path):
    (tmp_path / "shapes").write_text(SHAPES)
    scalar = records("kernels", f"--shapes={tmp_path}/shapes", "--batch=1,5", "--isa=scalar")
    assert {r["isa"] for r in scalar} == {"scalar"}
    assert {(r["kernel"], r["dtype"]) for r in scalar} == kernels_up_to("scalar") | {("OpenBLAS", "float")}
    found = records("kernels", f"--shapes={tmp_path}/shapes", "--batch=1,5")
    best = re.search(r"cpu (\w+) fp32", bench("model", MODEL, QUICK)[0])[1]
    if best == "avx512":  # what the lines of floats say; bytes and bf16 may have more
        best = max((r["isa"] for r in found), key=ISAS.index)
    assert {(r["kernel"], r["dtype"]) for r in found} == kernels_up_to(best) | {("OpenBLAS", "float")}
    for r in found:
        rounds, exact = "bf16" in r["kernel"] or "chained" in r["kernel"], "_u8" in r["kernel"] or "quantize" in r["kernel"]
        assert r["error"] <= (2e-2 if rounds else 0 if exact else 1e-4) and r["median_us"] > 0 and r["gb_per_s"] > 0
        assert r["error"] > 1e-4 or not (rounds and r["operation"].startswith("conv2d"))  # it did run in bf16
        assert (r["gflops"] > 0) == r["operation"].startswith(("conv2d", "dense"))
    (tmp_path / "shapes").write_text(SHAPES + "conv2d 1 2 3\n")
    assert "is no shape" in bench("kernels", QUICK, f"--shapes={tmp_path}/shapes", code=1)[1]
    (tmp_path / "shapes").write_text(SHAPES.replace("softmax", "softmix"))
    assert "no kernel of the list does softmix" in bench("kernels", QUICK, f"--shapes={tmp_path}/shapes", code=1)[1]


@pytest.mark.speed
def test_all_passes_of_a_batch_are_timed(records, tmp_path):
    """The engine runs 64 rows in passes of 8. The time of one of them would be that of 8 rows."""
    (tmp_path / "shapes").write_text("conv2d  28 28 64 64 1 1 1 0 0 0 0 1 b 1 1\n")
    few, many = [r for r in records("kernels", f"--shapes={tmp_path}/shapes", "--batch=8,64", "--isa=scalar") if r["kernel"] == "OpenBLAS"]
    assert (few["batch"], many["batch"]) == (8, 64) and many["median_us"] > 3 * few["median_us"]


def test_input(records):
    for found in (records("input"), records("input", f"--picture={ROOT}/tests/data/pictures/bag.png")):
        assert [r["work"] for r in found] == ["decode picture", "crop and resize", "base64 decode", "base64 decode from memory", "base64 encode",
                                              "JSON numbers write", "JSON numbers %.17g", "JSON numbers %.9g", "JSON numbers %.8f",
                                              "JSON numbers %.6f", "JSON numbers %.4f"]
        assert all(r["gb_per_s"] > 0 for r in found)


def test_serve(records, bench, server, start_server):
    for extra in ([], ["--numbers"]):
        found = records("serve", server.url, "--model=fashion", "--connections=1,3", "--batch=1,2", "--seconds=0.5", *extra)
        assert [(r["batch"], r["connections"]) for r in found] == [(1, 1), (1, 3), (2, 1), (2, 3)]
        for r in found:
            assert r["answered"] > 0 and r["failed"] == r["refused"] == 0 and r["p50_ms"] <= r["p90_ms"] <= r["p99_ms"]
            assert r["rows_per_s"] == pytest.approx(r["batch"] * r["answered"] / 0.5, rel=1e-4)
    paced, = records("serve", server.url, "--model=fashion", "--connections=4", "--batch=1", "--rate=20", "--seconds=2")
    assert 0 < paced["answered"] <= 44 and paced["failed"] == 0
    assert "status 404" in bench("serve", server.url, code=1)[1]
    assert "status 400" in bench("serve", server.url, "--model=fashion", f"--picture={ROOT}/Makefile", code=1)[1]


def test_serve_counts_refusals(records, start_server):
    """Room for one row that waits: of sixteen connections most are told to come back later."""
    server = start_server(BASE, "--max_queue_rows=1", "--max_batch_size=1")
    found, = records("serve", server.url, "--model=fashion", "--connections=16", "--seconds=1")
    assert found["refused"] > 0 and found["answered"] > 0 and found["failed"] == 0


def test_serve_without_a_server(bench, free_port):
    assert "does not answer" in bench("serve", f"http://127.0.0.1:{free_port}", code=1)[1]


def test_tune(build_dir, tmp_path):
    """Emulated GPUs: the second of a kind finds everything known, and so does a server; what is no cache is one line and measured anew."""
    program = build_dir / "tests/emulated/resnet-bench"
    if not program.exists():
        pytest.skip("no CUDA headers on this machine, or a build with ThreadSanitizer: the emulation is not built")

    def tune(*arguments):
        done = subprocess.run([program, *arguments, f"--cache={tmp_path}"], capture_output=True, text=True, env={"RN_EMULATION_DEVICES": "2"})
        assert done.returncode == 0, done.stderr
        return re.findall(r"(cuda:\d) .* (\d+) convolutions of which (\d+) measured", done.stdout), done.stderr.splitlines()

    (first, second), log = tune("tune", MODEL, "--device=cuda:all", "--batch=1")
    assert (first[0], second[0]) == ("cuda:0", "cuda:1") and first[1] == first[2] != "0" and second[2] == "0" and log == []
    assert tune("model", MODEL, "--device=cuda:1", QUICK)[0][0][2] == "0"
    file, = tmp_path.iterdir()
    file.write_text("no cache")
    again, log = tune("tune", MODEL, "--device=cuda", "--batch=1")
    assert again[0][2] == first[2] and len(log) == 1 and str(file) in log[0]
