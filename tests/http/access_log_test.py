"""The access log: what its lines hold, and that nobody waits for it."""
import json
import os
import re
import subprocess
import threading
import time

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from client import MODEL, PREDICT, Connection, b64, picture, pixels

PIXELS = json.dumps({"instances": [pixels()] * 2}).encode()
ONE_PICTURE = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]}).encode()
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "access.log"


def lines_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_lines(start_server, log):
    server = start_server(MODEL, f"--access_log={log}")
    sent = [("GET", "/v1/models/fashion", b"", 200), ("POST", PREDICT, PIXELS, 200), ("POST", PREDICT, ONE_PICTURE, 200), ("POST", PREDICT, b"{", 400),
            ("POST", "/v1/models/nope:predict", b"{}", 404), ("GET", '/a"b\\c\xff', b"", 404)]
    connection = Connection(server.port)
    answers = []
    for method, path, body, code in sent:
        connection.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin1") + body)
        answers.append(connection.read())
        assert answers[-1][0] == code
    with grpc.insecure_channel(server.grpc_target) as channel:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", metadata=[("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-request-id", "r/1")])
    assert server.stop() == 0
    lines = lines_of(log)
    assert len(lines) == len(sent) + 1
    for line, (method, path, body, code), answer in zip(lines, sent, answers):
        assert (line["protocol"], line["method"], line["path"], line["code"]) == ("http", method, path, code)
        assert line["request_bytes"] == len(body) and line["answer_bytes"] == len(answer[2])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
        assert 0 <= line["duration_us"] < 60e6
        assert "trace_id" not in line and "request_id" not in line
    stages = {"parse_us", "queue_us", "run_us", "write_us"}
    assert stages <= lines[1].keys() and lines[1]["batch"] == 2 and "decode_us" not in lines[1]
    assert stages | {"decode_us"} <= lines[2].keys()
    assert (lines[1]["model"], lines[1]["version"]) == ("fashion", 1)
    assert sum(lines[2][s] for s in stages | {"decode_us"}) <= lines[2]["duration_us"]
    assert not {"model", "batch", "run_us"} & lines[3].keys() and "model" not in lines[4]
    last = lines[-1]
    assert (last["protocol"], last["path"], last["code"]) == ("grpc", "/grpc.health.v1.Health/Check", 0)
    assert (last["trace_id"], last["span_id"], last["request_id"]) == (TRACE, SPAN, "r/1") and "method" not in last


@pytest.mark.parametrize("header, known", [
    (f"00-{TRACE}-{SPAN}-01", True),
    (f"00-{TRACE}-{SPAN}-00", True),
    (f"00-{'0' * 32}-{SPAN}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (f"00-{TRACE.upper()}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}", False),
    (f"00-{TRACE}-{SPAN}-01-more", False),
    ("", False),
])
def test_traceparent_is_echoed(server, header, known):
    answer = requests.get(f"{server.url}/healthz", headers={"traceparent": header, "X-Request-Id": "abc-1"})
    assert answer.headers.get("traceparent") == (header if known else None)
    assert answer.headers["x-request-id"] == "abc-1"


def test_request_ids_that_are_not_echoed(server):
    for value in ("x" * 65, "a b", "\xff"):
        answer = Connection(server.port).call("GET", "/healthz", headers=[f"X-Request-Id: {value}"])
        assert answer[0] == 200 and "x-request-id" not in answer[1]
    assert Connection(server.port).call("GET", "/healthz", headers=["X-Request-Id: " + "x" * 64])[1]["x-request-id"] == "x" * 64


def test_long_and_strange_paths_stay_valid_json(start_server, log):
    server = start_server(MODEL, f"--access_log={log}")
    path = "/" + "\xff\\\"" * 400
    connection = Connection(server.port)
    connection.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin1"))
    code = connection.read()[0]
    connection.close()
    assert server.stop() == 0
    assert code == 404 and lines_of(log)[0]["path"] == path[:512]


def test_standard_output(build_dir, environment):
    process = subprocess.Popen([build_dir / "resnetd", "--model_name=fashion", f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0",
                                "--monitoring_port=0", "--access_log=-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment)
    url = None
    for line in process.stderr:
        if found := re.search(r"ready: REST on port (\d+)", line):
            url = f"http://127.0.0.1:{found.group(1)}"
            break
    requests.get(f"{url}/healthz")
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and json.loads(out)["path"] == "/healthz"


def test_a_log_that_nobody_reads_holds_nobody_up(start_server, tmp_path, sanitized):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    server = start_server(MODEL, f"--access_log={fifo}")
    path = "/" + "x" * 480
    calls = 4000 if not sanitized else 3500  # of more than 600 bytes a line: two buffers and the pipe

    def client():
        session = requests.Session()
        for _ in range(calls // 4):
            assert session.get(server.url + path).status_code == 404

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = requests.get(f"{server.monitoring_url}/metrics").text
    dropped = next(s.value for f in text_string_to_metric_families(page) for s in f.samples if s.name == "resnetd_access_log_dropped_total")
    assert 0 < dropped < calls
    begin = time.monotonic()
    assert server.stop() == 0  # the end waits a second for the reader and no longer
    assert time.monotonic() - begin < 10
    os.close(reader)


def test_a_file_that_cannot_be_opened(launch, tmp_path):
    process = launch(f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0", "--monitoring_port=0", f"--access_log={tmp_path}/no/such/folder")
    assert process.wait() == 66 and "access log" in process.log and "/no/such/folder" in process.log
