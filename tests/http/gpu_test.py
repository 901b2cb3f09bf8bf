"""The server with GPUs: the same program beside a CUDA plug-in whose libraries are emulated (tests/cuda_emulation), so that devices can be counted, broken
and filled at will. What it computes is right or wrong as on a GPU; how fast says nothing.
"""
import concurrent.futures
import json
import re
import time

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from client import MODEL, PREDICT, b64, jpeg, picture, pixels

PROGRAM = "tests/emulated/resnetd"
ILLEGAL_ADDRESS = 700  # cudaErrorIllegalAddress: an error that stays
BODY = json.dumps({"instances": [pixels()]})


@pytest.fixture(scope="module", autouse=True)
def built(build_dir):
    if not (build_dir / PROGRAM).exists():
        pytest.skip("no CUDA headers on this machine, or a build with ThreadSanitizer: the emulation is not built")


class Devices:
    """GPUs of a process: how many, and which are broken."""

    def __init__(self, path, count):
        self.path = path
        self.env = {"RN_EMULATION_DEVICES": str(count), "RN_EMULATION_SWITCH": str(path)}

    def lose(self, *devices):
        part = self.path.with_suffix(".part")
        part.write_text("".join(f"{device} {ILLEGAL_ADDRESS}\n" for device in devices))
        part.rename(self.path)


@pytest.fixture
def devices(tmp_path):
    return lambda count: Devices(tmp_path / "switch", count)


@pytest.fixture
def gpu_server(launch):
    def start(devices, *flags):
        return launch("--model_name=fashion", f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=-1", "--monitoring_port=0", "--max_batch_size=2",
                      *flags, env=devices.env, program=PROGRAM)

    return start


def predict(server):
    return requests.post(server.url + PREDICT, data=BODY)


# ---- choosing ----

def test_answers_are_those_of_the_cpu(gpu_server, devices, server):
    gpu = gpu_server(devices(1), "--device=auto")
    expected, found = predict(server), predict(gpu)
    assert "--device=auto: cuda is used\n" in gpu.log
    assert found.headers["X-Resnetd-Device"].startswith("cuda:0 emulated device sm_90 fp16")
    assert found.json()["predictions"][0] == pytest.approx(expected.json()["predictions"][0], rel=2e-2, abs=2e-2)
    # A picture that the device resizes, one of its size, and one that is too large for the staging: the worker resizes it.
    body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(raw) for raw in (jpeg(90, 120), picture(), jpeg(300, 200))]})
    expected, found = (requests.post(s.url + PREDICT, data=body).json()["predictions"] for s in (server, gpu))
    assert len(found) == 3
    for row, found_row in zip(expected, found):
        assert found_row["labels"][0] == row["labels"][0]
        assert found_row["probabilities"] == pytest.approx(row["probabilities"], rel=2e-2, abs=2e-2)


def test_one_gpu_by_number(gpu_server, devices):
    assert predict(gpu_server(devices(3), "--device=cuda:2")).headers["X-Resnetd-Device"].startswith("cuda:2 ")


