"""KServe's Python SDK as the client, unmodified: the protocol v2 over REST and gRPC, and v1 as far as TensorFlow Serving speaks it."""
import pathlib
import subprocess
import sys


def test_client(server):
    program = pathlib.Path(__file__).with_name("kserve_client.py")
    done = subprocess.run([sys.executable, program, server.url, server.grpc_target], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 9
