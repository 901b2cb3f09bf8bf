"""The gRPC server as a server: concurrency, limits, deadlines, clients that go away, draining."""
import concurrent.futures
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from client import MODEL, picture, pixels
from metrics_test import Page
from waiting import eventually

Code = grpc.StatusCode
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def pixel_request(rows=1, seed=0):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "fashion"
    message.inputs["inputs"].CopyFrom(tf.make_tensor_proto(np.float32([pixels(seed)] * rows)))
    return message


def picture_request(*names):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "fashion"
    message.model_spec.signature_name = "serving_preprocess"
    message.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([picture(name) for name in names], tf.string))
    return message


def connect(server):
    """A connection of its own."""
    return grpc.insecure_channel(server.grpc_target, UNLIMITED)


def raw_connection(server):
    host, port = server.grpc_target.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def predict(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def outcome(call, message, **options):
    """The response, or the code of the error."""
    try:
        return call(message, **{"timeout": 60, **options})
    except grpc.RpcError as error:
        return error.code()


def health(channel):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60).status


# ---- concurrency ----

def test_64_callers_get_their_own_answers(server, sanitized):
    messages = [pixel_request(1 + seed % 3, seed) for seed in range(8)] + [picture_request("bag.jpg", "coat.png")]
    with connect(server) as channel:
        wanted = [predict(channel)(message) for message in messages]
    assert len({response.SerializeToString() for response in wanted}) == len(messages)

    def caller(n):
        with connect(server) as channel:
            for i in range(1 if sanitized else 5):
                got, want = (r.outputs for r in (predict(channel)(messages[(n + i) % 9], timeout=60), wanted[(n + i) % 9]))
                assert got.keys() == want.keys()
                for key in got:
                    if got[key].string_val:
                        assert got[key] == want[key]
                    else:
                        np.testing.assert_allclose(tf.make_ndarray(got[key]), tf.make_ndarray(want[key]), rtol=1e-4, atol=1e-3)

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(caller, range(64)))


def test_many_calls_on_one_connection(server, sanitized):
    with connect(server) as channel:
        calls = [predict(channel).future(pixel_request(seed=i % 4), timeout=60) for i in range(20 if sanitized else 200)]
        answers = [tf.make_ndarray(call.result().outputs["logits"]) for call in calls]
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer, answers[i % 4], rtol=1e-4, atol=1e-3)


# ---- limits ----

def test_large_messages(server, sanitized):
    rows = 50 if sanitized else 500  # 25 MB
    with connect(server) as channel:
        answer = tf.make_ndarray(predict(channel)(pixel_request(rows)).outputs["logits"])
        assert answer.shape == (rows, 10)
        np.testing.assert_allclose(answer, answer[:1].repeat(rows, 0), rtol=1e-4, atol=1e-3)
        with pytest.raises(grpc.RpcError) as caught:
            predict(channel)(pixel_request(1400))
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED and "Received message larger than max" in caught.value.details()
        assert len(predict(channel)(pixel_request()).outputs["logits"].float_val) == 10  # the connection is as good as before


def test_message_limit_is_a_flag(start_server):
    server = start_server(MODEL, "--max_request_bytes=1024")
    with connect(server) as channel:
        assert outcome(predict(channel), pixel_request()) == Code.RESOURCE_EXHAUSTED
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
    assert server.stop() == 0


def resident_kb(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_small_message_that_inflates_to_much(start_server, sanitized):
    server = start_server()
    before = resident_kb(server)
    with grpc.insecure_channel(server.grpc_target, UNLIMITED, compression=grpc.Compression.Gzip) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(b"\x12" + bytes(400 << 20), timeout=60)
    assert caught.value.code() == Code.INVALID_ARGUMENT and "--max_request_bytes" in caught.value.details()
    if not sanitized:
        assert resident_kb(server) - before < 150_000
    assert server.stop() == 0


def test_deflate(server):
    with grpc.insecure_channel(server.grpc_target, compression=grpc.Compression.Deflate) as channel:
        assert len(predict(channel)(pixel_request()).outputs["logits"].float_val) == 10


def test_overload(start_server):
    """A short queue and callers that fill it: everybody gets an answer, some of them UNAVAILABLE; health checks do not queue."""
    server = start_server(MODEL, "--max_batch_size=1", "--max_queue_rows=4", "--max_waiting_requests=2")
    seen, end = set(), threading.Event()

    def caller():
        with connect(server) as channel:
            while not end.is_set():
                result = outcome(predict(channel), pixel_request(4))
                seen.add(result if isinstance(result, Code) else Code.OK)
                assert health(channel) == health_pb2.HealthCheckResponse.SERVING

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(caller) for _ in range(8)]
        try:
            eventually(lambda: len(seen) > 1, "calls that are served and calls that are not")
        finally:
            end.set()
    assert all(caller.exception() is None for caller in callers) and seen == {Code.OK, Code.UNAVAILABLE}
    assert server.stop() == 0


# ---- calls that nobody waits for ----

@pytest.fixture(scope="module")
def heavy_rows(sanitized):
    return 100 if sanitized else 1200


@pytest.fixture(scope="module")
def slow(start_server):
    """A server that runs one row at a time, with room for everything that is sent."""
    server = start_server(MODEL, "--max_batch_size=1", "--num_threads=1", "--max_queue_rows=100000")
    yield server
    assert server.stop() == 0


def rows_run(server):
    return Page(server.monitoring_url).sum("resnetd_batch_rows_sum")


