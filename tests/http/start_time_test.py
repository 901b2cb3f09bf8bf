"""From the start of the process to the first answer, for a full-size converted ResNet-101 in the page cache. Takes half a minute and wants a machine for
itself:

    python -m pytest -s -m soak tests/http/start_time_test.py

Pages that a virtual machine has never touched come slowly from its host: the first start after a while can take seconds longer than those that follow,
so the fastest of RUNS counts.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNS = 5
LIMIT_S = 0.5


def pictures(rows):
    row = [[[(x * 7 + y * 3 + c) % 256 for c in range(3)] for x in range(224)] for y in range(224)]
    return json.dumps({"instances": [row] * rows})


@pytest.fixture(scope="module")
def base_path(build_dir, tmp_path_factory):
    models = ROOT / "build/models"
    if not (models / "keras_v1/1/saved_model.pb").exists():
        subprocess.run([sys.executable, ROOT / "tools/oracle/make_models.py", models, "keras_v1"], check=True, capture_output=True)
    path = tmp_path_factory.mktemp("start") / "resnet101"
    (path / "1").mkdir(parents=True)
    subprocess.run([build_dir / "resnet-convert", models / "keras_v1/1", path / "1/model.safetensors", "--quiet"], check=True)
    return path


@pytest.mark.soak
@pytest.mark.speed
@pytest.mark.parametrize("warm_up", ["true", "false"])
def test_time_to_the_first_answer(start_server, base_path, warm_up):
    body, ready, answered = pictures(1), [], []
    for _ in range(RUNS):
        begin = time.monotonic()
        server = start_server(base_path, f"--enable_model_warmup={warm_up}", "--device=cpu", name="m")
        ready.append(time.monotonic() - begin)
        answer = requests.post(f"{server.url}/v1/models/m:predict", data=body)
        answered.append(time.monotonic() - begin)
        assert answer.status_code == 200, answer.text
        assert server.stop() == 0
    for what, seconds in (("ready", ready), ("first answer", answered)):
        print(f"--enable_model_warmup={warm_up}: {what} after {min(seconds) * 1e3:.0f} ms, median {statistics.median(seconds) * 1e3:.0f}")
    assert min(answered) < LIMIT_S


@pytest.mark.soak
@pytest.mark.speed
def test_the_first_request_is_no_slower_than_the_tenth(start_server, base_path):
    """Of every size of batch, though most of them have not run before the server is ready."""
    server = start_server(base_path, name="m")
    for rows in (1, 2, 3, 4, 8, 16):
        body, seconds = pictures(rows), []
        for _ in range(10):
            begin = time.monotonic()
            assert requests.post(f"{server.url}/v1/models/m:predict", data=body).status_code == 200
            seconds.append(time.monotonic() - begin)
        print(f"{rows} rows: first {seconds[0] * 1e3:.0f} ms, then {min(seconds[1:]) * 1e3:.0f} to {max(seconds[1:]) * 1e3:.0f}")
        assert seconds[0] < 1.2 * max(seconds[1:]) + 0.01
