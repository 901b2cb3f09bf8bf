"""The server with models in object storage: start, swap, half-written uploads, failures at the start."""
import json
import re
import threading
import time

import pytest
import requests

from emulators import GCS, S3, SAMPLE, SECRET, Web
from fault_proxy import after, cut, flip, s3_error, status, to
from waiting import eventually

QUICK = ["--rest_api_port=0", "--port=-1", "--monitoring_port=0", "--storage_max_retries=1", "--storage_timeout_in_ms=1000",
         "--load_retry_interval_micros=300000", "--enable_model_warmup=false"]
PIXELS = json.dumps({"instances": [[[[0.5, 0.25, 0.125]] * 64] * 64]})


@pytest.fixture(scope="module")
def storages(tmp_path_factory):
    made = {"s3": S3(), "gs": GCS(), "http": Web(tmp_path_factory.mktemp("web"))}
    for storage in made.values():
        storage.upload(SAMPLE, "m/1")
    yield made
    for storage in made.values():
        storage.stop()


@pytest.fixture(autouse=True)
def no_rules(storages):
    for storage in storages.values():
        storage.proxy.clear()


@pytest.fixture
def env(storages):
    return {**storages["s3"].env, **storages["gs"].env, **{k: v for k, v in storages["s3"].env.items() if v}}


def states(server, name):
    answer = requests.get(f"{server.url}/v1/models/{name}").json()
    return {int(v["version"]): v["state"] for v in answer.get("model_version_status", [])}


class Clients:
    """Ask one model after the other without a pause; everything that is no 200 is remembered."""

    def __init__(self, server, names):
        self.wrong, self.answered, self.stopping = [], 0, threading.Event()

        def work():
            session = requests.Session()
            while not self.stopping.is_set():
                for name in names:
                    answer = session.post(f"{server.url}/v1/models/{name}:predict", data=PIXELS)
                    self.answered += 1
                    if answer.status_code != 200:
                        self.wrong.append((name, answer.status_code, answer.text))

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()
        assert self.answered > 0 and not self.wrong, self.wrong[:3]


def test_a_model_of_each_storage(storages, env, launch, tmp_path):
    """One server, three storages: loaded, then a new version of each, half-written at first, while clients ask."""
    for storage in storages.values():
        storage.upload(SAMPLE, "swap/1")
    config = tmp_path / "models.config"
    models = [f'config {{ name: "{name}" base_path: "{storage.url("swap")}" model_platform: "tensorflow" }}' for name, storage in storages.items()]
    config.write_text("model_config_list {" + "".join(models) + "}")
    cache = tmp_path / "cache"
    flags = [f"--model_config_file={config}", f"--model_cache_dir={cache}", "--file_system_poll_wait_seconds=1", *QUICK]
    server = launch(*flags, env=env)
    assert server.port
    for name in storages:
        assert states(server, name) == {1: "AVAILABLE"}
        assert requests.post(f"{server.url}/v1/models/{name}:predict", data=PIXELS).status_code == 200
    clients = Clients(server, list(storages))

    # Version 2 appears with its model file and without its variables: it is noticed, and not served.
    for storage in storages.values():
        storage.upload(SAMPLE, "swap/2", but=("variables/variables.data-00000-of-00001",))
    for name, storage in storages.items():
        server.wait_for(rf"(model {name}, version 2, .*variables.*waiting for its files)")
        assert states(server, name)[1] == "AVAILABLE" and states(server, name)[2] != "AVAILABLE"

    # The rest arrives: served within a poll, the old version is drained.
    begin = time.monotonic()
    for storage in storages.values():
        storage.put("swap/2/variables/variables.data-00000-of-00001", (SAMPLE / "variables/variables.data-00000-of-00001").read_bytes())
    storages["http"].sum("swap")
    for name in storages:
        eventually(lambda: states(server, name) == {2: "AVAILABLE", 1: "END"}, f"{name} serves version 2 alone")
    print(f"three new versions served {time.monotonic() - begin:.1f} s after the last upload")

    # Storage goes away: what is served stays, and polling goes on when it is back.
    ports = {name: storage.proxy.port for name, storage in storages.items()}
    for storage in storages.values():
        storage.proxy.stop()
    server.wait_for(r"(model s3: .*Couldn't connect to server)")
    for name, storage in storages.items():
        storage.proxy.start(ports[name])
    storages["gs"].upload(SAMPLE, "swap/3")
    eventually(lambda: states(server, "gs").get(3) == "AVAILABLE", "polling goes on")
    clients.stop()
    assert server.stop() == 0, server.log
    assert SECRET not in server.log

    # Another start finds everything in the cache.
    for storage in storages.values():
        storage.proxy.clear()
    again = launch(*flags, env=env)
    assert again.port and again.stop() == 0
    assert "fetched" not in again.log
    for storage in storages.values():
        assert storage.proxy.count("variables.data") == 0


@pytest.fixture
def start(launch, env, tmp_path):
    def run(base, *flags, more={}):
        where = ["--model_name=m", f"--model_base_path={base}", f"--model_cache_dir={tmp_path}/cache"]
        return launch(*where, *QUICK, "--max_num_load_retries=1", *flags, env={**env, **more})
    return run


def last_line(server):
    return server.lines[-1]


