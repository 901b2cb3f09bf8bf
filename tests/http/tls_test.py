"""TLS and certificates of clients on both ports, Unix sockets, and life without root and without a writable file system."""
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client import MODEL, PREDICT, pixels
from waiting import eventually

PIXELS = json.dumps({"instances": [pixels()] * 2}).encode()


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name, self.serial = folder, name, 0
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, name):
        """(certificate, key) for localhost."""
        self.serial += 1
        certificate, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("pem", "key", "csr"))
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-set_serial", self.serial, "-days", "2", "-extfile", extensions,
                "-out", certificate)
        return certificate, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def issued(authority):
    return authority.issue("server")


@pytest.fixture(scope="module")
def secure(start_server, issued):
    server = start_server(MODEL, f"--tls_certificate={issued[0]}", f"--tls_key={issued[1]}")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def mutual(start_server, issued, authority):
    server = start_server(MODEL, f"--tls_certificate={issued[0]}", f"--tls_key={issued[1]}", f"--tls_client_ca={authority.certificate}")
    yield server
    assert server.stop() == 0


def https(server):
    return f"https://localhost:{server.port}"


def secure_socket(server, authority, protocols=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=60), server_hostname="localhost")


def grpc_health(server, root, key=None, certificate=None):
    credentials = grpc.ssl_channel_credentials(root.read_bytes(), key and key.read_bytes(), certificate and certificate.read_bytes())
    target = server.grpc_target.replace("127.0.0.1", "localhost")
    with grpc.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status


# ---- TLS ----

def test_https(secure, authority):
    with requests.Session() as session:
        for _ in range(5):
            answer = session.post(https(secure) + PREDICT, data=PIXELS, verify=str(authority.certificate))
            assert answer.status_code == 200 and len(answer.json()["predictions"]) == 2
    large = b" " * 20_000_000 + PIXELS  # many records
    assert requests.post(https(secure) + PREDICT, data=large, verify=str(authority.certificate)).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(https(secure) + "/healthz")  # the authority is not one of the system's
    assert requests.get(f"{secure.monitoring_url}/readyz").status_code == 200  # probes stay simple


def test_protocol_by_alpn(secure, authority):
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["spdy/3"], None), (None, None)):
        with secure_socket(secure, authority, offered) as s:
            assert s.selected_alpn_protocol() == chosen
            assert s.version() == "TLSv1.3"
            if chosen == "h2":
                s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                assert s.recv(100)[3] == 4  # SETTINGS
            else:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                assert s.recv(100).startswith(b"HTTP/1.1 200 ")


def test_old_versions_are_refused(secure, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(socket.create_connection(("127.0.0.1", secure.port), timeout=60))


def test_plain_text_to_a_tls_port(secure, authority):
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 1000, b"\0" * 100):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=60) as s:
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            try:
                while s.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert requests.get(https(secure) + "/healthz", verify=str(authority.certificate)).status_code == 200


def test_grpc_over_tls(secure, authority):
    assert grpc_health(secure, authority.certificate) == 1
    with grpc.insecure_channel(secure.grpc_target) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)


# ---- certificates of clients ----

def test_mutual_tls(mutual, authority, tmp_path):
    mine, stranger = authority.issue("client"), Authority(tmp_path, "stranger").issue("other")
    url, root = https(mutual) + "/healthz", str(authority.certificate)
    assert requests.get(url, verify=root, cert=tuple(map(str, mine))).status_code == 200
    for certificate in (None, tuple(map(str, stranger))):
        with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
            requests.get(url, verify=root, cert=certificate)
    assert grpc_health(mutual, authority.certificate, mine[1], mine[0]) == 1
    for key, certificate in ((None, None), (stranger[1], stranger[0])):
        with pytest.raises(grpc.RpcError):
            grpc_health(mutual, authority.certificate, key, certificate)


# ---- files that change ----

