"""Object storages on loopback: moto for S3 and STS, gcp-storage-emulator for Google Cloud Storage, Python's own web server for the rest."""
import functools
import hashlib
import http.server
import logging
import os
import pathlib
import socketserver
import threading

import boto3
import gcp_storage_emulator.server
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

from fault_proxy import Proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests/data/fashion_resnet101/1"
SECRET = "SECRETkeyTHATmustNEVERbeSHOWN0123456789"
KEY_ID = "AKIATESTTESTTESTWXYZ"
BUCKET = "models"
logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
logging.getLogger("werkzeug").setLevel(logging.ERROR)

# Nothing of the machine that runs the tests may take part.
CLEAN = {name: "" for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "GCE_", "STORAGE_")) or name.lower().endswith("_proxy")}
CLEAN.update({"AWS_EC2_METADATA_DISABLED": "true"})


def files_of(folder):
    """{relative name: path}"""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


class Storage:
    """upload(folder, key) puts a directory's files below a key, the model file last; `env` is what a client needs, through the proxy."""

    def upload(self, folder, key, but=()):
        names = files_of(folder)
        for name in sorted(names, key=lambda n: n in ("saved_model.pb", "model.safetensors")):
            if name not in but:
                self.put(f"{key}/{name}", names[name].read_bytes())

    def url(self, key):
        return f"{self.scheme}://{BUCKET}/{key}"


class S3(Storage):
    scheme = "s3"

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.proxy = Proxy(f"127.0.0.1:{port}")
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y",
                                   config=Config(retries={"max_attempts": 1}))
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key, body, **options):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body, **options)

    def delete(self, key):
        self.client.delete_object(Bucket=BUCKET, Key=key)

    @property
    def env(self):
        return {**CLEAN, "AWS_ENDPOINT_URL": self.proxy.url, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}

    def stop(self):
        self.proxy.stop()
        self.server.stop()


class GCS(Storage):
    scheme = "gs"

    def __init__(self):
        self.server = gcp_storage_emulator.server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
        self.server.start()
        self.port = self.server._api._httpd.server_address[1]
        self.proxy = Proxy(f"127.0.0.1:{self.port}")

    def put(self, key, body):
        answer = requests.post(f"http://127.0.0.1:{self.port}/upload/storage/v1/b/{BUCKET}/o", params={"uploadType": "media", "name": key}, data=body)
        assert answer.status_code == 200, answer.text

    def delete(self, key):
        requests.delete(f"http://127.0.0.1:{self.port}/storage/v1/b/{BUCKET}/o/{requests.utils.quote(key, safe='')}")

    @property
    def env(self):
        return {**CLEAN, "STORAGE_EMULATOR_HOST": self.proxy.url}

    def stop(self):
        self.proxy.stop()
        self.server.stop()


class Web(Storage):
    """A directory behind http.server, which answers no ranges. SHA256SUMS is made at the end of an upload."""
    scheme = "http"

    def __init__(self, folder):
        self.folder = folder

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.proxy = Proxy(f"127.0.0.1:{self.server.server_address[1]}")

    def put(self, key, body):
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def upload(self, folder, key, but=()):
        super().upload(folder, key, but)
        self.sum(key.split("/")[0])

    def sum(self, base):
        top = self.folder / base
        names = [n for n in files_of(top) if n != "SHA256SUMS"]
        (top / "SHA256SUMS").write_text("".join(f"{hashlib.sha256((top / n).read_bytes()).hexdigest()}  ./{n}\n" for n in names))

    def url(self, key):
        return f"{self.proxy.url}/{key}"

    @property
    def env(self):
        return CLEAN

    def stop(self):
        self.proxy.stop()
        self.server.shutdown()
        self.server.server_close()
