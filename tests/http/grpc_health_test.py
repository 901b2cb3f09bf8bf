"""grpc.health.v1.Health: what is asked once, and what is listened to."""
import signal
import threading
import time

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client import MODEL
from grpc_server_test import connect, pixel_request, predict
from metrics_test import Page
from waiting import eventually

Code = grpc.StatusCode
SERVING, NOT_SERVING, SERVICE_UNKNOWN = (health_pb2.HealthCheckResponse.ServingStatus.Value(name)
                                         for name in ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"))
SERVICES = ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "inference.GRPCInferenceService", "PredictionService",
            "ModelService"]


@pytest.fixture(scope="module")
def stub(server):
    with connect(server) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def watch(channel, service="", **options):
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), **{"timeout": 60, **options})


def told(stream):
    """All that is told until the end."""
    statuses = []
    try:
        for response in stream:
            statuses.append(response.status)
    except grpc.RpcError as error:
        statuses.append(error.code())
    return statuses


@pytest.mark.parametrize("service", SERVICES)
def test_services(stub, service):
    assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60).status == SERVING
    stream = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert next(stream).status == SERVING
    stream.cancel()


@pytest.mark.parametrize("service", ["x", "tensorflow.serving", "y" * 100000])
def test_unknown_service(stub, service):
    """It is an error to ask for it; whoever listens goes on listening, in case it comes."""
    request = health_pb2.HealthCheckRequest(service=service)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(request, timeout=60)
    assert caught.value.code() == Code.NOT_FOUND
    assert caught.value.details().startswith(f"unknown service {service[:50]}")
    assert told(stub.Watch(request, timeout=0.5)) == [SERVICE_UNKNOWN, Code.DEADLINE_EXCEEDED]


def test_news_alone_is_told(stub):
    assert told(stub.Watch(health_pb2.HealthCheckRequest(), timeout=1)) == [SERVING, Code.DEADLINE_EXCEEDED]


def test_models_come_and_go(start_server):
    server = start_server()
    with connect(server) as channel:
        stream = watch(channel)
        for _ in range(3):
            assert next(stream).status == SERVING
            assert requests.post(f"{server.url}/v2/repository/models/fashion/unload").status_code == 200
            assert next(stream).status == NOT_SERVING
            assert requests.post(f"{server.url}/v2/repository/models/fashion/load").status_code == 200
        assert next(stream).status == SERVING
        stream.cancel()
    assert server.stop() == 0


def test_drain(start_server):
    """Listeners hear of it while calls are still served, and do not hold up the end."""
    server = start_server(MODEL, "--drain_delay=3")
    with connect(server) as channel, connect(server) as another:
        streams = [watch(channel, service) for service in SERVICES] + [watch(channel, "x"), watch(another)]
        assert [next(stream).status for stream in streams] == [SERVING] * len(SERVICES) + [SERVICE_UNKNOWN, SERVING]
        server.process.send_signal(signal.SIGTERM)
        assert [next(stream).status for stream in streams[:len(SERVICES)]] == [NOT_SERVING] * len(SERVICES)
        assert len(predict(another)(pixel_request(), timeout=60).outputs["logits"].float_val) == 10
        assert server.wait() == 0
        ends = [told(stream) for stream in streams]
    assert all(len(end) == 1 for end in ends[:-1]) and ends[-1][0] == NOT_SERVING
    assert {end[-1] for end in ends} <= {Code.UNAVAILABLE, Code.CANCELLED}


def test_metrics(start_server):
    """Whoever listens is no call under way, and counts once, at his end; for how long he listened is no latency."""
    server, listened_s = start_server(), 2
    with connect(server) as channel:
        assert told(watch(channel, timeout=listened_s / 2)) == [SERVING, Code.DEADLINE_EXCEEDED]
        stream = watch(channel)
        assert next(stream).status == SERVING
        time.sleep(listened_s / 2)
        assert Page(server.url).sum("resnetd_inflight", protocol="grpc") == 0
        stream.cancel()
        labels = {"protocol": "grpc", "method": "health", "code": "CANCELLED"}
        eventually(lambda: Page(server.url).sum("resnetd_requests_total", **labels) == 2, "two calls counted")
        page = Page(server.url)
    assert page.sum("resnetd_requests_total", protocol="grpc") == page.sum("resnetd_requests_total", **labels) == 2
    assert page.sum("resnetd_request_duration_seconds_sum", method="health", protocol="grpc") < listened_s / 2
    assert server.stop() == 0


def test_balancer_that_checks_health(start_server):
    """A client of libgrpc that is told to look after health takes no backend that is not ready, although it would still answer."""
    server = start_server(MODEL, "--drain_delay=3")
    config = '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "tensorflow.serving.PredictionService"}}'
    left = threading.Event()
    with grpc.insecure_channel(server.grpc_target, [("grpc.service_config", config), ("grpc.use_local_subchannel_pool", 1)]) as channel, \
         connect(server) as careless:
        assert len(predict(channel)(pixel_request(), timeout=60).outputs["logits"].float_val) == 10
        channel.subscribe(lambda state: state == grpc.ChannelConnectivity.TRANSIENT_FAILURE and left.set())
        server.process.send_signal(signal.SIGTERM)
        assert left.wait(60)
        with pytest.raises(grpc.RpcError) as caught:
            predict(channel)(pixel_request(), timeout=60)
        assert caught.value.code() == Code.UNAVAILABLE
        assert len(predict(careless)(pixel_request(), timeout=60).outputs["logits"].float_val) == 10
    assert server.wait() == 0


def test_listeners_that_come_and_go(start_server, sanitized):
    """On several loops, beside calls; those that cancel, that are cut off, and that stay until the end."""
    server = start_server(MODEL, "--rest_api_num_threads=2")
    rounds = 3 if sanitized else 10
    with connect(server) as channel:
        staying = [watch(channel) for _ in range(20)]
        assert {next(stream).status for stream in staying} == {SERVING}

        def come_and_go():
            for _ in range(rounds):
                with connect(server) as own:
                    streams = [watch(own) for _ in range(20)]
                    for stream in streams[::2]:
                        assert next(stream).status == SERVING
                        stream.cancel()
                    predict(own)(pixel_request(), timeout=60)

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.process.poll() is None
        for stream in staying[::2]:
            stream.cancel()
        assert server.stop() == 0
        assert {tuple(told(stream))[-1] for stream in staying[1::2]} <= {Code.UNAVAILABLE, Code.CANCELLED}
