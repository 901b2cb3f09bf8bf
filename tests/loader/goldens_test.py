"""Recorded answers: written by the converter, run by `verify` and by every server before it serves, refused when a device gives others."""
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess

import numpy as np
import pytest
import requests

from waiting import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests/data/fashion_resnet101/1"
PICTURES = ROOT / "tests/data/pictures"


@pytest.fixture(scope="module")
def convert(build_dir):
    def run(*arguments):
        done = subprocess.run([build_dir / "resnet-convert", *map(str, arguments), "--quiet"], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.fixture(scope="module")
def model(convert, tmp_path_factory):
    path = tmp_path_factory.mktemp("goldens") / "model.safetensors"
    code, _, errors = convert(SAMPLE, path, "--golden=3")
    assert code == 0, errors
    return path


def open_file(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + length]), bytearray(data[8 + length:])


def write_file(path, header, body):
    header["__metadata__"]["sha256"] = hashlib.sha256(body).hexdigest()
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def damage(model, out, output, change):
    """A copy whose recorded output `output` of the first golden is changed."""
    header, body = open_file(model)
    record = json.loads(header["__metadata__"]["golden"])[0]
    name = next(key for key in record["outputs"] if key and key.endswith(output))
    begin, end = header[name]["data_offsets"]
    values = np.frombuffer(bytes(body[begin:end]), np.float32).copy()
    change(values)
    body[begin:end] = values.tobytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, header, bytes(body))
    return out


def test_verify_runs_them(convert, model):
    code, words, errors = convert("verify", model)
    assert code == 0, errors
    lines = words.splitlines()
    assert lines[0].startswith("cpu ")
    assert [line.split(":")[0] for line in lines[1:]] == ["ok     signature serving_default, reference, 3 rows",
                                                          "ok     signature serving_preprocess, reference, 3 rows"]
    worst = [float(line.split(" of the largest")[0].rsplit(" ", 1)[1]) for line in lines[1:]]
    assert all(0 <= error < 1e-5 for error in worst), words


def test_verify_needs_some(convert, tmp_path):
    assert convert("verify", SAMPLE)[0] == 66
    assert convert(SAMPLE, tmp_path / "none", "--golden=0")[0] == 0
    code, _, errors = convert("verify", tmp_path / "none")
    assert code == 66 and "neither recorded answers nor warm-up records" in errors


@pytest.mark.parametrize("bad", [("--golden=-1",), ("--golden=x",), ("--dtype=fp8",), ("--image_input=torch",), ("--image_input=rgb", "--labels=x"),
                                 ("--labels=x",), ("--image_input=tf", "--labels=x", "--resize=256"),
                                 ("--image_input=tf", "--labels=x", "--resize=100", "--crop=101")])
