"""assets.extra/tf_serving_warmup_requests: run before a version serves, and refused by record."""
import re
import shutil

import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from client import MODEL, picture, pixels


def predict_log(pictures=1, signature="serving_preprocess", key="image_bytes"):
    log = prediction_log_pb2.PredictionLog()
    message = log.predict_log.request
    message.model_spec.name = "whatever"
    message.model_spec.signature_name = signature
    message.inputs[key].CopyFrom(tf.make_tensor_proto([picture()] * pictures, tf.string))
    return log.SerializeToString()


def pixel_log():
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "m"
    log.predict_log.request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([pixels()], tf.float32))
    return log.SerializeToString()


def classify_log():
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.name = "m"
    return log.SerializeToString()


@pytest.fixture
def base(tmp_path):
    """base(records or bytes): a base path whose version 1 has such a warm-up file."""

    def make(records):
        version = tmp_path / "1"
        (version / "assets.extra").mkdir(parents=True)
        shutil.copytree(MODEL / "1", version, dirs_exist_ok=True)
        path = version / "assets.extra/tf_serving_warmup_requests"
        if isinstance(records, bytes):
            path.write_bytes(records)
        else:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in records:
                    writer.write(record)
        return tmp_path

    return make


def test_records_are_run(start_server, base):
    path = base([predict_log(), predict_log(40), pixel_log()])
    server = start_server(path, "--num_request_iterations_for_warmup=2")
    assert "model fashion, version 1: 3 warm-up records" in server.log
    assert requests.get(f"{server.url}/readyz").status_code == 200
    assert server.stop() == 0
    server = start_server(path, "--enable_model_warmup=false")
    assert "warm-up" not in server.log
    assert server.stop() == 0


def test_a_thousand_records_are_not_too_many(start_server, base):
    server = start_server(base([predict_log()] * 1000))
    assert "1000 warm-up records" in server.log
    assert server.stop() == 0


@pytest.mark.parametrize("records, words", [
    ([predict_log()] * 1001, "Number of warmup records exceeds the maximum (1000)"),
    (b"nothing of the kind", "record 1 at byte 0: the checksum of its length does not fit. Please verify your warmup data is in TFRecord format."),
    ([predict_log(), b"\xff\xff"], "warm-up record 2: Failed to parse warmup record"),
    ([predict_log(), predict_log(), classify_log()], "warm-up record 3: expected a predict_log with a request"),
    ([b""], "warm-up record 1: expected a predict_log with a request"),
    ([predict_log(signature="other")], "warm-up record 1: Serving signature key \"other\" not found."),
    ([predict_log(key="other")], "warm-up record 1: Signature input alias: image_bytes"),
    ([predict_log(513)], "warm-up record 1: Task size 513 is larger than maximum input batch size 512"),
])
def test_records_that_cannot_be_used(launch, base, records, words):
    path = base(records)
    server = launch(f"--model_base_path={path}", "--model_name=m", "--monitoring_port=0", "--rest_api_port=0", "--port=0",
                    "--file_system_poll_wait_seconds=0")
    assert server.wait() == 65
    assert re.search(rf"model m, version 1(, |: ){re.escape(str(path))}/1", server.log) and words in server.log


def answered_log(change=lambda probabilities, labels: None):
    """A record with TensorFlow's own answer, changed."""
    log = prediction_log_pb2.PredictionLog.FromString(predict_log())
    loaded = tf.saved_model.load(str(MODEL / "1"))
    answer = {key: value.numpy() for key, value in loaded.signatures["serving_preprocess"](image_bytes=tf.constant([picture()])).items()}
    change(answer["probabilities"], answer["labels"])
    for key, value in answer.items():
        log.predict_log.response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
    return log.SerializeToString()


def test_a_recorded_response_is_the_answer(start_server, base):
    server = start_server(base([answered_log()]))
    assert "1 warm-up records" in server.log
    assert server.stop() == 0


def raise_probability(probabilities, labels):
    probabilities[0, 0] += 0.01


def change_label(probabilities, labels):
    labels[0, 0] = b"Hat"


@pytest.mark.parametrize("change, words", [(raise_probability, "output probabilities: row 0 is off by 0.01"),
                                           (change_label, "output labels: row 0, place 0 is class")])
def test_another_response_refuses_the_version(launch, base, change, words):
    server = launch(f"--model_base_path={base([answered_log(change)])}", "--model_name=m", "--monitoring_port=0", "--rest_api_port=0", "--port=-1",
                    "--file_system_poll_wait_seconds=0")
    assert server.wait() == 65
    assert "warm-up record 1: signature serving_preprocess, " in server.log and words in server.log
