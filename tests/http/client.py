"""What the tests of the HTTP interface share: small pictures, requests byte by byte."""
import base64
import io
import json
import pathlib
import socket

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/fashion_resnet101"
PICTURES = ROOT / "tests/data/pictures"
PREDICT = "/v1/models/fashion:predict"
SHAPE = (64, 64, 3)


def pixels(seed=0):
    """[64][64][3] numbers in [0, 1) with four decimals, as nested lists."""
    return np.random.default_rng(seed).random(SHAPE).round(4).tolist()


def b64(raw):
    return {"b64": base64.b64encode(raw).decode()}


def picture(name="bag.jpg"):
    return (PICTURES / name).read_bytes()


def jpeg(width, height, colour=(200, 30, 30)):
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "JPEG")
    return out.getvalue()


def error_body(message):
    """The exact bytes of an error."""
    return ('{\n    "error": ' + json.dumps(message, ensure_ascii=False) + "\n}").encode()


class Connection:
    """A TCP connection on which requests are written as bytes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream = self.socket.makefile("rb")

    def send(self, method, path, body=b"", headers=()):
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def read(self, head=False):
        """(code, headers, body) of the next answer; None when the server has closed the connection."""
        line = self.stream.readline()
        if not line:
            return None
        code, headers = int(line.split()[1]), {}
        while (line := self.stream.readline().strip()):
            name, value = line.decode().split(": ", 1)
            headers[name.lower()] = value
        return code, headers, b"" if head else self.stream.read(int(headers["content-length"]))

    def call(self, method, path, body=b"", headers=()):
        self.send(method, path, body, headers)
        return self.read(head=method == "HEAD")

    def close(self):
        self.stream.close()
        self.socket.close()