def test_exit_codes(storages, start):
    s3 = storages["s3"]
    for url, code, words in ((s3.url("none"), 66, "no versions among 0 objects"), ("s3://nowhere/m", 66, "NoSuchBucket"), ("gs://nowhere/m", 66, "HTTP 404"),
                             ("ftp://h/m", 2, "expected a directory, gs://, s3://")):
        server = start(url)
        assert server.wait() == code and words in last_line(server), server.log
    s3.proxy.rule(to("list-type"), s3_error(403, "AccessDenied", "no"), -1)
    server = start(s3.url("m"))
    assert server.wait() == 77, server.log
    assert "s3://models/m: permission denied: HTTP 403 AccessDenied: no (asked with the access key ...WXYZ" in last_line(server)


def test_unreachable_at_the_start(storages, start, free_port):
    """As often as a load is retried, then 69; or it comes up meanwhile."""
    unreachable = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port}"}
    server = start("s3://models/m", more=unreachable)
    assert server.wait() == 69, server.log
    assert "retry 1 of 1 in 0.3 s" in server.log
    assert re.search(r"s3://models/m: http://127.0.0.1:\d+: Couldn't connect to server; 2 attempts", last_line(server))
    rule = storages["s3"].proxy.rule(to("list-type"), status(503), 2)  # both attempts of the first look
    server = start(storages["s3"].url("m"))
    assert server.port and rule.used == 2 and server.stop() == 0


def test_corrupt(storages, start, tmp_path):
    """On the way: the storage's checksum tells. In the storage, under a checksum that fits: the model's own does, and the object is named."""
    for storage in storages.values():
        storage.proxy.rule(to("variables.data"), flip(1234567), -1)
        server = start(storage.url("m"))
        assert server.wait() == 65 and f"{storage.url('m/1')}/variables/variables.data-00000-of-00001: corrupt: expected" in last_line(server), server.log
    damaged = bytearray((SAMPLE / "variables/variables.data-00000-of-00001").read_bytes())
    damaged[3000000] ^= 1
    s3 = storages["s3"]
    s3.upload(SAMPLE, "damaged/1")
    s3.put("damaged/1/variables/variables.data-00000-of-00001", bytes(damaged))
    s3.proxy.clear()
    server = start(s3.url("damaged"))
    assert server.wait() == 65 and re.search(r"s3://models/damaged/1: .*variables.data-00000-of-00001.*checksum", last_line(server)), server.log
    assert not any(entry.name.startswith("s3-models-damaged") for entry in (tmp_path / "cache").iterdir())  # not believed a second time


def test_killed_in_mid_download(storages, start):
    s3 = storages["s3"]
    port = s3.proxy.port
    s3.proxy.rule(to("variables.data"), lambda request, answer: (s3.proxy.stop(), cut(3000000)(request, answer))[1])
    server = start(s3.url("m"))
    try:
        assert server.wait() == 69, server.log
    finally:
        s3.proxy.start(port)
    assert "retry 1 of 1 in 0.3 s" in server.log
    assert re.search(r"model m, version 1[:,] s3://models/m/1.*127.0.0.1:\d+: Couldn't connect to server; 2 attempts", last_line(server))
    s3.proxy.clear()
    server = start(s3.url("m"))  # the same cache: what had come is not fetched again
    assert server.port and server.stop() == 0
    assert any(h.get("range") == "bytes=3000000-5682442" for _, p, h in s3.proxy.requests if "variables.data" in p)


def test_cache_size(storages, start, tmp_path):
    s3 = storages["s3"]
    s3.upload(SAMPLE, "room/1")
    server = start(s3.url("room"), "--model_cache_max_bytes=2000000")
    assert server.wait() == 65 and "9635418 bytes, and --model_cache_max_bytes is 2000000" in last_line(server), server.log
    # Room for one: the second model's version takes the place of the first's, which is served on.
    server = start(s3.url("room"), "--model_cache_max_bytes=15000000", "--file_system_poll_wait_seconds=1")
    assert server.port
    s3.upload(SAMPLE, "room/7")
    eventually(lambda: states(server, "m") == {7: "AVAILABLE", 1: "END"}, "version 7")
    entries = [entry.name for entry in (tmp_path / "cache").iterdir()]
    assert len(entries) == 1 and "room-7" in entries[0]
    assert requests.post(f"{server.url}/v1/models/m:predict", data=PIXELS).status_code == 200
    assert server.stop() == 0


def test_stopped_while_it_downloads(storages, start):
    """At the start, and while an old version serves."""
    s3 = storages["s3"]
    s3.proxy.rule(to("variables.data"), after(20), -1)
    patient = "--storage_timeout_in_ms=30000"
    server = start(s3.url("m"), patient)
    eventually(lambda: s3.proxy.count("variables.data") > 0, "a download")
    begin = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - begin < 5
    s3.proxy.clear()
    s3.upload(SAMPLE, "stop/1")
    server = start(s3.url("stop"), patient, "--file_system_poll_wait_seconds=1")
    assert server.port
    s3.proxy.rule(to("stop/8/variables/variables.data"), after(20), -1)
    s3.upload(SAMPLE, "stop/8")
    eventually(lambda: s3.proxy.count("stop/8/variables/variables.data") > 0, "a download of version 8")
    assert requests.post(f"{server.url}/v1/models/m:predict", data=PIXELS).status_code == 200
    begin = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - begin < 5