def rows_run_for_nobody(server, heavy_rows, call_and_leave):
    """Rows run for calls that call_and_leave(channel) makes. Ahead of them is a heavy call whose client is patient: theirs have left before their turn."""
    before = rows_run(server)
    with connect(server) as channel:
        patient = predict(channel).future(pixel_request(heavy_rows))
        eventually(lambda: rows_run(server) > before, "the heavy call has its turn")
        call_and_leave(channel)
        rows = len(patient.result().outputs["logits"].float_val) // 10
        assert outcome(predict(channel), pixel_request()).outputs  # behind all of them
    return rows_run(server) - before - rows - 1


def test_deadline(slow, heavy_rows):
    """G10. Work whose deadline has passed is not begun."""
    message = pixel_request(10)

    def late(channel):
        calls = [predict(channel).future(message, timeout=0.05) for _ in range(40)]
        assert {error.code() for call in calls if (error := call.exception())} == {Code.DEADLINE_EXCEEDED}

    assert 0 <= rows_run_for_nobody(slow, heavy_rows, late) <= 200
    with connect(slow) as channel:
        assert outcome(predict(channel), message, timeout=1e-4) == Code.DEADLINE_EXCEEDED


def test_cancel(slow, heavy_rows):
    message = pixel_request(10)

    def cancel(channel):
        for call in [predict(channel).future(message) for _ in range(40)]:
            call.cancel()

    assert 0 <= rows_run_for_nobody(slow, heavy_rows, cancel) <= 200


def test_connections_that_are_cut(slow, sanitized):
    """At any moment: while the message is on its way, while it waits, while it runs."""
    heavy = pixel_request(4 if sanitized else 60)
    for delay in (0, 0.001, 0.005, 0.02, 0.1):
        for _ in range(4):
            channel = connect(slow)
            calls = [predict(channel).future(message) for message in (heavy, picture_request("bag.jpg"), pixel_request())]
            time.sleep(delay)
            channel.close()
            assert all(call.exception() or True for call in calls if not call.cancelled())
    with connect(slow) as channel:
        assert len(predict(channel)(pixel_request()).outputs["logits"].float_val) == 10


def test_what_is_not_http_2(slow):
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100, b""):
        with raw_connection(slow) as s:
            s.sendall(data)
    with connect(slow) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING


# ---- the end ----

def test_drain_under_load(start_server, sanitized):
    """Every call that has been read is answered, then the process ends with 0. UNAVAILABLE: the server has gone. CANCELLED: the call has crossed with
    word of that and has been refused unread, one for each connection at most."""
    server = start_server()
    answered, others = [], []

    def caller():
        with connect(server) as channel:
            while True:
                result = outcome(predict(channel), pixel_request())
                if isinstance(result, Code):
                    others.append(result)
                    return
                assert len(result.outputs["logits"].float_val) == 10
                answered.append(1)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(answered) < (10 if sanitized else 50):
        time.sleep(0.05)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    for thread in threads:
        thread.join()
    assert "draining" in server.log and "drained" in server.log
    assert len(others) == 8 and set(others) <= {Code.UNAVAILABLE, Code.CANCELLED}, others


def test_drain_finishes_what_is_under_way(start_server, sanitized):
    rows = 20 if sanitized else 200
    server = start_server(MODEL, "--max_batch_size=1")
    with connect(server) as channel, connect(server) as idle:
        assert health(idle) == health_pb2.HealthCheckResponse.SERVING
        calls = [predict(channel).future(message) for message in (pixel_request(rows), picture_request("bag.jpg"))]
        eventually(lambda: rows_run(server) + Page(server.monitoring_url).sum("resnetd_queue_rows") == rows + 1, "both calls read")
        server.process.send_signal(signal.SIGTERM)
        assert len(calls[0].result().outputs["logits"].float_val) == 10 * rows
        assert calls[1].result().outputs["labels"].string_val[0] == b"Bag"
        assert server.wait() == 0


def test_drain_delay_serves_but_is_not_ready(start_server):
    server = start_server(MODEL, "--drain_delay=3")
    with connect(server) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING, "not serving")
        assert len(predict(channel)(pixel_request()).outputs["logits"].float_val) == 10
    assert server.wait() == 0


def test_drain_timeout(start_server):
    server = start_server(MODEL, "--max_batch_size=1", "--num_threads=1", "--drain_timeout=0", "--max_queue_rows=100000")
    with connect(server) as channel:
        heavy = pixel_request(600)
        calls = [predict(channel).future(heavy) for _ in range(12)]
        eventually(lambda: rows_run(server) > 0, "the first of them has its turn")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 124
        assert {error.code() for call in calls if (error := call.exception())} == {Code.UNAVAILABLE}
    assert "still under way" in server.log


def test_connections_without_calls_do_not_hold_up_the_end(start_server):
    server = start_server(MODEL, "--drain_timeout=10")
    with raw_connection(server), connect(server) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        assert server.stop() == 0


def test_no_grpc(launch):
    server = launch("--model_name=fashion", f"--model_base_path={MODEL}", "--rest_api_port=0", "--monitoring_port=0", "--port=0")
    assert requests.get(f"{server.url}/readyz").status_code == 200
    assert "gRPC" not in server.log
    assert server.stop() == 0


def test_port_opens_when_ready(launch):
    server = launch("--model_name=fashion", f"--model_base_path={MODEL}", "--rest_api_port=0", "--monitoring_port=0", "--port=-1")
    with connect(server) as channel:
        assert health(channel) in (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING)
    events = [line.split()[1] for line in server.lines]
    assert events.index("health") < events.index("model") < events.index("ready:")
    assert server.stop() == 0
