"""A proxy in front of an emulator that does to its answers what networks and storages do: refuse, delay, cut, corrupt.

A rule is (matches, action, times): the first rule whose `matches(request)` holds and that has times left acts. Actions are functions of (request, answer);
`answer` is what the emulator would say: an Answer, or None where it has not been asked because the rule says so itself.
"""
import http.client
import http.server
import re
import socket
import socketserver
import threading
import time
import urllib.parse


class Answer:
    def __init__(self, status, headers, body, cut_at=None, slow=None):
        self.status, self.headers, self.body = status, headers, body
        self.cut_at = cut_at  # bytes of the body after which the connection is closed
        self.slow = slow  # seconds between two pieces of the body


class Rule:
    def __init__(self, matches, action, times):
        self.matches, self.action, self.left = matches, action, times
        self.used = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one(self):
        proxy = self.server.proxy
        if self.server.dead:
            self.reply(None)
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.request_body = self.rfile.read(length) if length else b""
        with proxy.lock:
            proxy.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            rule = next((r for r in proxy.rules if r.left != 0 and r.matches(self)), None)
            if rule:
                rule.left -= 1
                rule.used += 1
        answer = rule.action(self, proxy.forward(self)) if rule else proxy.forward(self)
        self.reply(answer)

    do_GET = do_HEAD = do_PUT = do_POST = handle_one

    def reply(self, answer):
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if answer.cut_at is not None:
                self.wfile.write(answer.body[:answer.cut_at])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif answer.slow is not None:
                for i in range(0, len(answer.body), 1024):
                    self.wfile.write(answer.body[i:i + 1024])
                    self.wfile.flush()
                    time.sleep(answer.slow)
            else:
                self.wfile.write(answer.body)
        except OSError:
            self.close_connection = True


class Proxy:
    """Listens on loopback; `url` is what clients are told."""

    def __init__(self, upstream):
        self.upstream = upstream  # "127.0.0.1:port", or None: rules alone answer
        self.rewrite = None  # path -> what the emulator is asked for
        self.rules, self.requests, self.lock = [], [], threading.Lock()
        self.start()

    def start(self, port=0):
        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 64
            allow_reuse_address = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.server.proxy = self
        self.server.dead = False
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        """Nobody listens any more, as when the emulator were killed."""
        self.server.dead = True  # for connections that are open
        self.server.shutdown()
        self.server.server_close()

    def rule(self, matches, action, times=1):
        """times=-1: always."""
        rule = Rule(matches, action, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self):
        with self.lock:
            self.rules.clear()
            self.requests.clear()

    def forward(self, request):
        if self.upstream is None:
            return None
        host, port = self.upstream.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("connection", "accept-encoding")}
            path = re.sub(r"^http://[^/]+", "", request.path)  # asked as a proxy
            path = self.rewrite(path) if self.rewrite else path
            connection.request(request.command, path, body=request.request_body or None, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            drop = ("transfer-encoding", "connection", "date", "server") + (() if request.command == "HEAD" else ("content-length",))
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in drop]
            if request.command != "HEAD":
                kept.append(("Content-Length", str(len(body))))
            return Answer(answer.status, kept, body)
        except OSError:
            return None
        finally:
            connection.close()

    def count(self, text, method="GET"):
        with self.lock:
            return sum(m == method and text in urllib.parse.unquote(p) for m, p, _ in self.requests)


# ---- which requests ----

def to(text, method="GET"):
    """Requests of the method whose decoded path and query hold `text`."""
    return lambda request: request.command == method and text in urllib.parse.unquote(request.path)


# ---- what happens to them ----

def status(code, body=b"", headers=()):
    return lambda request, answer: Answer(code, [("Content-Length", str(len(body))), *headers], body)


def s3_error(status_code, code, message="no reason", extra=""):
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>'.encode()
    return status(status_code, body, [("Content-Type", "application/xml")])


def cut(at):
    def action(request, answer):
        answer.cut_at = at
        return answer
    return action


def slow(seconds):
    def action(request, answer):
        answer.slow = seconds
        return answer
    return action


def flip(at):
    """One bit of the body."""
    def action(request, answer):
        body = bytearray(answer.body)
        body[at] ^= 1
        answer.body = bytes(body)
        return answer
    return action


def hang_up(request, answer):
    return None


def after(seconds):
    def action(request, answer):
        time.sleep(seconds)
        return answer
    return action
