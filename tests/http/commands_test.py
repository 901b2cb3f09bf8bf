"""What operators ask the program besides serving: its health, its version, its state, its log as JSON."""
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
import requests

from client import MODEL
from waiting import eventually

BASE = [f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0"]


@pytest.fixture(scope="module")
def run(build_dir):
    """run("word", ...) -> (exit code, standard output, standard error)"""

    def go(*arguments, env={}):
        ended = subprocess.run([build_dir / "resnetd", *arguments], capture_output=True, text=True, env={**os.environ, **env}, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    return go


def test_version(run, build_dir):
    assert run("version") == run("--version")
    assert run("version")[0] == 0


def test_healthcheck_of_a_server(run, server):
    port = server.monitoring_url.rsplit(":", 1)[1]
    assert run("healthcheck", f"--monitoring_port={port}") == (0, "ready\n", "")
    assert run("healthcheck", "live", env={"RESNETD_MONITORING_PORT": port}) == (0, "live\n", "")


def test_healthcheck_of_nobody(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, out, _ = run("healthcheck", f"--monitoring_port={port}")
        assert (code, out) == (1, f"not ready: port {port}: Connection refused\n")


def test_healthcheck_of_something_else(run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer(text):
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(text)
            connection.close()

        for text, told in ((b"SSH-2.0-OpenSSH\r\n", f"not ready: port {port}: no HTTP answer\n"),
                           (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", f"not ready: the server at port {port} answers 503\n")):
            thread = threading.Thread(target=answer, args=(text,))
            thread.start()
            assert run("healthcheck", f"--monitoring_port={port}")[:2] == (1, told)
            thread.join()


def test_healthcheck_usage(run):
    assert run("healthcheck", "happy") == (2, "", "resnetd healthcheck: expected the word ready or live\n")
    assert run("healthcheck", "--nonsense") == (2, "", "resnetd healthcheck: unknown flag --nonsense\n")
    assert run("healthcheck", "--monitoring_port=0")[0] == 2


def test_empty_variables_are_none(run):
    code, _, log = run(*BASE[1:], "--monitoring_port=0", env={"RESNETD_MODEL_BASE_PATH": "", "RESNETD_MAX_BATCH_SIZE": ""})
    assert code == 2 and "--model_base_path is needed" in log


def test_log_as_json(launch):
    server = launch(*BASE, "--monitoring_port=0", "--log_format=json", "--model_name=m")
    server.wait_for(r"(ready: REST on port \d+)")
    assert server.stop() == 0
    events = [json.loads(line) for line in server.lines]
    assert all(list(event) == ["time", "severity", "message"] for event in events)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"]) for event in events)
    assert {event["severity"] for event in events} == {"INFO"}
    assert events[-1]["message"] == "drained"

    broken = launch("--model_base_path=/nowhere", "--log_format=json", "--rest_api_port=0", "--port=0", "--monitoring_port=0")
    assert broken.wait() == 66
    last = json.loads(broken.lines[-1])
    assert last["severity"] == "ERROR" and "/nowhere" in last["message"]


def test_log_format_usage(run):
    code, _, log = run(*BASE, "--log_format=xml")
    assert code == 2 and '--log_format: expected text or json, found "xml"' in log


def test_state_of_a_process(start_server):
    server = start_server(MODEL, name="m")
    alive = set(os.listdir(f"/proc/{server.process.pid}/task"))
    server.process.send_signal(signal.SIGQUIT)
    server.wait_for(r"(state: serving, for \d)")
    server.wait_for(r"(state: calls under way: 0 over HTTP, 0 over gRPC)")
    server.wait_for(r"(state: model m version 1 on cpu[^:]*: 0 requests wait with 0 rows; \d+ batches)")
    assert requests.get(f"{server.url}/v2/health/ready").status_code == 200
    alive &= set(os.listdir(f"/proc/{server.process.pid}/task"))  # some of those that it began with have ended
    told = re.compile(r"state: thread (\d+), .*\n.*\[0x[0-9a-f]+\]")  # a thread and its stack
    eventually(lambda: alive <= set(told.findall(server.log)), lambda: f"each of threads {alive}:\n{server.log}")
    assert server.stop() == 0
    threads = re.findall(r"state: thread (\d+), ", server.log)
    assert len(set(threads)) == len(threads) and "does not answer" not in server.log  # each once