def test_usage_of_the_options(convert, tmp_path, bad):
    assert convert(SAMPLE, tmp_path / "out", *bad)[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype, share", [("fp16", 0.6), ("bf16", 0.6)])
def test_filters_of_16_bits(convert, model, tmp_path, dtype, share):
    safetensors = pytest.importorskip("safetensors")
    out = tmp_path / "half"
    assert convert(SAMPLE, out, f"--dtype={dtype}", "--golden=3")[0] == 0
    assert out.stat().st_size < share * model.stat().st_size
    code, words, errors = convert("verify", out)
    assert code == 0 and words.count("ok ") == 2, words + errors
    with safetensors.safe_open(out, "np") as file:
        names = json.loads(file.metadata()["weights"])
        kinds = {file.get_slice(name).get_dtype() for name in names if len(file.get_slice(name).get_shape()) > 1}
    assert kinds == {{"fp16": "F16", "bf16": "BF16"}[dtype]}


def test_int8_allows_what_it_is_off_by_itself(convert, tmp_path):
    calibration = tmp_path / "pictures"
    calibration.mkdir()
    for path in PICTURES.glob("*.png"):
        shutil.copy(path, calibration)
    assert convert(SAMPLE, tmp_path / "int8", "--dtype=int8", f"--calibration={calibration}")[0] == 0
    code, words, errors = convert("verify", tmp_path / "int8")
    assert code == 0 and words.count("ok ") == 2, words + errors
    header, _ = open_file(tmp_path / "int8")
    assert all(0 < record["allowed"] < 1 for record in json.loads(header["__metadata__"]["golden"]))


def test_a_wrong_answer_fails_verify(convert, model, tmp_path):
    def shift(values):
        values[1] += 0.5
    path = damage(model, tmp_path / "wrong", "logits", shift)
    code, words, errors = convert("verify", path)
    assert code == 65 and words.count("FAILED") == 1 and words.count("ok ") == 1
    assert 'self-test: signature serving_default, output logits: row 0 of the recorded answer "reference" is off by 0.5' in errors


def test_a_label_out_of_place_fails_verify(convert, model, tmp_path):
    """Labels are held against the recorded values of all classes."""
    def swap(values):
        row = values.reshape(3, -1)[0]
        first, last = row.argmax(), row.argmin()
        row[first], row[last] = row[last], row[first]
    header, _ = open_file(model)
    outputs = [[key for key in record["outputs"]] for record in json.loads(header["__metadata__"]["golden"])]
    assert sum(key is not None and key.endswith("labels") for keys in outputs for key in keys) == 1
    record = [record for record in json.loads(header["__metadata__"]["golden"]) if any(key and key.endswith("labels") for key in record["outputs"])]
    header["__metadata__"]["golden"] = json.dumps(record)
    _, body = open_file(model)
    write_file(tmp_path / "one", header, bytes(body))
    code, _, errors = convert("verify", damage(tmp_path / "one", tmp_path / "swapped", "labels", swap))
    assert code == 65 and "output labels" in errors


@pytest.mark.parametrize("change, words", [
    (lambda record: record.update(signature=7), "a golden record of no signature"),
    (lambda record: record.update(input="no such tensor"), "a golden record names no tensor"),
    (lambda record: record.update(input=record["outputs"][0]), "does not fit its signature"),
])
def test_records_that_do_not_fit(convert, model, tmp_path, change, words):
    header, body = open_file(model)
    records = json.loads(header["__metadata__"]["golden"])
    change(records[0])
    header["__metadata__"]["golden"] = json.dumps(records)
    write_file(tmp_path / "bad", header, bytes(body))
    code, _, errors = convert("show", tmp_path / "bad")
    assert code == 65 and words in errors, errors


def metric(url, name):
    lines = [line for line in requests.get(f"{url}/metrics", timeout=60).text.splitlines() if line.startswith(name + "{")]
    return {line.split("{")[1].split("}")[0]: float(line.split()[-1]) for line in lines}


def test_a_server_refuses_a_version_that_answers_otherwise(model, start_server, tmp_path):
    """Version 1 serves, version 2 is refused; without the latter's damage it would have served."""
    def shift(values):
        values[0] -= 1
    (tmp_path / "1").mkdir()
    shutil.copy(model, tmp_path / "1/model.safetensors")
    server = start_server(tmp_path, "--file_system_poll_wait_seconds=1", name="m")
    url = f"{server.url}/v1/models/m"
    assert metric(server.monitoring_url, "resnetd_selftest_max_abs_error")['model_name="m",model_version="1"'] < 1e-3
    damage(model, tmp_path / "new/model.safetensors", "logits", shift)
    (tmp_path / "new").rename(tmp_path / "2")

    def states_at_end():
        found = {state["version"]: state for state in requests.get(url, timeout=60).json()["model_version_status"]}
        return found if found.get("2", {}).get("state") == "END" else None

    states = eventually(states_at_end, "version 2 given up")
    assert states["2"]["status"]["error_code"] == "FAILED_PRECONDITION", states
    assert "output logits" in states["2"]["status"]["error_message"] and "is off by 1" in states["2"]["status"]["error_message"]
    assert states["1"]["state"] == "AVAILABLE"
    assert metric(server.monitoring_url, "resnetd_selftest_max_abs_error")['model_name="m",model_version="2"'] == pytest.approx(1, abs=1e-3)
