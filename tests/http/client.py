"""What the tests of the HTTP interface share: small pictures, requests byte by byte."""
import base64
import contextlib
import io
import json
import pathlib
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions
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


class Http2:
    """An HTTP/2 connection by prior knowledge. `leaving`: the server has said GOAWAY."""

    leaving, unread = False, b""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def open(self, path="/healthz", body=None, end=True):
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", "GET" if body is None else "POST"), (":path", path), (":scheme", "http"), (":authority", "a")]
        self.h2.send_headers(stream, headers, end_stream=body is None)
        for at in range(0, len(body or b""), 16384):
            piece = body[at:at + 16384]
            while self.h2.local_flow_control_window(stream) < len(piece):
                self.flush()
                self.receive()
            self.h2.send_data(stream, piece, end_stream=end and at + 16384 >= len(body))
        return stream

    def receive(self):
        """The next events; None at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        self.unread += data
        events = []
        while len(self.unread) >= 9 and len(self.unread) >= (size := 9 + int.from_bytes(self.unread[:3], "big")):
            events += self.h2.receive_data(self.unread[:size])
            self.unread = self.unread[size:]
            if isinstance(events[-1] if events else None, h2.events.ConnectionTerminated) and events[-1].error_code == 0:
                self.leaving = True  # streams that are open go on, which the library does not know
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return events

    def answer(self, stream):
        """(code, body) of that stream, (None, None) without an answer; other streams' answers are dropped."""
        code, body = None, b""
        self.flush()
        while True:
            events = self.receive()
            if events is None:
                return None, None
            for event in events:
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    code = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamReset):
                    return event.error_code, None
                elif isinstance(event, h2.events.StreamEnded):
                    return code, body

    def is_closed(self):
        """Reads until the server has closed the connection."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, h2.exceptions.ProtocolError):  # frames that follow a GOAWAY
            while self.receive() is not None:
                pass
        return True
