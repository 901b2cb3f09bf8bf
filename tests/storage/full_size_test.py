"""A full-size network from both emulators, with the emulator killed in mid-download. Takes a minute or two:

    python -m pytest -s -m soak tests/storage/full_size_test.py
"""
import subprocess
import sys
import time

import pytest

from emulators import GCS, ROOT, S3
from fault_proxy import cut, to

FLAGS = ["--rest_api_port=0", "--port=-1", "--monitoring_port=0", "--storage_max_retries=2", "--load_retry_interval_micros=500000", "--max_num_load_retries=1",
         "--enable_model_warmup=false"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, ROOT / "tools/oracle/make_models.py", out, "keras_v1"], check=True, capture_output=True)
    folder = out / "keras_v1"
    return folder / "1" if (folder / "1").is_dir() else folder


@pytest.mark.soak
@pytest.mark.parametrize("kind", [S3, GCS])
def test_full_size(kind, model, launch, tmp_path):
    storage = kind()
    try:
        storage.upload(model, "resnet101/1")
        base = ["--model_name=m", f"--model_base_path={storage.url('resnet101')}", f"--model_cache_dir={tmp_path}/cache", *FLAGS]
        port = storage.proxy.port
        storage.proxy.rule(to("variables.data"), lambda request, answer: answer, 2)  # two parts arrive
        storage.proxy.rule(to("variables.data"), lambda request, answer: (storage.proxy.stop(), cut(1000000)(request, answer))[1])
        server = launch(*base, env=storage.env)
        assert server.wait() == 69, server.log
        assert "attempts" in server.lines[-1] and storage.url("resnet101/1") in server.lines[-1]
        print(server.lines[-1])
        storage.proxy.start(port)
        storage.proxy.clear()
        begin = time.monotonic()
        server = launch(*base, env=storage.env)
        assert server.port
        fetched = server.wait_for(r"(resnet101/1: fetched .*)\n")
        print(f"{kind.__name__}: {fetched}; ready after {time.monotonic() - begin:.1f} s")
        begun = [h["range"] for m, p, h in storage.proxy.requests if m == "GET" and "variables.data" in p]
        total = sum(int(r.split("-")[1]) + 1 - int(r.split("=")[1].split("-")[0]) for r in begun)
        size = sum(p.stat().st_size for p in (model / "variables").glob("variables.data*"))
        print(f"of {size} bytes, {total} were fetched the second time")
        assert total < size - 1000000
        assert server.stop() == 0
    finally:
        storage.stop()
