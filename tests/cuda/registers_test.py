"""What the CUDA compiler makes of every kernel: no spills on any architecture, and memory accesses of 16 bytes where the sources promise them.

sm_90a is always compiled; the other architectures are the slow part. Needs nvcc, and no GPU.
"""
import collections
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = sorted(path.name for path in (ROOT / "kernels/cuda").glob("*.cu"))
ARCHITECTURES = ["90a"] + [pytest.param(sm, marks=pytest.mark.slow) for sm in ("80", "86", "89", "100", "120")]
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")

# File -> accesses of 16 bytes that its PTX must hold.
WIDE = {
    "add.cu": ("ld.global.nc.v4", "st.global.v4"),
    "global_average_pool.cu": ("ld.global.nc.v4", "st.global.v4"),
    "image_fit.cu": ("st.global.v4",),
    "max_pool.cu": ("ld.global.nc.v4", "st.global.v4"),
    "pack.cu": ("st.global.v4",),
    "scale_shift.cu": ("ld.global.v4", "ld.global.nc.v4", "st.global.v4"),
}


def nvcc(*arguments):
    done = subprocess.run([NVCC, "-std=c++17", "-O3", f"-I{ROOT}", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def usage(report):
    """Kernel -> registers, bytes of stack, bytes of spills, from `ptxas -v`."""
    kernels = collections.OrderedDict()
    for block in report.split("Compiling entry function '")[1:]:
        name = block.split("'", 1)[0]
        stack, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", block).groups())
        kernels[name] = int(re.search(r"Used (\d+) registers", block).group(1)), stack, stores + loads
    return kernels


@pytest.mark.parametrize("sm", ARCHITECTURES)
@pytest.mark.parametrize("file", KERNELS)
def test_no_kernel_spills(file, sm, tmp_path):
    report = nvcc(f"-arch=sm_{sm}", "-Xptxas", "-v", "-cubin", "-o", str(tmp_path / "x.cubin"), str(ROOT / "kernels/cuda" / file))
    kernels = usage(report)
    assert kernels, report
    registers = [used for used, _, _ in kernels.values()]
    print(f"{file} sm_{sm}: {len(kernels)} kernels, {min(registers)} to {max(registers)} registers")
    wrong = [f"{name}: {stack} bytes of stack, {spills} of spills" for name, (_, stack, spills) in kernels.items() if stack or spills]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("file", sorted(WIDE))
def test_memory_moves_sixteen_bytes_at_a_time(file, tmp_path):
    ptx = tmp_path / "x.ptx"
    nvcc("-arch=sm_90a", "-ptx", "-o", str(ptx), str(ROOT / "kernels/cuda" / file))
    text = ptx.read_text()
    missing = [access for access in WIDE[file] if not re.search(re.escape(access) + r"\.[a-z]*32", text)]
    assert not missing, f"{file}: no {missing}"
