"""Flags and files about batches, as clients see them."""
import concurrent.futures
import json
import shutil

import pytest
import requests

from client import MODEL, PREDICT, b64, error_body, jpeg, picture


def post(server, rows=1, image=None):
    body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(image or picture())] * rows})
    return requests.post(server.url + PREDICT, data=body)


def batch_rows(answer):
    return int(answer.headers["server-timing"].split('batch;desc="')[1].rstrip('"'))


def post_many(server, count):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: post(server), range(count)))


def test_batches_can_be_turned_off(start_server):
    server = start_server(MODEL, "--enable_batching=false")
    answers = post_many(server, 12)
    assert all(answer.status_code == 200 and batch_rows(answer) == 1 for answer in answers)
    assert server.stop() == 0


@pytest.fixture
def parameters(tmp_path):
    path = tmp_path / "batching.config"

    def write(text):
        path.write_text(text)
        return f"--batching_parameters_file={path}"

    return write


def test_parameters_file(start_server, parameters):
    """Rows of a request and of a run (R96), and a queue that is full (R97)."""
    server = start_server(MODEL, parameters("max_batch_size { value: 4 } max_enqueued_batches { value: 1 }"))
    assert post(server, 4).status_code == 200
    answer = post(server, 5)
    assert (answer.status_code, answer.content) == (400, error_body("Task size 5 is larger than maximum input batch size 4"))
    assert server.stop() == 0


def test_full_queue(start_server, parameters):
    """503 at once, with a time to come back (R97)."""
    server = start_server(MODEL, parameters("max_batch_size { value: 1 } max_enqueued_batches { value: 1 }"), "--num_workers=8")
    for _ in range(20):
        refused = [answer for answer in post_many(server, 24) if answer.status_code != 200]
        if refused:
            break
    assert refused, "the queue was never full"
    for answer in refused:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.content == error_body("The batch scheduling queue to which this task was submitted is full")
    assert server.stop() == 0


def test_splitting(start_server, parameters):
    server = start_server(MODEL, parameters("max_batch_size { value: 4 } enable_large_batch_splitting { value: true }"))
    answer = post(server, 9)
    assert answer.status_code == 200 and len(answer.json()["predictions"]) == 9 and batch_rows(answer) <= 4
    assert server.stop() == 0


def test_timeout_gathers(start_server, parameters):
    server = start_server(MODEL, parameters("max_batch_size { value: 3 } batch_timeout_micros { value: 60000000 }"))
    answers = post_many(server, 3)
    assert [(answer.status_code, batch_rows(answer)) for answer in answers] == [(200, 3)] * 3
    assert server.stop() == 0


def test_parameters_of_a_version(start_server, tmp_path):
    shutil.copytree(MODEL / "1", tmp_path / "1")
    (tmp_path / "1").chmod(0o755)
    (tmp_path / "1/batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    server = start_server(tmp_path)
    assert post(server, 3).status_code == 200
    assert server.stop() == 0
    server = start_server(tmp_path, "--enable_per_model_batching_parameters")
    assert post(server, 3).content == error_body("Task size 3 is larger than maximum input batch size 2")
    assert server.stop() == 0


def test_parameters_that_are_wrong(launch, parameters):
    flag = parameters("max_batch_size { value: 0 }")
    server = launch(f"--model_base_path={MODEL}", "--monitoring_port=0", flag)
    assert server.wait() == 65 and "batching.config: max_batch_size: expected 1 to 4096, found 0" in server.log
    server = launch(f"--model_base_path={MODEL}", "--monitoring_port=0", flag, "--enable_batching=false")
    assert server.wait() == 2 and "does not go with --enable_batching=false" in server.log


def test_target(start_server):
    server = start_server(MODEL, "--target_latency_ms=200")
    assert all(answer.status_code == 200 for answer in post_many(server, 24))
    assert server.stop() == 0


def test_deadline_covers_decoding(start_server):
    """A call whose time is over while its pictures wait to be decoded ends there, and says how long it took in all."""
    server = start_server(MODEL, "--rest_api_timeout_in_ms=20", "--num_workers=1")
    answer = post(server, 200, jpeg(1500, 1500))
    message = answer.json()["error"]
    assert answer.status_code == 504 and message.startswith("no answer within ")
    assert float(message.split()[3]) >= 0.02
    assert server.stop() == 0