def test_reload(start_server, authority, tmp_path):
    live = tmp_path / "tls.pem", tmp_path / "tls.key"

    def install(pair):
        for source, target in zip(pair, live):
            shutil.copy(source, str(target) + ".new")
            os.rename(str(target) + ".new", target)

    def serial():
        with secure_socket(server, authority) as s:
            return int(s.getpeercert()["serialNumber"], 16)

    first, second = authority.issue("first"), authority.issue("second")
    install(first)
    server = start_server(MODEL, f"--tls_certificate={live[0]}", f"--tls_key={live[1]}")
    before = serial()
    with requests.Session() as session:
        root = str(authority.certificate)
        assert session.get(https(server) + "/healthz", verify=root).status_code == 200
        install(second)
        eventually(lambda: serial() != before, "the second certificate")
        assert session.get(https(server) + "/healthz", verify=root).status_code == 200  # a connection that was open goes on
    assert grpc_health(server, authority.certificate) == 1
    assert "certificates were read again" in server.log
    live[0].write_text("nonsense")
    refusal = r"certificates that have changed are not used: .*tls.pem: expected a certificate in PEM"
    eventually(lambda: serial() == before + 1 and re.search(refusal, server.log), "the change refused")
    install(first)
    eventually(lambda: serial() == before, "the first certificate again")
    assert server.stop() == 0


