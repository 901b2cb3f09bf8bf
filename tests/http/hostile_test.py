"""Clients that are slow, greedy or malicious: they are sent away, and others do not notice."""
import contextlib
import json
import socket
import statistics
import struct
import threading
import time

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from client import MODEL, PREDICT, Connection, Http2, error_body, pixels
from waiting import eventually

PIXELS = json.dumps({"instances": [pixels()]}).encode()
HEAD = b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
LATE = error_body("The request did not arrive in good time.")
FULL = error_body("Requests under way hold as much memory as they may: try again.")


def metric(server, name):
    page = requests.get(f"{server.monitoring_url}/metrics").text
    return sum(s.value for f in text_string_to_metric_families(page) for s in f.samples if s.name == name)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def read_all(s):
    """What comes until the end; a reset is an end too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data


class Others:
    """A client that goes on calling; the context fails when one of its calls does or when they become much slower than before."""

    def __init__(self, server):
        self.url, self.stop, self.failures, self.seconds = server.url, threading.Event(), [], []
        self.session = requests.Session()
        self.before = statistics.median(self.call() for _ in range(20))
        self.thread = threading.Thread(target=self.run)

    def call(self):
        begin = time.monotonic()
        answer = self.session.post(self.url + PREDICT, data=PIXELS)
        if answer.status_code != 200:
            self.failures.append(answer.text)
        return time.monotonic() - begin

    def run(self):
        while not self.stop.is_set():
            self.seconds.append(self.call())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        while len(self.seconds) < 10:
            time.sleep(0.01)
        self.stop.set()
        self.thread.join()
        assert not self.failures
        median = statistics.median(self.seconds)
        print(f"a call of others: {1e3 * self.before:.1f} ms before, {1e3 * median:.1f} ms meanwhile")
        assert median < 10 * self.before


@pytest.fixture(scope="module")
def strict(start_server):
    """A second for a request, and a second more for each 100,000 bytes."""
    server = start_server(MODEL, "--request_timeout_in_ms=1000", "--min_request_rate=100000")
    yield server
    assert server.stop() == 0


# ---- slow HTTP/1 ----

def test_slow_heads_and_bodies(strict):
    slow = metric(strict, "resnetd_slow_requests_total")
    beginnings = [b"G", b"GET /healthz HTTP/1.1\r\nHost: a\r\n", HEAD % 1000, HEAD % 1000 + b"{" * 500,
                  b"POST /v1/models/fashion:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"]
    with Others(strict):
        sockets = [connect(strict) for _ in beginnings for _ in range(10)]
        begin = time.monotonic()
        for s, data in zip(sockets, beginnings * 10):
            s.sendall(data)
        answers = [read_all(s) for s in sockets]
        assert time.monotonic() - begin > 1
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and answer.endswith(LATE)
        assert b"Content-Length: %d\r\n" % len(LATE) in answer
    assert metric(strict, "resnetd_slow_requests_total") == slow + len(sockets)
    eventually(lambda: metric(strict, "resnetd_body_bytes") == 0, "no body is held")


def test_slow_loris(strict):
    """A byte now and then buys no time: each one earns ten microseconds. A hundred such clients keep no others waiting."""
    with Others(strict):
        sockets = [connect(strict) for _ in range(100)]
        for s in sockets:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ")
        begin = time.monotonic()
        sockets[0].settimeout(0.05)

        def answer():
            for s in sockets:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    s.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                return sockets[0].recv(65536)

        assert eventually(answer, "an answer").startswith(b"HTTP/1.1 408 ") and time.monotonic() - begin < 15
        for s in sockets:
            s.close()


def test_slow_but_steady_bodies_are_served(strict):
    """Three seconds in all, at more than the least rate."""
    body = json.dumps({"instances": [pixels()] * 6}).encode()
    connection = Connection(strict.port)
    connection.socket.sendall(HEAD % len(body))
    steps = 30
    for i in range(steps):
        connection.socket.sendall(body[len(body) * i // steps:len(body) * (i + 1) // steps])
        time.sleep(0.1)
    assert connection.read()[0] == 200
    connection.socket.sendall(HEAD % len(PIXELS))  # the second request has a time of its own
    time.sleep(0.5)
    connection.socket.sendall(PIXELS)
    assert connection.read()[0] == 200


def test_waiting_between_requests_is_not_slow(strict):
    connection = Connection(strict.port)
    for _ in range(3):
        assert connection.call("GET", "/healthz")[0] == 200
        time.sleep(1.5)
    assert connection.call("POST", PREDICT, PIXELS)[0] == 200


def test_late_clients_that_go_on_sending_read_why(strict):
    s = connect(strict)
    s.sendall(HEAD % 60_000_000)
    s.settimeout(0.05)
    answer, begin = bytearray(), time.monotonic()

    def told():
        s.sendall(b"x" * 1000)  # 20,000 bytes a second: too few
        with contextlib.suppress(TimeoutError):
            answer.extend(s.recv(65536))
        return LATE in answer

    eventually(told, "why")
    assert answer.endswith(LATE) and time.monotonic() - begin < 30


# ---- greedy ----

def test_budget_of_bodies(start_server):
    """Bodies that never end hold what they may and no more; who is complete is served."""
    budget = 64 << 20
    server = start_server(MODEL, f"--max_inflight_bytes={budget}", "--rest_api_num_threads=1")
    with open(f"/proc/{server.process.pid}/status") as status:
        before = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) << 10
    size = 20 << 20
    sockets = []
    for _ in range(8):
        sockets.append(connect(server))
        sockets[-1].sendall(HEAD % (size + 1))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(20):
                sockets[-1].sendall(b" " * (1 << 20))
    eventually(lambda: metric(server, "resnetd_dropped_bodies_total") >= 5, "five bodies dropped")
    eventually(lambda: metric(server, "resnetd_body_bytes") <= budget, "bodies within the budget")
    with open(f"/proc/{server.process.pid}/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10
    print(f"peak {peak - before >> 20} MB for a budget of {budget >> 20} MB")
    assert requests.post(server.url + PREDICT, data=PIXELS).status_code == 200
    dropped = [s for s in sockets if answered(s)]
    assert 5 <= len(dropped) <= 7
    for s in dropped:
        answer = read_all(s)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and b"Retry-After: 1\r\n" in answer and answer.endswith(FULL)
    for s in sockets:
        s.close()
    eventually(lambda: metric(server, "resnetd_body_bytes") == 0, "no body is held")
    assert server.stop() == 0


def answered(s):
    s.settimeout(0.1)
    try:
        return bool(s.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        s.settimeout(60)


def test_connections_are_bounded_per_port(start_server):
    server = start_server(MODEL, "--max_connections=5")
    connections = [Connection(server.port) for _ in range(5)]
    assert all(c.call("GET", "/healthz")[0] == 200 for c in connections)
    with connect(server) as s:
        assert read_all(s).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert requests.get(f"{server.monitoring_url}/readyz").status_code == 200  # probes have a port of their own
    assert metric(server, "resnetd_connections_refused_total") == 1
    connections.pop().close()
    eventually(lambda: not answered_with_503(server), "room for a connection")
    assert server.stop() == 0


def answered_with_503(server):
    with connect(server) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return not read_all(s).startswith(b"HTTP/1.1 200 ")


def test_heads_that_are_too_large(server):
    heads = (b"GET /" + b"x" * 500_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200, b"GET / HTTP/1.1\r\nA: " + b"x" * 500_000)
    with Others(server):
        for head in heads * 20:
            with connect(server) as s:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    s.sendall(head + b"\r\n\r\n")
                answer = read_all(s)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer[:100]
    assert requests.get(f"{server.url}/healthz").status_code == 200


# ---- rude ----

def test_half_closed(server):
    """Who has sent everything and closes its sending half is answered when there is room."""
    with Others(server):
        for _ in range(20):
            with connect(server) as s:
                s.sendall(HEAD % len(PIXELS) + PIXELS)
                s.shutdown(socket.SHUT_WR)
                answer = read_all(s)
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 499 "))


def test_half_closed_in_mid_body(server):
    with Others(server):
        for _ in range(20):
            with connect(server) as s:
                s.sendall(HEAD % len(PIXELS) + PIXELS[:100])
                s.shutdown(socket.SHUT_WR)
                assert read_all(s) == b""


def test_resets_in_mid_body(server):
    with Others(server):
        for i in range(200):
            s = connect(server)
            s.sendall(HEAD % len(PIXELS) + PIXELS[:i * len(PIXELS) // 200])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    eventually(lambda: metric(server, "resnetd_body_bytes") == 0, "no body is held")


def test_pipeline_of_many_requests(server):
    """One connection has one turn at a time: others come between."""
    with Others(server), connect(server) as s:
        threading.Thread(target=s.sendall, args=((HEAD % len(PIXELS) + PIXELS) * 200,), daemon=True).start()
        stream = s.makefile("rb")
        for _ in range(200):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            length = None
            while (line := stream.readline().strip()):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            stream.read(length)


# ---- HTTP/2 ----

def test_http2_works_at_all(server):
    client = Http2(server.port)
    assert client.answer(client.open(PREDICT, PIXELS))[0] == 200
    assert client.answer(client.open("/healthz")) == (200, b"")


def test_rapid_reset(server):
    """Streams that are opened and reset at once, thousands of them: the connection is ended."""
    with Others(server):
        clients = [Http2(server.port) for _ in range(4)]
        for client in clients:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for _ in range(50):
                    for _ in range(40):
                        stream = client.open(PREDICT, b"{}")
                        client.h2.reset_stream(stream)
                    client.flush()
        for client in clients:
            assert client.is_closed()
    client = Http2(server.port)
    for _ in range(50):  # giving up now and then is no attack
        stream = client.open(PREDICT, PIXELS)
        client.h2.reset_stream(stream)
        client.flush()
        assert client.answer(client.open("/healthz"))[0] == 200
    assert client.answer(client.open(PREDICT, PIXELS))[0] == 200


def test_slow_http2_bodies(strict):
    slow = metric(strict, "resnetd_slow_requests_total")
    with Others(strict):
        client = Http2(strict.port)
        for _ in range(10):
            client.open(PREDICT, b"{" * 100, end=False)
        client.flush()
        assert client.is_closed()
    assert metric(strict, "resnetd_slow_requests_total") > slow


def test_slow_but_steady_http2_body(strict):
    body = json.dumps({"instances": [pixels()] * 6}).encode()
    client = Http2(strict.port)
    stream = client.open(PREDICT, b"", end=False)
    client.flush()
    for at in range(0, len(body), 16384):
        while client.h2.local_flow_control_window(stream) < 16384:
            client.flush()
            client.receive()
        client.h2.send_data(stream, body[at:at + 16384], end_stream=at + 16384 >= len(body))
        client.flush()
        time.sleep(0.08)
    assert client.answer(stream)[0] == 200


def test_http2_frames_that_make_no_sense(server):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    frames = [b"\0\0\1\1\5\0\0\0\1\xff",  # a header block that is no HPACK
              b"\0\0\4\0\1\0\0\0\1\0\0\0\0",  # DATA on a stream that was never opened
              b"\xff\xff\xff\0\0\0\0\0\1",  # longer than allowed
              b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",  # a window that grows by nothing
              b"\0\0\0\x09\4\0\0\0\1",  # CONTINUATION of nothing
              b"\0\0\5\4\0\0\0\0\0\0\0\0\0\0"]  # SETTINGS of five bytes
    with Others(server):
        for frame in frames:
            with connect(server) as s:
                s.sendall(preface + frame)
                s.shutdown(socket.SHUT_WR)
                read_all(s)
        for flood in (b"\0\0\x08\6\0\0\0\0\0" + bytes(8), b"\0\0\0\4\0\0\0\0\0"):  # PING, SETTINGS: each is to be acknowledged
            with connect(server) as s:
                s.settimeout(1)
                with contextlib.suppress(OSError):
                    s.sendall(preface + flood * 200_000)  # nobody reads the answers


def test_budget_counts_http2_bodies(start_server):
    budget = 16 << 20
    server = start_server(MODEL, f"--max_inflight_bytes={budget}", "--rest_api_num_threads=1")
    clients = []
    for _ in range(4):
        clients.append(Http2(server.port))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TypeError):  # TypeError: the end came while waiting for the window
            clients[-1].open(PREDICT, b" " * (6 << 20), end=False)
            clients[-1].flush()
    eventually(lambda: metric(server, "resnetd_dropped_bodies_total") >= 1, "a body dropped")
    eventually(lambda: metric(server, "resnetd_body_bytes") <= budget, "bodies within the budget")
    eventually(lambda: requests.post(server.url + PREDICT, data=PIXELS).status_code == 200, "an answer")
    assert server.process.poll() is None
    for client in clients:
        client.socket.close()
    eventually(lambda: metric(server, "resnetd_body_bytes") == 0, "no body is held")
    assert server.stop() == 0


# ---- gRPC ----

def test_grpc_pings_too_often(server):
    """Three pings within ten seconds: GOAWAY, too_many_pings."""
    host, port = server.grpc_target.split(":")
    client = Http2(int(port))
    for _ in range(10):
        client.h2.ping(b"12345678")
    client.flush()
    assert client.is_closed()
    with grpc.insecure_channel(server.grpc_target) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1


def test_grpc_rapid_reset(server):
    with Others(server):
        client = Http2(int(server.grpc_target.split(":")[1]))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(50):
                for _ in range(40):
                    stream = client.open("/tensorflow.serving.PredictionService/Predict", b"\0\0\0\0\0")
                    client.h2.reset_stream(stream)
                client.flush()
        client.socket.close()
    with grpc.insecure_channel(server.grpc_target) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1


def test_grpc_headers_that_are_too_large(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", metadata=[("x-large", "x" * 100_000)], timeout=60)
        assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)  # libgrpc may close the connection
    with grpc.insecure_channel(server.grpc_target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=60)
