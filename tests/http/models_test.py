"""The life of models: configuration files, policies, labels, polling, swaps, failures, reload over gRPC."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import grpc
import pytest
import requests
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from client import MODEL, b64, error_body, picture
from waiting import PATIENCE_S, eventually

Code = grpc.StatusCode
AVAILABLE, ENDED = ("AVAILABLE", "OK"), ("END", "OK")


def link(base, *versions):
    """Versions of the sample model under `base`."""
    base.mkdir(exist_ok=True)
    for version in versions:
        (base / str(version)).symlink_to(MODEL / "1")
    return base


def model_config(name, base, rest=""):
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest} }}\n'


def config_text(*models):
    return "model_config_list {\n" + "".join(models) + "}\n"


def states(server, name="m"):
    """{version: (state, error_code)}; empty for an unknown model."""
    answer = requests.get(f"{server.url}/v1/models/{name}")
    if answer.status_code == 404:
        return {}
    return {int(s["version"]): (s["state"], s["status"]["error_code"]) for s in answer.json()["model_version_status"]}


def predict(server, target):
    body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]})
    return requests.post(f"{server.url}/v1/models/{target}:predict", data=body)


@pytest.fixture
def serve(launch):
    """serve(configuration file or base path, *flags): a server that is ready."""
    servers = []

    def start(source, *flags):
        where = [f"--model_config_file={source}"] if source.is_file() else ["--model_name=m", f"--model_base_path={source}"]
        server = launch(*where, "--rest_api_port=0", "--port=-1", "--monitoring_port=0", *flags)
        assert server.port
        servers.append(server)
        return server

    yield start
    for server in servers:
        assert server.stop() == 0, server.log


# ---- configuration ----

def test_configuration_file(serve, tmp_path):
    """Several models, every policy, labels."""
    config = tmp_path / "models.config"
    bases = {name: link(tmp_path / name, 1, 2, 3) for name in ("latest", "two", "all", "some")}
    config.write_text(config_text(
        model_config("latest", bases["latest"]),
        model_config("two", bases["two"], "model_version_policy { latest { num_versions: 2 } }"),
        model_config("all", bases["all"], "model_version_policy { all {} }"),
        model_config("some", bases["some"], """model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }
            version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 }""")))
    server = serve(config)
    assert states(server, "latest") == {3: AVAILABLE}
    assert states(server, "two") == {3: AVAILABLE, 2: AVAILABLE}
    assert states(server, "all") == {3: AVAILABLE, 2: AVAILABLE, 1: AVAILABLE}
    assert states(server, "some") == {3: AVAILABLE, 1: AVAILABLE}
    assert list(states(server, "all")) == [3, 2, 1]
    assert "version 9 is asked for and is not there" in server.log
    for target in ("latest", "latest/versions/3", "two/versions/2", "some/labels/stable", "some/labels/canary"):
        assert predict(server, target).status_code == 200, target
    assert predict(server, "latest/versions/2").content == error_body("Servable not found for request: Specific(latest, 2)")
    assert predict(server, "some/labels/beta").content == error_body("Unrecognized servable version label: beta")
    metadata = requests.get(f"{server.url}/v1/models/some/labels/stable/metadata").json()
    assert metadata["model_spec"]["version"] == "1"


@pytest.mark.parametrize("text, words", [
    ("model_config_list { config { nmae: 'x' } }", ":1:30: ModelConfig has no field \"nmae\""),
    ("", "expected a model_config_list"),
    ("custom_model_config { }", "expected a model_config_list"),
    ("model_config_list { config { base_path: '/x' } }", "the model's name is empty"),
    ("model_config_list { config { name: 'a/b' base_path: '/x' } }", "model name \"a/b\": it holds '/', ':' or a control character"),
    ("model_config_list { config { name: 'a' } }", "model a: base_path is missing"),
    ("model_config_list { config { name: 'a' base_path: '/x' model_platform: 'pytorch' } }", "expected \"tensorflow\""),
    ("model_config_list { config { name: 'a' base_path: '/x' } config { name: 'a' base_path: '/y' } }",
     "Illegal to list model a multiple times in config list"),
    ("model_config_list { config { name: 'a' base_path: '/x' version_labels { key: 's' value: -1 } } }", "version -1 is negative"),
])
def test_configuration_that_is_wrong(launch, tmp_path, text, words):
    config = tmp_path / "models.config"
    config.write_text(text)
    server = launch(f"--model_config_file={config}", "--monitoring_port=0")
    assert server.wait() == 65
    assert str(config) in server.log and words in server.log


def test_names_and_paths_that_are_refused(launch, tmp_path):
    for name in ("", "a/b", "a:b"):
        server = launch(f"--model_name={name}", f"--model_base_path={MODEL}")
        assert server.wait() == 2 and "--model_name: " in server.log
    for path in ("hdfs://host/model", "s3://b/model"):
        server = launch(f"--model_base_path={path}", "--monitoring_port=0")
        assert server.wait() == 2 and f"{path}: expected " in server.log
    server = launch(f"--model_config_file={tmp_path}/none", "--monitoring_port=0")
    assert server.wait() == 66 and "No such file" in server.log


def test_labels_at_start(launch, serve, tmp_path):
    """A label for a version that is not there: refused, unless the flag lets it wait."""
    config, base = tmp_path / "models.config", link(tmp_path / "m", 1)
    config.write_text(config_text(model_config("m", base, 'version_labels { key: "next" value: 2 }')))
    server = launch(f"--model_config_file={config}", "--monitoring_port=0", "--rest_api_port=0", "--port=0")
    assert server.wait() == 65
    assert "Request to assign label to version 2 of model m, which is not currently available for inference" in server.log
    server = serve(config, "--allow_version_labels_for_unavailable_models")
    assert predict(server, "m/labels/next").content == error_body("Servable not found for request: Specific(m, 2)")
    link(base, 2)
    eventually(lambda: predict(server, "m/labels/next").status_code == 200, "label next")


def test_one_model_of_two_is_enough(serve, tmp_path):
    """The other one is served when it comes."""
    config, base = tmp_path / "models.config", link(tmp_path / "m", 1)
    config.write_text(config_text(model_config("late", tmp_path / "late"), model_config("m", base)))
    server = serve(config)
    assert states(server) == {1: AVAILABLE} and states(server, "late") == {}
    assert "1 model(s) did not become available: {{{name: late} due to error: " in server.log
    link(tmp_path / "late", 5)
    eventually(lambda: states(server, "late") == {5: AVAILABLE}, "late")


def test_hangup(serve, tmp_path):
    """SIGHUP reads the file again; what is wrong with it changes nothing."""
    config = tmp_path / "models.config"
    first, second = link(tmp_path / "first", 1), link(tmp_path / "second", 1)
    config.write_text(config_text(model_config("m", first)))
    server = serve(config, "--file_system_poll_wait_seconds=0")
    config.write_text(config_text(model_config("other", second)))
    time.sleep(0.2)
    assert states(server, "other") == {}
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: states(server, "other") == {1: AVAILABLE} and states(server) == {1: ENDED}, "the second configuration")
    assert predict(server, "m").status_code == 404 and predict(server, "other").status_code == 200
    config.write_text("model_config_list { config { name: 'x' }")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(r"(the configuration stays as it is: .*:1:19: '\{' is never closed)")
    assert states(server, "other") == {1: AVAILABLE}
    link(second, 2)
    config.write_text(config_text(model_config("other", second)))
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: states(server, "other") == {2: AVAILABLE, 1: ENDED}, "a new version")


def test_hangup_without_a_file(serve, tmp_path):
    base = link(tmp_path / "m", 1)
    server = serve(base, "--file_system_poll_wait_seconds=0")
    link(base, 2)
    time.sleep(1.5)
    assert states(server) == {1: AVAILABLE}
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2")


def test_file_that_is_polled(serve, tmp_path):
    config, base = tmp_path / "models.config", link(tmp_path / "m", 1, 2)
    config.write_text(config_text(model_config("m", base, "model_version_policy { specific { versions: 1 } }")))
    server = serve(config, "--model_config_file_poll_wait_seconds=1")
    assert states(server) == {1: AVAILABLE}
    config.write_text(config_text(model_config("m", base, "model_version_policy { specific { versions: 2 } } version_labels { key: 'x' value: 2 }")))
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2")
    eventually(lambda: predict(server, "m/labels/x").status_code == 200, "label x")


# ---- versions that come and go ----

def test_versions_that_come_and_go(serve, tmp_path):
    base = link(tmp_path / "m", 1)
    server = serve(base)
    link(base, 2)
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2")
    assert predict(server, "m/versions/1").status_code == 404
    (base / "2").unlink()
    eventually(lambda: states(server) == {2: ENDED, 1: AVAILABLE}, "back to version 1")
    (base / "1").unlink()
    server.wait_for(r"(no versions, expected directories)")
    assert states(server) == {2: ENDED, 1: AVAILABLE} and predict(server, "m").status_code == 200
    base.rename(tmp_path / "away")
    server.wait_for(r"model m: (.*No such file)")
    assert predict(server, "m").status_code == 200
    assert requests.get(f"{server.url}/readyz").status_code == 200


def test_version_that_is_no_model(serve, tmp_path):
    """The last good one goes on, the failure is listed (R31), and files that change are tried again."""
    base = link(tmp_path / "m", 1)
    server = serve(base)
    broken = base / "2"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a protobuf")
    eventually(lambda: states(server).get(2, "?")[0] == "END", "version 2 given up")
    assert states(server)[2][1] == "DATA_LOSS" and states(server)[1] == AVAILABLE
    status = requests.get(f"{server.url}/v1/models/m/versions/2").json()["model_version_status"][0]
    assert str(broken) in status["status"]["error_message"]
    assert predict(server, "m").json() == predict(server, "m/versions/1").json()
    shutil.copytree(MODEL / "1/variables", broken / "variables")
    shutil.copy(MODEL / "1/saved_model.pb", broken)
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2 mended")


def test_version_that_is_being_copied(serve, tmp_path):
    """It is LOADING for as long as its files change, and never called broken."""
    base = link(tmp_path / "m", 1)
    server = serve(base)
    seen = set()
    half = base / "2"
    (half / "variables").mkdir(parents=True)
    shutil.copy(MODEL / "1/saved_model.pb", half)
    sources = sorted((MODEL / "1/variables").iterdir())
    for source in sources:
        whole = source.read_bytes()
        with open(half / "variables" / source.name, "wb") as out:
            for i in range(8):
                out.write(whole[i * len(whole) // 8:(i + 1) * len(whole) // 8])
                out.flush()
                if source == sources[-1] and i == 7:
                    break  # now it is whole
                time.sleep(0.4)
                seen.add(states(server).get(2))
                assert states(server)[1] == AVAILABLE
    assert seen <= {None, ("START", "OK"), ("LOADING", "OK")} and ("LOADING", "OK") in seen
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2")
    (failures,) = [line.split()[1] for line in requests.get(f"{server.monitoring_url}/metrics").text.splitlines()
                   if line.startswith('resnetd_model_load_failures_total{model="m"}')]
    assert int(failures) > 0


def test_resource_preserving_swap(serve, tmp_path):
    """The old version is gone before the new one is loaded."""
    base = link(tmp_path / "m", 1)
    server = serve(base, "--resource_preserving_swap")
    link(base, 2)
    eventually(lambda: states(server) == {2: AVAILABLE, 1: ENDED}, "version 2")
    log = server.log
    assert log.index("version 1: unloading") < log.index("model m, version 2:")


def test_other_path_same_number(serve, tmp_path, build_dir):
    """A configuration that moves a model's base path is followed although the version is called the same."""
    config = tmp_path / "models.config"
    moved = tmp_path / "moved/1"
    moved.mkdir(parents=True)
    subprocess.run([build_dir / "resnet-convert", MODEL / "1", moved], check=True, capture_output=True)
    config.write_text(config_text(model_config("m", link(tmp_path / "m", 1))))
    server = serve(config)
    config.write_text(config_text(model_config("m", tmp_path / "moved")))
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.log.count("model m, version 1: ") == 2, "loaded from its new place")
    assert states(server) == {1: AVAILABLE} and predict(server, "m").status_code == 200


