"""Every way of writing a ResNet, and graphs that are none: tools/oracle/check_variants.py, some of it here, all of it marked `soak`:

    build/venv/bin/python -m pytest -m soak tests/oracle/variants_test.py
"""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What takes a second or two to write, and of everything in docs/variants.md one.
QUICK = ["keras2_caffe_lambda", "module_fused_v1", "module_naive", "module_float16_weights", "torchvision_infinite_border", "resnext_split", "nchw_throughout",
         "several_signatures", "uint8_input", "labels_from_floats", "hub_tensorflow1", "tf1_partitioned", "slim_v1"]
QUICK_REFUSALS = ["half_plus_two", "dilated", "gelu", "hash_table", "two_inputs", "unknown_size", "mirror_pad", "python_function", "training_mode", "inner_crop"]


def check(build_dir, *names):
    done = subprocess.run([sys.executable, ROOT / "tools/oracle/check_variants.py", f"--build={build_dir}", f"--models={ROOT}/build/variants", *names],
                          capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "FAILED ")) or line.endswith("failed")]
    print("\n".join(lines))
    assert done.returncode == 0, "\n".join(line for line in lines if not line.startswith("ok ")) + done.stderr[-2000:]
    return lines[-1]


def test_some_variants(build_dir):
    assert check(build_dir, *QUICK, *QUICK_REFUSALS) == f"{len(QUICK)} variants and {len(QUICK_REFUSALS)} refusals hold, 0 failed"


@pytest.mark.soak
def test_all_variants(build_dir):
    assert check(build_dir).endswith(" 0 failed")
