"""The server as a server: connections, concurrency, limits, clients that go away, draining."""
import concurrent.futures
import contextlib
import http.client
import json
import math
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest
import requests

from client import MODEL, PREDICT, SHAPE, Connection, Http2, b64, error_body, jpeg, picture, pixels
from metrics_test import Page
from waiting import eventually

ONE_PICTURE = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]}).encode()
PIXELS = json.dumps({"instances": [pixels()]}).encode()
HEAVY = json.dumps({"instances": [pixels()] * 60}).encode()  # several runs of the device


def total(server, *metrics):
    """The sum of these metrics."""
    page = Page(server.monitoring_url)
    return sum(page.sum(f"resnetd_{metric}") for metric in metrics)


def black(count):
    """Path, body and headers of a call with that many pictures, in bytes: quickly read and long to run."""
    raw = bytes(count * math.prod(SHAPE) * 4)
    tensor = {"name": "inputs", "datatype": "FP32", "shape": [count, *SHAPE], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return "/v2/models/fashion/infer", head + raw, [f"Inference-Header-Content-Length: {len(head)}"]


def predictions(answer):
    code, _, body = answer
    assert code == 200, body
    return json.loads(body)["predictions"]


# ---- connections ----

def test_keep_alive(server):
    connection = Connection(server.port)
    for i in range(50):
        assert len(predictions(connection.call("POST", PREDICT, PIXELS))) == 1
        assert connection.call("GET", "/v1/models/fashion")[0] == 200
        assert connection.call("POST", PREDICT, b"{}")[0] == 400  # an error does not end the connection
    connection.close()


def test_pipelining(server):
    connection = Connection(server.port)
    for _ in range(10):
        connection.send("POST", PREDICT, PIXELS)
        connection.send("GET", "/v1/models/fashion")
        connection.send("POST", PREDICT, b"[1]")
    for _ in range(10):
        assert len(predictions(connection.read())) == 1
        assert b"model_version_status" in connection.read()[2]
        assert b"Is not object" in connection.read()[2]
    connection.close()


def test_http_1_0_and_connection_close(server):
    for request in (b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
            s.sendall(request)
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"connection: close" in answer.lower()


def test_expect_continue(server):
    connection = Connection(server.port)
    connection.send("POST", PREDICT, headers=["Expect: 100-continue"])  # Content-Length: 0
    assert connection.stream.readline() == b"HTTP/1.1 100 Continue\r\n"
    connection.close()


def test_not_http(server):
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    assert requests.get(f"{server.url}/healthz").status_code == 200


def test_ipv6(server):
    try:
        connection = http.client.HTTPConnection("::1", server.port, timeout=60)
        connection.request("GET", "/healthz")
    except OSError:
        pytest.skip("no IPv6 here")
    assert connection.getresponse().status == 200


def test_http_2(server):
    """Prior knowledge, with a client that is there anyway."""
    import shutil
    import subprocess
    curl = shutil.which("curl")
    if not curl or "HTTP2" not in subprocess.run([curl, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("no curl with HTTP/2")
    answer = subprocess.run([curl, "-s", "--http2-prior-knowledge", "-w", " %{http_version}", "--data-binary", "@-", server.url + PREDICT],
                            input=PIXELS, capture_output=True, check=True).stdout
    assert answer.endswith(b" 2") and len(json.loads(answer[:-2])["predictions"]) == 1
    assert subprocess.run([curl, "-s", "--http2-prior-knowledge", server.url + "/v1/models"], capture_output=True, check=True).stdout == error_body(
        "Missing model name in request.")


# ---- concurrency ----

def test_concurrent_clients_get_their_own_answers(server):
    bodies = [json.dumps({"instances": [pixels(seed)] * (1 + seed % 3)}).encode() for seed in range(8)]
    bodies += [ONE_PICTURE, b"{", b'{"instances": ["x"]}']
    wanted = [requests.post(server.url + PREDICT, data=body).json() for body in bodies]
    failures = []

    def close(got, want):
        if isinstance(want, list):
            return len(got) == len(want) and all(map(close, got, want))
        if isinstance(want, dict):
            return got.keys() == want.keys() and all(close(got[key], want[key]) for key in want)
        return got == want or isinstance(want, float) and abs(got - want) < 1e-3

    def client(offset):
        session = requests.Session()
        for i in range(30):
            k = (offset + i) % len(bodies)
            answer = session.post(server.url + PREDICT, data=bodies[k])
            if not close(answer.json(), wanted[k]):
                failures.append((k, answer.text[:200]))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---- limits ----

def test_large_body_is_refused_and_the_answer_arrives(server):
    limit = 64 << 20
    message = f"Request body is larger than {limit} bytes. The limit is set by --max_request_bytes."
    answer = requests.post(server.url + PREDICT, data=b" " * 100_000_000)
    assert (answer.status_code, answer.content) == (413, error_body(message))
    assert answer.headers["Content-Type"] == "application/json" and answer.headers["Connection"] == "close"
    chunks = (b" " * (1 << 20) for _ in range(80))
    answer = requests.post(server.url + PREDICT, data=chunks)
    assert (answer.status_code, answer.content) == (413, error_body(message))


def test_body_limit_is_a_flag(start_server):
    server = start_server(MODEL, "--max_request_bytes=1024")
    assert requests.post(server.url + PREDICT, data=b" " * 1024).status_code == 400
    answer = requests.post(server.url + PREDICT, data=b" " * 1025)
    assert answer.json() == {"error": "Request body is larger than 1024 bytes. The limit is set by --max_request_bytes."}
    assert server.stop() == 0


def test_client_that_gives_up_a_large_body(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 1000)
        assert s.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert requests.get(f"{server.url}/healthz").status_code == 200


def test_broken_chunks_are_answered_in_json(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        s.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(error_body("broken chunked-encoding"))


def test_overload(start_server):
    """A queue for four rows and clients that keep it full, one and four rows at a time: everybody gets an answer, some of them 503 with Retry-After."""
    server = start_server(MODEL, "--max_batch_size=1", "--max_queue_rows=4")
    seen = threading.Event()

    def client(rows):
        body = json.dumps({"instances": [pixels()] * rows})
        with contextlib.closing(Connection(server.port)) as connection:
            answers = []
            while not seen.is_set():
                answers.append(connection.call("POST", PREDICT, body.encode()))
            return answers

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, rows) for rows in [1, 4] * 8]
        try:
            for path in (PREDICT, "/v2/models/fashion/infer"):  # refused without a look at the body, which costs more than the refusal
                codes = []
                eventually(lambda: codes.append(requests.post(server.url + path, data=b"{").status_code) or codes[-1] == 503, "a call refused")
                assert set(codes) <= {400, 503}
        finally:
            seen.set()
    answers = [answer for client in clients for answer in client.result()]
    assert {code for code, _, _ in answers} == {200, 503}
    for code, headers, body in answers:
        if code == 503:
            assert headers["retry-after"] == "1"
            assert json.loads(body) == {"error": "The batch scheduling queue to which this task was submitted is full"}
    assert server.stop() == 0


def test_deadline(start_server):
    server = start_server(MODEL, "--rest_api_timeout_in_ms=1", "--max_batch_size=1")
    answer = requests.post(server.url + PREDICT, data=HEAVY)
    assert answer.status_code == 504
    assert answer.json()["error"].startswith("no answer within ")
    assert server.stop() == 0


# ---- clients that go away ----

def test_disconnect_while_waiting(start_server, sanitized):
    """What is queued for clients that are gone is not computed. Ahead of it is a heavy call of a patient client: they have left before their turn."""
    server = start_server(MODEL, "--max_batch_size=1", "--num_threads=1", "--max_queue_rows=100000")
    patient, gone = Connection(server.port), [Connection(server.port) for _ in range(40)]
    heavy = 100 if sanitized else 1200
    patient.send("POST", *black(heavy))
    eventually(lambda: total(server, "batch_rows_sum") > 0, "the heavy call has its turn")
    for connection in gone:
        connection.send("POST", *black(10))
    for connection in gone:
        connection.close()
    assert patient.read()[0] == 200
    eventually(lambda: total(server, "connections") <= 2, "the server has let go of them")  # of the patient client, and the question itself
    assert 0 <= total(server, "batch_rows_sum") - heavy <= 10 * len(gone) / 2
    assert server.stop() == 0


def test_disconnects_at_every_moment(server):
    for body in (PIXELS, ONE_PICTURE, HEAVY):
        request = b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for sent in (1, 20, 90, len(request) // 2, len(request) - 1, len(request)):
            for reset in (False, True):
                s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                if reset:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                s.sendall(request[:sent])
                s.close()
    assert len(predictions(Connection(server.port).call("POST", PREDICT, PIXELS))) == 1


def test_http_2_streams_that_are_reset(server):
    """h2o frees a stream's memory at once: what workers read must be their own."""
    import shutil
    import subprocess
    curl = shutil.which("curl")
    if not curl or "HTTP2" not in subprocess.run([curl, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("no curl with HTTP/2")
    for body in (PIXELS, ONE_PICTURE, HEAVY):
        for seconds in ("0.005", "0.02", "0.05"):
            subprocess.run([curl, "-s", "--http2-prior-knowledge", "--max-time", seconds, "--data-binary", "@-", server.url + PREDICT], input=body,
                           capture_output=True)
    assert len(predictions(Connection(server.port).call("POST", PREDICT, PIXELS))) == 1


def watched_sockets(process):
    """How many sockets each epoll instance of the process watches."""
    home, sockets, watched = pathlib.Path(f"/proc/{process.pid}"), set(), []
    for number in os.listdir(home / "fd"):
        try:
            target = os.readlink(home / "fd" / number)
            if target.startswith("socket:"):
                sockets.add(number)
            elif target == "anon_inode:[eventpoll]":
                watched.append(re.findall(r"^tfd:\s*(\d+)", (home / "fdinfo" / number).read_text(), re.M))
        except FileNotFoundError:  # closed since it was listed
            continue
    return [sum(number in sockets for number in numbers) for numbers in watched]


def test_loops_share_connections(start_server):
    """Of connections that come together every loop gets some, not all of them the one that wakes first."""
    server = start_server(MODEL, "--rest_api_num_threads=2")
    connections = []
    for _ in range(20):
        connections += [Connection(server.port) for _ in range(16)]
        for connection in connections:
            assert connection.call("GET", "/healthz")[0] == 200
        if sum(count > 8 for count in watched_sockets(server.process)) == 2:
            break
    else:
        pytest.fail(f"sockets of each loop: {watched_sockets(server.process)}")
    for connection in connections:
        connection.close()
    assert server.stop() == 0


# ---- the end ----

def test_drain_under_load(start_server):
    """Every request that was sent before the listener closed is answered; then the process ends with 0."""
    server = start_server()
    port, answered, refused, lost = server.port, [], [], []
    stop = threading.Event()

    def client():
        while not stop.is_set():
            try:
                connection = Connection(port)
            except (ConnectionRefusedError, ConnectionResetError):  # reset: the listener closed during the handshake
                refused.append(1)
                return
            try:
                while True:
                    connection.send("POST", PREDICT, PIXELS)
                    answer = connection.read()
                    if answer is None:
                        lost.append("closed without an answer")
                        break
                    if answer[0] != 200:
                        lost.append(answer)
                    answered.append(1)
                    if answer[1]["connection"] == "close":
                        break
            except (ConnectionResetError, BrokenPipeError) as error:
                lost.append(repr(error))
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(answered) < 50:
        time.sleep(0.1)
    server.process.send_signal(signal.SIGTERM)
    code = server.wait()
    stop.set()
    for thread in threads:
        thread.join()
    assert code == 0, server.log
    assert "draining" in server.log and "drained" in server.log
    assert refused
    assert not lost


def test_drain_finishes_what_is_under_way(start_server):
    server = start_server(MODEL, "--max_batch_size=1")
    connection, slow = Connection(server.port), Connection(server.port)
    idle = Connection(server.port)
    assert idle.call("GET", "/healthz")[0] == 200
    half = len(PIXELS) // 2
    slow.socket.sendall(b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(PIXELS) + PIXELS[:half])
    eventually(lambda: total(server, "body_bytes") >= half, "half a body read")
    connection.send("POST", PREDICT, HEAVY)
    eventually(lambda: total(server, "queue_rows", "batch_rows_sum") > 0, "a body read")
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(r"(draining)")
    assert idle.read() is None
    slow.socket.sendall(PIXELS[half:])
    answer = connection.read()
    assert len(predictions(answer)) == 60
    answer = slow.read()
    assert len(predictions(answer)) == 1 and answer[1]["connection"] == "close"
    assert server.wait() == 0


def test_drain_ends_idle_http_2_connections(start_server):
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame
        assert s.recv(65536)
        server.process.send_signal(signal.SIGTERM)
        while s.recv(65536):
            pass
    assert server.wait() == 0


def test_drain_under_load_over_http_2(start_server):
    """GOAWAY comes with time to go: what was sent until then is answered."""
    server = start_server()
    answered, lost = [], []

    def client():
        connection = Http2(server.port)
        while not connection.leaving:
            code, _ = connection.answer(connection.open(PREDICT, PIXELS))
            (answered if code == 200 else lost).append(code)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 30:
        time.sleep(0.05)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert server.wait() == 0, server.log
    assert not lost and "drained" in server.log


def test_drain_delay_serves_but_is_not_ready(start_server):
    server = start_server(MODEL, "--drain_delay=3")
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: requests.get(f"{server.monitoring_url}/readyz").status_code == 503, "not ready")
    assert requests.get(f"{server.monitoring_url}/v2/health/ready").json() == {"ready": False}
    assert requests.get(f"{server.monitoring_url}/healthz/ready").json() == {"reason": "draining"}
    assert requests.get(f"{server.monitoring_url}/healthz/live").status_code == 200
    assert requests.get(f"{server.monitoring_url}/healthz").status_code == 200
    assert requests.post(server.url + PREDICT, data=PIXELS).status_code == 200
    assert server.wait() == 0


def test_drain_timeout(start_server):
    """A client that never finishes its request holds the end up for so long and no longer."""
    server = start_server(MODEL, "--drain_timeout=1")
    connection = Connection(server.port)
    connection.socket.sendall(b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    eventually(lambda: total(server, "body_bytes") > 0, "a byte of the body read")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 124
    assert "still under way" in server.log


def test_second_signal(start_server):
    server = start_server(MODEL, "--drain_delay=60")
    server.process.send_signal(signal.SIGINT)
    server.wait_for(r"(SIGINT: draining)")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 124


# ---- pictures of unusual size ----

@pytest.mark.slow
def test_large_picture(server):
    body = {"signature_name": "serving_preprocess", "instances": [b64(jpeg(6000, 4000))]}
    assert requests.post(server.url + PREDICT, json=body).status_code == 200