# ---- gRPC ----

@pytest.fixture
def management(serve, tmp_path):
    """(server, reload(*models) -> response, base path of model m)"""
    base = link(tmp_path / "m", 1, 2)
    server = serve(base)
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)

        def reload(*models):
            message = model_management_pb2.ReloadConfigRequest()
            message.config.model_config_list.config.extend(models)
            return stub.HandleReloadConfigRequest(message, timeout=PATIENCE_S)

        reload.stub = stub
        yield server, reload, base


def described(name, base, specific=(), labels=()):
    message = model_server_config_pb2.ModelConfig(name=name, base_path=str(base), model_platform="tensorflow")
    if specific:
        message.model_version_policy.specific.versions.extend(specific)
    message.version_labels.update(labels)
    return message


def versions_of(stub, name):
    status = stub.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name}))
    return [(s.version, s.state, s.status.error_code) for s in status.model_version_status]


def test_reload_over_grpc(management):
    server, reload, base = management
    response = reload(described("m", base, (1, 2), {"stable": 1}), described("n", base, (2,)))
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert states(server) == {2: AVAILABLE, 1: AVAILABLE} and states(server, "n") == {2: AVAILABLE}
    assert predict(server, "m/labels/stable").status_code == 200
    assert versions_of(reload.stub, "m") == [(2, 30, 0), (1, 30, 0)]
    reload(described("n", base, (2,)))  # m is left out
    eventually(lambda: states(server) == {2: ENDED, 1: ENDED}, "m unloaded")
    assert predict(server, "m/labels/stable").content == error_body("Unrecognized servable version label: stable")
    assert versions_of(reload.stub, "m") == [(2, 50, 0), (1, 50, 0)]


