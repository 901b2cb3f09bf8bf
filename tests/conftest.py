"""The server process for tests that talk to it as clients do.

start_server(base_path, "--flag=value", ..., name=..., env=...) starts build/resnetd (RN_BUILD names another build directory) on free ports, waits until
it is ready and returns a Server. `server` is one with the bundled model that all tests share: tests that stop or overload a server start their own.
"""
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import pytest

from waiting import PATIENCE_S, eventually

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "tests/data/fashion_resnet101"
SANITIZER_OPTIONS = {"LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0", "TSAN_OPTIONS": f"suppressions={ROOT}/tests/tsan.supp"}
SANITIZER_REPORT = re.compile(r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:)")


class Server:
    """A resnetd process. Its log grows in `lines`."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**SANITIZER_OPTIONS, **os.environ, **env})
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    @property
    def log(self):
        return "".join(self.lines)

    def wait_for(self, pattern):
        """The first group of `pattern` in the log, once it is there."""
        def found():
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(PATIENCE_S)
            match = re.search(pattern, self.log)
            assert match or not ended, f"no {pattern!r} in the log; exit code {self.process.poll()}:\n{self.log}"
            return match

        return eventually(found, lambda: f"{pattern!r} in the log:\n{self.log}").group(1)

    @property
    def port(self):
        return int(self.wait_for(r"ready: REST on port (\d+)\n"))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_target(self):
        port = self.wait_for(r"ready: gRPC on port (\d+)\n")
        return f"127.0.0.1:{port}"

    @property
    def monitoring_url(self):
        port = self.wait_for(r"health on port (\d+)\n")
        return f"http://127.0.0.1:{port}"

    def wait(self):
        """The exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def stop(self):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()


# Files that write and convert the most models. They are dealt out first, so that no process is left alone with one of them.
LONG_FILES = ("networks_test.py", "variants_test.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


@pytest.fixture(scope="session")
def build_dir():
    return ROOT / os.environ.get("RN_BUILD", "build")


@pytest.fixture(scope="session")
def sanitized(build_dir):
    """Whether this build is too slow for large loads."""
    return build_dir.name in ("asan", "tsan")


@pytest.fixture(scope="session")
def environment():
    """For a program of the build that a test starts by itself."""
    return {**SANITIZER_OPTIONS, **os.environ}


@pytest.fixture(scope="session")
def launch(build_dir):
    """launch(*arguments, env={}) starts resnetd, or another program of the build, with exactly these arguments and does not wait for anything."""
    servers = []

    def start(*arguments, env={}, program="resnetd"):
        servers.append(Server([build_dir / program, *map(str, arguments)], env))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            assert server.stop() == 0, server.log
        assert not SANITIZER_REPORT.search(server.log), server.log


@pytest.fixture(scope="session")
def start_server(launch):
    def start(base_path=MODEL, *flags, name="fashion", env={}):
        server = launch(f"--model_name={name}", f"--model_base_path={base_path}", "--rest_api_port=0", "--port=-1", "--monitoring_port=0", *flags, env=env)
        assert server.port
        return server

    return start


@pytest.fixture(scope="session")
def server(start_server):
    return start_server()


@pytest.fixture
def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
