"""The set-up that many start from, with nothing but the image changed: a ConfigMap with MODEL_NAME and MODEL_PATH, a container that takes both in its
arguments, a readiness probe that connects to 8500, and Locust."""
import csv
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import requests

from client import MODEL, b64, picture
from waiting import eventually

CONFIG_MAP = {"MODEL_NAME": "image_classifier", "MODEL_PATH": str(MODEL)}
ARGUMENTS = ["--model_name=$(MODEL_NAME)", "--model_base_path=$(MODEL_PATH)"]


def expanded(arguments):
    """What the kubelet makes of them before the container starts."""
    return [re.sub(r"\$\((\w+)\)", lambda name: CONFIG_MAP[name[1]], argument) for argument in arguments]


@pytest.fixture
def lab(launch, free_port):
    """The container. 8500 is mapped to a free port, from the environment, so that the arguments stay what they are."""
    server = launch(*expanded(ARGUMENTS), env={**CONFIG_MAP, "RESNETD_PORT": str(free_port), "RESNETD_REST_API_PORT": "0", "RESNETD_MONITORING_PORT": "0"},
                    program="tensorflow_model_server")
    yield server, free_port
    assert server.stop() == 0, server.log


def probe(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def test_lab(lab, tmp_path):
    server, port = lab
    eventually(lambda: probe(port), lambda: server.log)
    url = server.url
    body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture("bag.jpg"))]})
    first = requests.post(f"{url}/v1/models/image_classifier/versions/1:predict", data=body)  # an open port is a server that answers
    assert first.status_code == 200 and first.json()["predictions"][0]["labels"][0] == "Bag"
    command = [sys.executable, "-m", "locust", "-f", pathlib.Path(__file__).with_name("lab_tasks.py"), "--headless", "--host", url, "--only-summary",
               "--csv", tmp_path / "load"]
    seconds = os.environ.get("RN_LAB_STEP_SECONDS", "0.7")
    done = subprocess.run(command, env={**os.environ, **CONFIG_MAP, "STEP_SECONDS": seconds}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with open(tmp_path / "load_stats.csv") as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    print(f"{total['Request Count']} calls, {total['Requests/s']} a second, median {total['50%']} ms, 99 % {total['99%']} ms")
    assert int(total["Request Count"]) > 50 and int(total["Failure Count"]) == 0


def test_entrypoint_of_the_image(launch, tmp_path):
    """`docker run -e MODEL_NAME=... -v ...:/models/...` with no argument at all; arguments that there are go before."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/resnet").symlink_to(MODEL)
    ports = {"RESNETD_PORT": "0", "RESNETD_REST_API_PORT": "0", "RESNETD_MONITORING_PORT": "0"}
    environment = {"MODEL_NAME": "resnet", "MODEL_BASE_PATH": str(tmp_path / "models"), **ports}
    for arguments, name in (([], "resnet"), (["--model_name=other"], "other")):
        server = launch(*arguments, env=environment, program="tf_serving_entrypoint.sh")
        assert requests.get(f"{server.url}/v1/models/{name}").status_code == 200
        assert server.stop() == 0
    server = launch(env=environment)
    assert server.wait() == 2 and "--model_base_path is needed" in server.log