def test_all_gpus(gpu_server, devices):
    gpus = gpu_server(devices(3), "--device=cuda:all")
    assert gpus.port
    assert re.findall(r"cuda:(\d) emulated", gpus.log) == ["0", "1", "2"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = {answer.text for answer in pool.map(lambda _: predict(gpus), range(40)) if answer.status_code == 200}
    assert len(answers) == 1
    check_metrics(gpus)


def metrics(server):
    return {(sample.name, sample.labels.get("device") or sample.labels.get("gpu_uuid"), sample.labels.get("kind")): sample.value
            for family in text_string_to_metric_families(requests.get(server.url + "/metrics").text) for sample in family.samples
            if {"device", "gpu_uuid"} & sample.labels.keys() and "model" not in sample.labels}


def check_metrics(server):
    """Three GPUs, as tests/cuda_emulation/nvml has them: the second does not tell its load and power, the third nothing."""
    time.sleep(1.1)  # the second in which the last batch ended is over
    found = metrics(server)
    weights = {found["resnetd_device_memory_bytes", f"cuda:{i}", "weights"] for i in range(3)}
    assert len(weights) == 1 and weights.pop() > 1e6  # 0.7 million parameters in fp16
    for kind in ("feature_maps", "staging"):
        assert found["resnetd_device_memory_bytes", "cuda:2", kind] > 0
    for i in range(3):
        assert 0 < found["resnetd_gpu_duty_cycle_percent", f"cuda:{i}", None] <= 100
    first, second = "GPU-emulated-0000:01:00.0", "GPU-emulated-0000:02:00.0"
    expected = {("gpu_utilization_ratio", "nv_gpu_utilization"): (0.37, None), ("gpu_power_watts", "nv_gpu_power_usage"): (123.456, None),
                ("gpu_memory_used_bytes", "nv_gpu_memory_used_bytes"): (10 << 30, 10 << 30),
                ("gpu_memory_total_bytes", "nv_gpu_memory_total_bytes"): (80 << 30, 80 << 30), ("gpu_temperature_celsius", None): (41, 41)}
    for (name, triton), values in expected.items():
        assert tuple(found.get((f"resnetd_{name}", f"cuda:{i}", None)) for i in range(3)) == (*values, None), name
        if triton:
            assert tuple(found.get((triton, uuid, None)) for uuid in (first, second)) == values, triton
    assert re.findall(r"(cuda:\d) does not say how it is: NVML: GPU 0000:03:00.0: Not Found", server.log) == ["cuda:2"]


@pytest.mark.parametrize("device, count, code, message", [
    ("cuda", 0, 70, "no NVIDIA GPU is visible to this process"),
    ("cuda:2", 2, 70, "device cuda:2 is not there: this process sees 2 of them, from cuda:0"),
    ("cuda:99999999999999999999", 2, 70, "is not there"),
    ("cuda:", 1, 2, 'expected a number or all after the colon, found ""'),
    ("cuda:-1", 1, 2, 'expected a number or all after the colon, found "-1"'),
    ("cuda:first", 1, 2, 'expected a number or all after the colon, found "first"'),
    ("cpu:1", 1, 70, "device cpu:1 is not there: this process sees 1 of them, from cpu:0"),
    ("gpu", 1, 2, "device gpu is not known: expected one of auto, cuda, cpu"),
])
def test_devices_that_are_not_there(gpu_server, devices, device, count, code, message):
    process = gpu_server(devices(count), f"--device={device}")
    assert process.wait() == code, process.log
    assert message in process.log


# ---- memory, measured choices ----

def test_memory_limit(gpu_server, devices):
    process = gpu_server(devices(1), "--device=cuda", "--gpu_memory_limit=1", "--max_num_load_retries=0")
    assert process.wait() == 71, process.log
    assert "MB of device memory, the limit is 1.0 MB" in process.log


def test_choices_are_kept_between_starts(gpu_server, devices, tmp_path):
    log = []
    for _ in range(2):
        server = gpu_server(devices(1), "--device=cuda", f"--cuda_cache_dir={tmp_path}")
        predict(server)
        assert server.stop() == 0
        log.append(re.search(r"of which (\d+) measured", server.log).group(1))
    assert int(log[0]) > 0 and log[1] == "0"


# ---- losing devices ----

def test_the_last_gpu_is_lost(gpu_server, devices):
    gpu = devices(1)
    server = gpu_server(gpu, "--device=cuda", "--drain_delay=2")
    assert predict(server).status_code == 200
    assert requests.get(server.monitoring_url + "/v2/health/ready").status_code == 200
    gpu.lose(0)
    for _ in range(2):
        answer = predict(server)
        assert answer.status_code == 503
        assert re.fullmatch(r"GPU 0 is out of service: CUDA: .*cudaErrorIllegalAddress.*", answer.json()["error"])
    assert requests.get(server.monitoring_url + "/v2/health/ready").status_code == 503
    assert requests.get(server.monitoring_url + "/v2/health/live").status_code == 200
    assert server.wait() == 70, server.log
    assert "devices left: 0" in server.log


def test_one_of_two_gpus_is_lost(gpu_server, devices):
    """No request fails: what the lost one had is computed by the other."""
    gpus = devices(2)
    server = gpu_server(gpus, "--device=cuda:all", "--drain_delay=1")
    expected = predict(server).text

    def ask(i):
        if i == 20:
            gpus.lose(1)
        return predict(server)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(60)))
    assert [answer.status_code for answer in answers if answer.status_code != 200] == []
    assert {answer.text for answer in answers} == {expected}
    assert re.search(r"GPU 1 is out of service: .*; devices left: 1\n", server.log)
    assert requests.get(server.monitoring_url + "/v2/health/ready").status_code == 200
    gpus.lose(0, 1)
    assert predict(server).status_code == 503
    assert server.wait() == 70, server.log


def test_a_gpu_that_is_lost_while_loading(gpu_server, devices):
    gpu = devices(1)
    gpu.lose(0)
    process = gpu_server(gpu, "--device=cuda")
    assert process.wait() == 70, process.log
    assert "cudaErrorIllegalAddress" in process.log
