"""tools/gpu-check.sh where there is no GPU, and its report on made-up numbers, which say so in every place."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(engine, network, precision, batch, milliseconds, **more):
    return json.dumps({"engine": engine, "network": network, "precision": precision, "batch": batch,
                       "median_ms": milliseconds, "p99_ms": 2 * milliseconds, **more})


@pytest.fixture
def report(tmp_path):
    def make(lines):
        measurements, svg = tmp_path / "made-up.json", tmp_path / "made-up.svg"
        measurements.write_text("\n".join(lines) + "\n")
        done = subprocess.run([sys.executable, ROOT / "tools/gpu/report.py", measurements, svg, "--made-up"], capture_output=True, text=True, check=True)
        return done.stdout, svg.read_text()

    return make


def test_report(report):
    lines = []
    for batch, ours, theirs in ((1, 0.5, 1.0), (128, 5.12, 7.68), (256, 10.24, 12.8)):
        for off in (0.01, 0.0, 0.02):  # three rounds: the middle one counts
            lines.append(run("resnetd", "v1", "fp16", batch, ours + off, pipelined_rows_per_s=1000 * batch / ours * 1.1))
            lines.append(run("torch.compile", "v1", "fp16", batch, theirs + off))
        lines.append(run("torch.eager", "v1", "fp16", batch, 3 * theirs))
        lines.append(run("resnetd", "v2", "fp16", batch, 2 * ours, pipelined_rows_per_s=1000 * batch / ours / 2))
    text, svg = report(lines)
    assert "**These numbers are made up" in text and "MADE-UP NUMBERS" in svg
    assert "| 128 | 24951 (5.13, 10.26) | 16645 (7.69, 15.38) | 5556 (23.04, 46.08) | 27500 |" in text
    targets = {cells[1].strip(): cells[2:5] for cells in (line.split("|") for line in text.splitlines()) if len(cells) == 6}
    assert [cell.strip() for cell in targets["V1 fp16, batch 128 or 256, against torch.compile"]] == ["1.3", "1.499", "met"]
    assert [cell.strip() for cell in targets["V1 fp16, batch 1, one over milliseconds on an H100"]] == ["1.538", "1.961", "met"]
    assert [cell.strip() for cell in targets["V2 fp16, batch 128 or 256, rows a second on an H100"]] == ["1.4e+04", "1.25e+04", "**missed**"]
    lines_drawn = xml.etree.ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines_drawn) == 3 and all(len(line.get("points").split()) == 3 for line in lines_drawn)


def test_report_without_pytorch(report):
    text, svg = report([run("resnetd", "v1", "bf16", 1, 0.5, pipelined_rows_per_s=2100)])
    assert "### V1 bf16" in text and "| 1 | 2000 (0.50, 1.00) | 2100 |" in text
    assert text.count("not measured") == 4
    xml.etree.ElementTree.fromstring(svg)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has NVIDIA's driver")
def test_a_machine_without_a_gpu(tmp_path):
    done = subprocess.run(["sh", ROOT / "tools/gpu-check.sh"], capture_output=True, text=True, env={**os.environ, "B": str(tmp_path)})
    assert done.returncode == 2
    assert "gpu-check: missing: nvidia-smi, which comes with NVIDIA's driver" in done.stderr
    assert not list(tmp_path.iterdir())


def test_everything_that_is_missing_is_named(tmp_path):
    for tool in ("sh", "dirname", "make", "sed", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    env = {"PATH": str(tmp_path), "CUDA_HOME": "/nowhere", "CUDNN_HOME": "/nowhere"}
    done = subprocess.run(["sh", ROOT / "tools/gpu-check.sh"], capture_output=True, text=True, env=env)
    assert done.returncode == 2
    for what in ("nvidia-smi", "python3", "a C compiler", "CUDA toolkit (CUDA_HOME=/nowhere)", "cuDNN (CUDNN_HOME=/nowhere)", "nvcc"):
        assert f"missing: {what}" in done.stderr or what in done.stderr, done.stderr


def test_the_check_itself(build_dir):
    """Over the emulation: every line of the report is there and right, and a device that is lost is no success."""
    program = build_dir / "tests/emulated/gpu-check"
    if not program.exists():
        pytest.skip("no CUDA headers on this machine, or a build with ThreadSanitizer: the emulation is not built")
    done = subprocess.run([program, "verify", "--small"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert {line[-1] for line in lines} == {"ok"} and all(float(error) <= float(allowed) for _, _, error, allowed, *_ in lines)
    assert {(line[0], line[1]) for line in lines} > {(f"V{v}", p) for v in (1, 2) for p in ("fp32", "tf32", "fp16", "bf16")}
    assert ["pictures resized on the GPU", "fp16", "0.0e+00", "0.0e+00", "", "ok"] in lines
    done = subprocess.run([program, "verify", "--small"], capture_output=True, text=True, env={"RN_EMULATION_DEVICES": "0"})
    assert (done.returncode, done.stderr) == (1, "gpu-check: no NVIDIA GPU is visible to this process\n")
