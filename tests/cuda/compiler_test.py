"""What the CUDA compiler makes of every kernel: no spills on any architecture, and in the machine code the wide accesses and instructions that the sources
promise. sm_90a is always compiled; the other architectures are the slow part. Needs nvcc, and no GPU.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = sorted(path.name for path in (ROOT / "kernels/cuda").glob("*.cu"))
ARCHITECTURES = ["90a"] + [pytest.param(sm, marks=pytest.mark.slow) for sm in ("80", "86", "89", "100", "120")]
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")

# nvdisasm is not part of every toolkit; tests/requirements.txt brings one.
DISASSEMBLERS = [shutil.which("nvdisasm"), *map(str, pathlib.Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/nvdisasm"))]
NVDISASM = next((path for path in DISASSEMBLERS if path and os.access(path, os.X_OK)), None)

LOAD, STORE = r"LDG\.E\.128", r"STG\.E\.128"
# File -> instructions that its machine code must hold, on every architecture.
PROMISED = {
    "add.cu": (LOAD, STORE),
    "class_map.cu": (LOAD,),
    "expand_dual.cu": (LOAD, STORE, r"LDGSTS\.E\.BYPASS\.128", r"LDSM\.16\.M88\.4", r"HMMA\.16816\.F32 ", r"HMMA\.16816\.F32\.BF16"),
    "global_average_pool.cu": (LOAD, STORE),
    "image_fit.cu": (STORE,),
    "max_pool.cu": (LOAD, STORE),
    "pack.cu": (STORE,),
    "scale_shift.cu": (LOAD, STORE),
}
FORBIDDEN = {"image_fit.cu": ("FFMA",)}  # a fused product lands on the other side of TensorFlow's truncation


def usage(report):
    """Kernel -> registers, bytes of stack, bytes of spills, from `ptxas -v`."""
    kernels = {}
    for block in report.split("Compiling entry function '")[1:]:
        name = block.split("'", 1)[0]
        stack, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", block).groups())
        kernels[name] = int(re.search(r"Used (\d+) registers", block).group(1)), stack, stores + loads
    return kernels


@pytest.mark.parametrize("sm", ARCHITECTURES)
@pytest.mark.parametrize("file", KERNELS)
def test_kernel(file, sm, tmp_path):
    cubin = tmp_path / "x.cubin"
    done = subprocess.run([NVCC, "-std=c++17", "-O3", f"-I{ROOT}", f"-arch=sm_{sm}", "-Xptxas", "-v", "-cubin", "-o", cubin, ROOT / "kernels/cuda" / file],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = usage(done.stderr)
    assert kernels, done.stderr
    registers = [used for used, _, _ in kernels.values()]
    print(f"{file} sm_{sm}: {len(kernels)} kernels, {min(registers)} to {max(registers)} registers")
    wrong = [f"{name}: {stack} bytes of stack, {spills} of spills" for name, (_, stack, spills) in kernels.items() if stack or spills]
    assert not wrong, "\n".join(wrong)
    if file not in PROMISED:
        return
    if NVDISASM is None:
        pytest.skip("no nvdisasm: the machine code is not looked at")
    code = subprocess.run([NVDISASM, "-c", cubin], capture_output=True, text=True, check=True).stdout
    missing = [pattern for pattern in PROMISED[file] if not re.search(pattern, code)]
    assert not missing, f"no {missing}; there are {sorted(set(re.findall(r'(?:LDG|STG|LDS|LDSM|HMMA)[A-Z0-9.]*', code)))}"
    assert not [word for word in FORBIDDEN.get(file, ()) if word in code]
