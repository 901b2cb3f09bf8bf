"""The pages of metrics, read by Prometheus' own parser: what is counted, under which names."""
import concurrent.futures
import json
import subprocess
import threading
import time

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from client import MODEL, PREDICT, b64, picture, pixels

TFS_PATH = "/monitoring/prometheus/metrics"
PIXELS = json.dumps({"instances": [pixels()] * 2})
ONE_PICTURE = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]})


class Page:
    def __init__(self, url, path="/metrics"):
        answer = requests.get(url + path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.text
        # A colon may begin a name in Prometheus, but not in the parser's notion of one.
        self.families = {family.name: family for family in text_string_to_metric_families(answer.text.replace(":tensorflow:serving:", "tfs_"))}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def sum(self, name, **labels):
        """Of all samples of that name with those labels."""
        names = (name, name + "_total")  # the parser adds the suffix to counters that lack it
        return sum(s.value for s in self.samples if s.name in names and labels.items() <= s.labels.items())


@pytest.fixture
def fresh(start_server):
    server = start_server()
    yield server
    assert server.stop() == 0


def test_page_is_valid(fresh):
    requests.post(fresh.url + PREDICT, data=PIXELS)
    for base in (fresh.url, fresh.monitoring_url):
        for path in ("/metrics", TFS_PATH):
            page = Page(base, path)
            names = [(s.name, tuple(sorted(s.labels.items()))) for s in page.samples]
            assert len(set(names)) == len(names)  # no sample twice
            for family in page.families.values():
                if family.type == "histogram":
                    check_histograms(family)
                assert family.name.startswith("tfs_") or family.documentation, family.name


def check_histograms(family):
    series = {}
    for s in family.samples:
        key = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
        series.setdefault(key, {}).setdefault(s.name[len(family.name):], []).append((s.labels.get("le"), s.value))
    for parts in series.values():
        bounds = [float(le) for le, _ in parts["_bucket"]]
        counts = [value for _, value in parts["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == parts["_count"][0][1]


def test_calls_are_counted_where_they_belong(fresh):
    for body, code in ((PIXELS, 200), (PIXELS, 200), (ONE_PICTURE, 200), ("{", 400), ('{"signature_name": "nope", "instances": [1]}', 400)):
        assert requests.post(fresh.url + PREDICT, data=body).status_code == code
    assert requests.post(fresh.url + "/v1/models/nope:predict", data=PIXELS).status_code == 404
    assert requests.post(fresh.url + "/v1/models/fashion:classify", data="{}").status_code == 400
    assert requests.get(fresh.url + "/v1/models/fashion").status_code == 200
    assert requests.get(fresh.url + "/nowhere").status_code == 404
    page = Page(fresh.url)
    model = {"model": "fashion", "version": "1", "protocol": "http", "method": "predict"}
    assert page.sum("resnetd_requests_total", code="200", **model) == 3
    assert page.sum("resnetd_requests_total", code="400", **model) == 1  # "{" is refused before anybody looks for a model
    assert page.sum("resnetd_requests_total", model="", method="predict", code="400") == 1
    assert page.sum("resnetd_requests_total", model="", version="", method="predict", code="404") == 1
    assert page.sum("resnetd_requests_total", method="classify", code="400") == 1
    assert page.sum("resnetd_requests_total", method="status", code="200") == 1
    assert page.sum("resnetd_requests_total", method="other", code="404") == 1
    assert page.sum("resnetd_request_duration_seconds_count", outcome="success", **model) == 3
    assert page.sum("resnetd_request_duration_seconds_count", outcome="error", **model) == 1
    for stage, count in (("parse", 3), ("decode", 1), ("queue", 3), ("run", 3), ("write", 3)):
        assert page.sum("resnetd_stage_duration_seconds_count", stage=stage, model="fashion") == count, stage
    assert page.sum("resnetd_batch_rows_sum") == 5 and page.sum("resnetd_batch_rows_count") == 3
    assert page.sum("resnetd_batch_rows_bucket", le="1") == 1 and page.sum("resnetd_batch_rows_bucket", le="2") == 3


def test_times_add_up(fresh):
    for _ in range(5):
        requests.post(fresh.url + PREDICT, data=PIXELS)
    page = Page(fresh.url)
    total = page.sum("resnetd_request_duration_seconds_sum", method="predict")
    stages = page.sum("resnetd_stage_duration_seconds_sum")
    busy = page.sum("resnetd_device_busy_seconds_total")
    assert 0 < busy <= stages <= total
    assert page.sum("resnetd_stage_duration_seconds_sum", stage="run") == pytest.approx(busy)


def test_grpc_calls(fresh):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "fashion"
    message.inputs["inputs"].dtype = 1
    for size in (1, 64, 64, 3):
        message.inputs["inputs"].tensor_shape.dim.add(size=size)
    message.inputs["inputs"].float_val.append(0.5)
    with grpc.insecure_channel(fresh.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(message)
        message.model_spec.signature_name = "nope"
        with pytest.raises(grpc.RpcError):
            stub.Predict(message)
        message.model_spec.name = "nope"
        with pytest.raises(grpc.RpcError):
            stub.Predict(message)
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "fashion"
        model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/no.such.Service/Method")(b"")
    page = Page(fresh.url, TFS_PATH)
    counted = {(s.labels["model"], s.labels["method"], s.labels["code"]): s.value for s in page.samples
               if s.name == "resnetd_requests_total" and s.labels["protocol"] == "grpc"}
    assert counted == {("fashion", "predict", "OK"): 1, ("fashion", "predict", "FAILED_PRECONDITION"): 1, ("", "predict", "NOT_FOUND"): 1,
                       ("", "status", "OK"): 1, ("", "other", "UNIMPLEMENTED"): 1}
    assert page.sum("tfs_request_count", model_name="fashion", status="OK") == 1
    assert page.sum("tfs_request_latency_count", model_name="fashion", API="Predict", entrypoint="GRPC") == 1
    for stage in ("parse", "queue", "run", "write"):
        assert page.sum("resnetd_stage_duration_seconds_count", stage=stage) == 1, stage


def test_names_of_other_servers(fresh):
    for body in (PIXELS, ONE_PICTURE, '{"signature_name": "nope", "instances": [1]}'):
        requests.post(fresh.url + PREDICT, data=body)
    page = Page(fresh.url, TFS_PATH)
    assert page.text.endswith("\n")
    assert page.sum("tfs_request_count", model_name="fashion", status="OK") == 2
    assert page.sum("tfs_request_count", model_name="fashion", status="INVALID_ARGUMENT") == 1
    assert page.sum("tfs_request_latency_count", model_name="fashion", API="predict", entrypoint="REST") == 2  # success only
    assert page.sum("tfs_runtime_latency_count", model_name="fashion", runtime="TF1") == 2
    for name in ("request_count counter", "request_latency histogram", "runtime_latency histogram"):
        assert f"# TYPE :tensorflow:serving:{name}\n" in page.text
    assert ":tensorflow:" not in Page(fresh.url).text  # linters dislike colons: only on TensorFlow Serving's own path
    model = {"model": "fashion", "version": "1"}
    assert page.sum("nv_inference_request_success", **model) == 2
    assert page.sum("nv_inference_request_failure", reason="OTHER", **model) == 1
    assert page.sum("nv_inference_count", **model) == 3 and page.sum("nv_inference_exec_count", **model) == 2
    assert page.sum("nv_inference_pending_request_count", **model) == 0
    for stage in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
        assert page.sum(f"nv_inference_{stage}_duration_us", **model) > 0, stage


def test_path_of_tensorflow_serving_takes_no_query(server):
    """Section 1.8."""
    answer = requests.get(f"{server.url}{TFS_PATH}?x=1")
    assert (answer.status_code, answer.text) == (400, f"Unexpected path: {TFS_PATH}?x=1. Should be {TFS_PATH}")
    assert answer.headers["Content-Type"] == "text/plain"
    assert requests.get(f"{server.url}/metrics?x=1").status_code == 200


def test_monitoring_config_file(start_server, launch, tmp_path):
    """Section 3.5: the page is where the file says, and nowhere else; /metrics and the monitoring port are not its business."""
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true, path: "/v1/page" }')
    server = start_server(MODEL, f"--monitoring_config_file={file}")
    for base in (server.url, server.monitoring_url):
        assert ":tensorflow:serving:request_count" in Page(base, "/v1/page").text
        assert requests.get(base + TFS_PATH).status_code == 404
        assert requests.get(base + "/metrics").status_code == 200
    assert requests.get(f"{server.url}/v1/page?x").text == "Unexpected path: /v1/page?x. Should be /v1/page"
    assert server.stop() == 0
    for text, code in (("prometheus_config { enable: true }", 200), ("prometheus_config { path: '/page' }", 404), ("", 404)):
        file.write_text(text)
        server = start_server(MODEL, f"--monitoring_config_file={file}")
        assert requests.get(server.url + TFS_PATH).status_code == code
        assert server.stop() == 0
    for text, words in (("prometheus_config { enable: true path: 'page' }", "expected a path that begins with '/' and has no query, found \"page\""),
                        ("prometheus: 1", ":1:1: MonitoringConfig has no field \"prometheus\"")):
        file.write_text(text)
        server = launch(f"--model_base_path={MODEL}", "--monitoring_port=0", f"--monitoring_config_file={file}")
        assert server.wait() == 65 and str(file) in server.log and words in server.log


def test_what_runs_where(fresh, build_dir):
    page = Page(fresh.url)
    info = next(s for s in page.samples if s.name == "resnetd_info")
    assert info.labels["device"] == "cpu" and info.labels["precision"] == "fp32" and info.labels["model"] == "fashion"
    assert info.labels["description"] in fresh.log
    assert page.sum("resnetd_device_memory_bytes", device="cpu", kind="weights") > 2e6  # 0.7 million parameters in fp32
    assert page.sum("resnetd_device_memory_bytes", device="cpu", kind="feature_maps") > 0
    assert not [name for name in page.families if "gpu" in name]
    build = next(s for s in page.samples if s.name == "resnetd_build_info")
    assert build.value == 1 and build.labels["version"].count(".") == 2
    assert 1e6 < page.sum("process_resident_memory_bytes") < page.sum("process_virtual_memory_bytes")
    assert abs(page.sum("process_start_time_seconds") - time.time()) < 300
    assert page.sum("process_open_fds") > 5 and page.sum("process_cpu_seconds_total") > 0


def test_what_is_loaded(start_server, build_dir, tmp_path):
    """Names that recipes for clusters go by."""
    (tmp_path / "1").mkdir()
    subprocess.run([build_dir / "resnet-convert", MODEL / "1", tmp_path / "1"], check=True, capture_output=True)
    with open(tmp_path / "1/model.safetensors", "rb") as file:
        metadata = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    converted = start_server(tmp_path, "--device=cpu", "--mlflow_run_id=0123abcd")
    saved = start_server()
    for server, sha256, run, required in ((converted, metadata["sha256"], "0123abcd", "true"), (saved, "", "", "false")):
        requests.post(server.url + PREDICT, data=PIXELS)
        page = Page(server.monitoring_url)
        labels = {name: [s.labels for s in page.samples if s.name == name] for name in ("resnetd_model_info", "resnetd_device_info")}
        described = requests.get(f"{server.url}/v2/models/fashion").json()
        assert described.get("properties") == ({"mlflow_run_id": run} if run else None)
        assert labels["resnetd_model_info"] == [{"model_name": "fashion", "model_version": "1", "sha256": sha256, "mlflow_run_id": run}]
        (device,) = labels["resnetd_device_info"]
        assert (device["device"], device["required"]) == ("cpu", required) and device["name"].startswith("cpu ")
        assert 0.001 < page.sum("resnetd_model_load_seconds", model_name="fashion", model_version="1") < 60
        assert page.sum("resnetd_batch_size_sum") == page.sum("resnetd_batch_rows_sum") == 2
        for name in ("resnetd_queue_depth", "resnetd_inflight", "resnetd_requests_total", "resnetd_request_duration_seconds", "resnetd_batch_size",
                     "resnetd_stage_duration_seconds", "resnetd_device_busy_seconds_total", "resnetd_build_info", "process_resident_memory_bytes"):
            assert name.removesuffix("_total") in page.families, name
        assert server.stop() == 0


def test_model_names_are_escaped(start_server):
    name = 'we"ird\\name'
    server = start_server(MODEL, name=name)
    assert requests.get(f"{server.monitoring_url}/metrics").status_code == 200
    assert {s.labels["model"] for s in Page(server.url).samples if s.name == "resnetd_queue_depth"} == {name}
    assert server.stop() == 0


def test_gauges_rise_and_fall(start_server, sanitized):
    rows = 10 if sanitized else 40
    server = start_server(MODEL, "--max_batch_size=1", "--num_threads=1", "--isa=scalar")  # slow enough to be looked at
    body = json.dumps({"instances": [pixels()] * rows})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(requests.post, server.url + PREDICT, data=body) for _ in range(4)]
        seen = []
        while not all(call.done() for call in calls):
            page = Page(server.monitoring_url)
            seen.append((page.sum("resnetd_inflight", protocol="http"), page.sum("resnetd_queue_depth"), page.sum("resnetd_queue_rows")))
        assert all(call.result().status_code == 200 for call in calls)
    assert max(s[0] for s in seen) == 5  # and the page itself
    assert max(s[1] for s in seen) >= 2 and max(s[2] for s in seen) > rows
    page = Page(server.monitoring_url)
    assert (page.sum("resnetd_inflight"), page.sum("resnetd_queue_depth"), page.sum("resnetd_queue_rows")) == (1, 0, 0)
    assert server.stop() == 0


def test_nothing_is_lost_among_threads(fresh, sanitized):
    rounds = 20 if sanitized else 200

    def client():
        session = requests.Session()
        for _ in range(rounds):
            assert session.get(f"{fresh.url}/v1/models/fashion").status_code == 200

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Page(fresh.url).sum("resnetd_requests_total", method="status") == 8 * rounds