def test_reload_of_nothing(management):
    server, reload, base = management
    reload()
    eventually(lambda: states(server) == {2: ENDED}, "nothing")
    assert requests.get(f"{server.url}/readyz").status_code == 503
    assert requests.get(f"{server.url}/healthz/ready").json() == {"reason": "no version of any model is available"}
    reload(described("m", base, (1,)))
    assert states(server) == {2: ENDED, 1: AVAILABLE}
    assert requests.get(f"{server.url}/readyz").status_code == 200


def assert_refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == code, error.value.details()
    for word in words:
        assert word in error.value.details()


def test_reload_that_is_not_understood(management):
    server, reload, base = management
    text = "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    custom = model_management_pb2.ReloadConfigRequest()
    custom.config.custom_model_config.type_url = "x"
    for message in (model_management_pb2.ReloadConfigRequest(), custom):
        assert_refused(lambda: reload.stub.HandleReloadConfigRequest(message), Code.INVALID_ARGUMENT, text)
    assert_refused(lambda: reload(described("m", base), described("m", base)), Code.INVALID_ARGUMENT,
                   "Illegal to list model m multiple times in config list")
    assert states(server) == {2: AVAILABLE}


def test_reload_that_fails(management, tmp_path):
    server, reload, base = management
    assert_refused(lambda: reload(described("m", base, (2,)), described("gone", tmp_path / "gone", (1,))), Code.UNKNOWN,
                   "1 model(s) did not become available: {", "name: gone", "No such file")
    assert states(server) == {2: AVAILABLE}
    assert_refused(lambda: reload(described("m", base, (2,), {"old": 1})), Code.FAILED_PRECONDITION,
                   "Request to assign label to version 1 of model m, which is not currently available for inference")
    assert predict(server, "m/labels/old").status_code == 400
    (tmp_path / "bad/3").mkdir(parents=True)
    (tmp_path / "bad/3/model.safetensors").write_bytes(b"nothing")
    assert_refused(lambda: reload(described("m", tmp_path / "bad", (3,))), Code.UNKNOWN,
                   "1 model(s) did not become available: {", "name: m version: 3")
    assert states(server)[2] == AVAILABLE and states(server)[3][0] == "END"  # the last good one serves on