def test_files_that_cannot_be_used(launch, issued, authority, tmp_path):
    certificate, key = issued
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    other = authority.issue("unrelated")[1]
    base = [f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0", "--monitoring_port=0"]
    for code, text, flags in (
        (2, "--tls_certificate and --tls_key are needed together", [f"--tls_certificate={certificate}"]),
        (2, "--tls_client_ca needs --tls_certificate", [f"--tls_client_ca={certificate}"]),
        (66, "/no/such: No such file", ["--tls_certificate=/no/such", f"--tls_key={key}"]),
        (65, "broken.pem: expected a certificate in PEM", [f"--tls_certificate={broken}", f"--tls_key={key}"]),
        (65, f"{certificate}: expected the private key of the certificate", [f"--tls_certificate={certificate}", f"--tls_key={certificate}"]),
        (65, f"{other}: expected the private key of the certificate", [f"--tls_certificate={certificate}", f"--tls_key={other}"]),
        (65, "broken.pem: expected certificates in PEM", [f"--tls_certificate={certificate}", f"--tls_key={key}", f"--tls_client_ca={broken}"]),
    ):
        process = launch(*base, *flags)
        assert process.wait() == code, process.log
        assert text in process.log


# ---- TensorFlow Serving's file ----

def quoted(file):
    return '"' + file.read_text().replace("\n", "\\n") + '"'


def ssl_config(path, pair, rest=""):
    """An SSLConfig in text form."""
    path.write_text(f"server_key: {quoted(pair[1])}\nserver_cert: {quoted(pair[0])}\n{rest}")
    return path


def test_ssl_config_file(start_server, authority, issued, tmp_path):
    """TLS on the gRPC port alone, as in TensorFlow Serving; the file is read again when it has changed and somebody connects."""
    stranger = Authority(tmp_path, "another")
    file = ssl_config(tmp_path / "ssl.config", issued, f"custom_ca: {quoted(authority.certificate)} client_verify: false")
    server = start_server(MODEL, f"--ssl_config_file={file}")
    assert requests.get(server.url + "/healthz").status_code == 200
    assert grpc_health(server, authority.certificate) == 1
    with grpc.insecure_channel(server.grpc_target) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
    ssl_config(file, stranger.issue("next"))

    def trusted():
        with contextlib.suppress(grpc.RpcError):
            return grpc_health(server, stranger.certificate) == 1

    eventually(trusted, "the stranger's certificate")
    assert server.stop() == 0


def test_ssl_config_file_that_asks_clients(start_server, authority, issued, tmp_path):
    """Beside --tls_certificate it is what the gRPC port goes by."""
    mine = authority.issue("client of gRPC")
    file = ssl_config(tmp_path / "ssl.config", issued, f"custom_ca: {quoted(authority.certificate)} client_verify: true")
    server = start_server(MODEL, f"--ssl_config_file={file}", f"--tls_certificate={issued[0]}", f"--tls_key={issued[1]}")
    assert requests.get(https(server) + "/healthz", verify=str(authority.certificate)).status_code == 200
    assert grpc_health(server, authority.certificate, mine[1], mine[0]) == 1
    with pytest.raises(grpc.RpcError):
        grpc_health(server, authority.certificate)
    ssl_config(file, issued)
    refusal = r"certificates that have changed are not used: .*ssl.config: client_verify is not what it was at the start"
    eventually(lambda: grpc_health(server, authority.certificate, mine[1], mine[0]) == 1 and re.search(refusal, server.log), "the change refused")
    assert server.stop() == 0


def test_ssl_config_files_that_cannot_be_used(launch, issued, tmp_path):
    file = tmp_path / "ssl.config"
    good = ssl_config(file, issued).read_text()
    for code, text, content in (
        (65, "ssl.config: server_cert is missing", "server_key: 'x'"),
        (65, "ssl.config: server_key is missing", "server_cert: 'x'"),
        (65, "ssl.config: custom_ca is missing, which client_verify needs", good + "client_verify: true"),
        (65, "ssl.config: expected a certificate in PEM", "server_key: 'x' server_cert: 'x'"),
        (65, "ssl.config:1:1: SslConfig has no field \"key\"", "key: 'x'"),
    ):
        file.write_text(content)
        process = launch(f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=-1", "--monitoring_port=0", f"--ssl_config_file={file}")
        assert process.wait() == code, process.log
        assert text in process.log


# ---- Unix sockets ----

def over_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(path))
        s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (PREDICT.encode(), len(PIXELS)) + PIXELS)
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_unix_sockets(start_server, launch, tmp_path):
    rest, rpc = tmp_path / "rest", tmp_path / "grpc"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(rest))  # as after a crash: a file, and nobody who listens
    server = start_server(MODEL, f"--rest_api_socket_path={rest}", f"--grpc_socket_path={rpc}")
    assert over_socket(rest).startswith(b"HTTP/1.1 200 ")
    assert requests.post(server.url + PREDICT, data=PIXELS).status_code == 200
    with grpc.insecure_channel(f"unix:{rpc}") as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
    second = launch(f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=0", "--monitoring_port=0", f"--rest_api_socket_path={rest}")
    assert second.wait() == 69 and f"socket {rest}: Address already in use" in second.log
    assert over_socket(rest).startswith(b"HTTP/1.1 200 ")
    assert server.stop() == 0
    assert not rest.exists()


def test_socket_paths_that_do_not_work(launch, tmp_path):
    base = [f"--model_base_path={MODEL}", "--rest_api_port=0", "--port=-1", "--monitoring_port=0"]
    (tmp_path / "file").write_text("not a socket")
    for code, text, path in ((65, "expected a path of less than", "/tmp/" + "x" * 200), (69, "No such file or directory", tmp_path / "no/such"),
                             (69, "Address already in use", tmp_path / "file")):
        process = launch(*base, f"--rest_api_socket_path={path}")
        assert process.wait() == code and text in process.log, process.log
    assert (tmp_path / "file").read_text() == "not a socket"


# ---- few rights ----

def test_without_root_on_a_read_only_file_system(build_dir, free_port, sanitized):
    """As a container runs it: user 65532, no capabilities, every mount read-only, no home."""
    if sanitized:
        pytest.skip("the leak sanitizer needs rights that are taken away here")
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("needs root to take rights away")
    script = ('mount --make-rprivate / && awk \'{print $5}\' /proc/self/mountinfo | while read m; do mount -o remount,bind,ro "$m" 2>/dev/null; done; '
              'if touch /tmp/x 2>/dev/null; then echo writable >&2; exit 99; fi; '
              'exec setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --no-new-privs env -i "$@"')
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(build_dir.resolve() / "resnetd"), "--model_name=fashion", f"--model_base_path={MODEL}",
               f"--rest_api_port={free_port}", "--port=-1", "--monitoring_port=0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/")
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "ready: REST" in line:
            break
    if process.poll() == 99 or any("unshare" in line or "mount" in line for line in lines):
        pytest.skip("mounts cannot be changed here")
    assert lines and "ready: REST" in lines[-1], lines
    assert requests.post(f"http://127.0.0.1:{free_port}{PREDICT}", data=PIXELS).status_code == 200
    process.terminate()
    assert process.wait(60) == 0