def test_label_that_moves(management):
    server, reload, base = management
    reload(described("m", base, (1, 2), {"stable": 1, "next": 2}))
    reload(described("m", base, (1, 2), {"stable": 2}))
    metadata = requests.get(f"{server.url}/v1/models/m/labels/stable/metadata").json()
    assert metadata["model_spec"]["version"] == "2"
    assert predict(server, "m/labels/next").status_code == 400


# ---- under load ----

class Load:
    """Clients that send predict calls without a pause."""

    def __init__(self, server, count=4):
        self.stopping = threading.Event()
        self.answers, self.failures = 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(server,)) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, server):
        body = json.dumps({"signature_name": "serving_preprocess", "instances": [b64(picture())]})
        with requests.Session() as session:
            while not self.stopping.is_set():
                try:
                    answer = session.post(f"{server.url}/v1/models/m:predict", data=body, timeout=PATIENCE_S)
                    failure = None if answer.status_code == 200 else answer.text
                except requests.RequestException as error:
                    failure = repr(error)
                with self.lock:
                    self.answers += 1
                    if failure:
                        self.failures.append(failure)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("seconds", [20, pytest.param(180, marks=pytest.mark.soak)])
def test_swap_under_load(serve, tmp_path, seconds):
    """A new version every 2 s, and the end of the old one: nobody notices."""
    base = link(tmp_path / "m", 1)
    server = serve(base)
    load = Load(server)
    end = time.monotonic() + seconds
    version = 1
    while time.monotonic() < end:
        version += 1
        link(base, version)
        (base / str(version - 1)).unlink()
        time.sleep(2)
    eventually(lambda: states(server).get(version) == AVAILABLE, "the last version")
    load.stop()
    print(f"{load.answers} answers, {version - 1} swaps")
    assert load.failures == [] and load.answers > 4 * version
    eventually(lambda: sum(state == AVAILABLE for state in states(server).values()) == 1, "one version is left")


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.soak)])
def test_memory_over_reloads(management, sanitized, count):
    """Reload after reload, resident memory stays within 5 % of what it is after the first twenty."""
    server, reload, base = management
    resident = []
    for i in range(6 if sanitized else count):
        reload(described("m", base, (1 + i % 2,)))
        eventually(lambda: states(server).get(2 - i % 2, ENDED) == ENDED, "the other version unloaded")
        assert predict(server, "m").status_code == 200
        resident.append(resident_bytes(server) / 1e6)
    if not sanitized:  # their allocators keep what is freed
        print(f"{resident[20]:.1f} MB after 20 reloads, {resident[-1]:.1f} MB after {len(resident)}")
        assert resident[-1] < 1.05 * resident[20]
