"""`resnetd fetch` against storages that work and storages that do not. Every message is searched for secrets."""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import zlib

import google_crc32c
import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from emulators import BUCKET, CLEAN, GCS, S3, SAMPLE, SECRET, Web, files_of
from fault_proxy import Answer, Proxy, cut, flip, hang_up, s3_error, slow, status, to

MIB = 1 << 20
SAVED_MODEL, VARIABLES = "m/1/saved_model.pb", "m/1/variables/variables.data-00000-of-00001"
BIG = os.urandom(18 * MIB)  # two parts


@pytest.fixture(scope="module", params=["s3", "gs", "http"])
def storage(request, tmp_path_factory):
    s = {"s3": S3, "gs": GCS, "http": lambda: Web(tmp_path_factory.mktemp("web"))}[request.param]()
    s.upload(SAMPLE, "m/1")
    s.put("big/1/saved_model.pb", b"no model")
    s.put("big/1/assets/a b+c%2F.bin", BIG)
    if request.param == "http":
        s.sum("big")
    yield s
    s.stop()


@pytest.fixture(scope="module")
def s3():
    s = S3()
    s.upload(SAMPLE, "m/1")
    yield s
    s.stop()


@pytest.fixture(scope="module")
def gcs():
    s = GCS()
    s.upload(SAMPLE, "m/1")
    yield s
    s.stop()


@pytest.fixture(autouse=True)
def no_rules(request):
    for name in ("storage", "s3", "gcs"):
        if name in request.fixturenames:
            request.getfixturevalue(name).proxy.clear()


class Fetch:
    def __init__(self, build_dir, folder):
        self.program, self.folder = build_dir / "resnetd", folder
        self.log = ""

    def __call__(self, storage, url, *flags, env={}, code=0, secrets=()):
        command = [self.program, "fetch", f"--from={url}", f"--to={self.folder}", "--storage_max_retries=2", "--storage_timeout_in_ms=1000", *flags]
        ended = subprocess.run(command, env={**os.environ, **(storage.env if storage else CLEAN), **env}, capture_output=True, text=True, timeout=120)
        self.log = ended.stderr
        assert ended.returncode == code, (ended.returncode, self.log)
        assert not re.search("Sanitizer|runtime error", self.log), self.log
        for secret in (SECRET, *secrets):
            assert secret not in self.log
        return self.log


@pytest.fixture
def fetch(build_dir, tmp_path):
    return Fetch(build_dir, tmp_path / "to")


def same(folder, expected):
    found = files_of(folder)
    assert list(found) == list(files_of(expected))
    return all(found[name].read_bytes() == path.read_bytes() for name, path in files_of(expected).items())


# ---- what works ----

def test_fetch(storage, fetch):
    log = fetch(storage, storage.url("m"), "--verify")
    assert same(fetch.folder / "1", SAMPLE)
    assert "4 objects, 9635418 bytes in" in log and "ResNet-101 v2, 64x64x3, 10 classes; loads" in log
    # A second time: what is there and right is not fetched, what is not is.
    (fetch.folder / "1/variables/variables.index").write_bytes(b"x" * 60360)
    storage.proxy.clear()
    fetch(storage, storage.url("m"))
    assert same(fetch.folder / "1", SAMPLE)
    assert storage.proxy.count("variables.index") >= 1 and storage.proxy.count("saved_model.pb") == 0


def test_one_version_and_one_file(storage, fetch):
    fetch(storage, storage.url("m/1/"))
    assert same(fetch.folder, SAMPLE)
    storage.put("f/resnet.safetensors", b"content")
    fetch.folder = fetch.folder.with_name("file")
    fetch(storage, storage.url("f/resnet.safetensors"))
    assert (fetch.folder / "model.safetensors").read_bytes() == b"content"


def test_dry_run(storage, fetch, tmp_path):
    assert "2 objects, 18874376 bytes to fetch" in fetch(storage, storage.url("big"), "--dry-run")
    assert not fetch.folder.exists()
    cache = tmp_path / "cache"
    log = fetch(storage, storage.url("m"), "--dry-run", "--verify", f"--model_cache_dir={cache}")
    assert "loads" in log and not fetch.folder.exists() and list(cache.iterdir()) == []
    assert "big/1: " in fetch(storage, storage.url("big"), "--dry-run", "--verify", f"--model_cache_dir={cache}", code=65)


def test_parts_and_odd_names(storage, fetch):
    fetch(storage, storage.url("big"))
    assert (fetch.folder / "1/assets/a b+c%2F.bin").read_bytes() == BIG
    ranges = {h.get("range") for m, p, h in storage.proxy.requests if m == "GET" and "assets" in p}
    assert ranges == ({None} if storage.scheme == "http" else {"bytes=0-16777215", "bytes=16777216-18874367"})


def test_the_highest_version(s3, fetch):
    for version in ("9", "010", "2"):
        s3.put(f"several/{version}/saved_model.pb", version.encode())
    s3.put("several/11/variables/variables.index", b"no model file yet")
    s3.put("several/notes/saved_model.pb", b"no version")
    fetch(s3, s3.url("several"))
    assert list(files_of(fetch.folder)) == ["010/saved_model.pb"]
    s3.put("twice/1/saved_model.pb", b"1")
    s3.put("twice/01/saved_model.pb", b"1")
    assert "are both version 1" in fetch(s3, s3.url("twice"), code=65)


def test_pages(s3, gcs, fetch):
    """Listings in pieces: S3 is asked for two keys at a time, and the emulator's whole listing is cut up for GCS."""
    s3.proxy.rewrite = lambda path: path + "&max-keys=2" if "list-type=2" in path else path
    try:
        fetch(s3, s3.url("m"))
    finally:
        s3.proxy.rewrite = None
    assert same(fetch.folder / "1", SAMPLE)
    assert s3.proxy.count("continuation-token=") > 1

    def page(request, answer):
        token = re.search(r"pageToken=(\d+)", request.path)
        at = int(token.group(1)) if token else 0
        items = json.loads(answer.body)["items"]
        body = json.dumps({"items": items[at:at + 2], **({"nextPageToken": str(at + 2)} if at + 2 < len(items) else {})}).encode()
        return Answer(200, [("Content-Length", str(len(body)))], body)

    gcs.proxy.rule(to("/o?"), page, -1)
    fetch.folder = fetch.folder.with_name("gcs")
    fetch(gcs, gcs.url("m"))
    assert same(fetch.folder / "1", SAMPLE)
    assert gcs.proxy.count("pageToken=2") > 1


def test_through_a_proxy(s3, fetch):
    direct = f"http://{s3.proxy.upstream}"
    fetch(s3, s3.url("m"), env={"AWS_ENDPOINT_URL": direct, "HTTP_PROXY": s3.proxy.url})
    assert all(path.startswith("http://") for _, path, _ in s3.proxy.requests) and s3.proxy.requests
    s3.proxy.clear()
    fetch(s3, s3.url("m"), env={"AWS_ENDPOINT_URL": direct, "http_proxy": s3.proxy.url, "NO_PROXY": "127.0.0.1"})
    assert not s3.proxy.requests


# ---- what is not there, or not allowed ----

def test_not_found(storage, fetch):
    assert "nothing" in fetch(storage, storage.url("nothing"), code=66)
    if storage.scheme != "http":
        log = fetch(storage, f"{storage.scheme}://other-bucket/m", code=66)
        assert f"{storage.scheme}://other-bucket/m: not found: HTTP 404" in log


def test_forbidden(storage, fetch):
    refusal = s3_error(403, "AccessDenied", "Access Denied") if storage.scheme == "s3" else status(403, b'{"error": {"message": "no access"}}')
    storage.proxy.rule(to(""), refusal, -1)
    log = fetch(storage, storage.url("m"), code=77)
    assert storage.url("m") in log and "permission denied: HTTP 403" in log and len(log.splitlines()) == 1
    assert {"s3": "AccessDenied: Access Denied (asked with the access key ...WXYZ of AWS_ACCESS_KEY_ID)",
            "gs": "no access (asked without credentials, as emulators are)",
            "http": ""}[storage.scheme] in log
    storage.proxy.clear()
    storage.proxy.rule(to(VARIABLES), status(403), -1)
    assert f"{storage.url(VARIABLES)}: permission denied" in fetch(storage, storage.url("m"), code=77)


def test_usage(fetch, build_dir):
    run = lambda *arguments: subprocess.run([build_dir / "resnetd", "fetch", *arguments], capture_output=True, text=True, env={**os.environ, **CLEAN})
    for message, *arguments in (("--from is needed",), ("--to is needed", "--from=s3://bucket/m"), ("expected a URL", "--from=/models", "--to=x"),
                                ("expected a directory, gs://", "--from=ftp://h/m", "--to=x"),
                                ("unknown argument \"--port=1\"", "--from=s3://bucket/m", "--port=1"),
                                ("name and password", "--from=http://u:p@h/m", "--to=x"), ("was not replaced", "--from=s3://$(B)/m", "--to=x"),
                                ("--storage_max_retries: expected 0 to 100", "--from=s3://bucket/m", "--to=x", "--storage_max_retries=999")):
        ended = run(*arguments)
        assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
    assert run("--help").returncode == 0 and "--dry-run" in run("--help").stdout


# ---- what passes ----

def test_errors_that_pass(storage, fetch):
    storage.proxy.rule(to("m/", "GET"), status(500), 2)
    storage.proxy.rule(to("variables.index"), hang_up)
    storage.proxy.rule(to(SAVED_MODEL), s3_error(503, "SlowDown"), 2)
    fetch(storage, storage.url("m"))
    assert same(fetch.folder / "1", SAMPLE)


def test_errors_that_stay(storage, fetch):
    storage.proxy.rule(to(SAVED_MODEL), s3_error(503, "SlowDown", "Reduce your request rate.") if storage.scheme == "s3" else status(503), -1)
    log = fetch(storage, storage.url("m"), code=69)
    assert f"{storage.url(SAVED_MODEL)}: the storage does not serve it: HTTP 503" in log.splitlines()[-1] and "3 attempts" in log
    assert ("SlowDown: Reduce your request rate." in log) == (storage.scheme == "s3")
    assert storage.proxy.count(SAVED_MODEL) == 3


def test_cut_in_mid_body(storage, fetch):
    storage.proxy.rule(to(SAVED_MODEL), cut(1000000))
    fetch(storage, storage.url("m"))
    assert same(fetch.folder / "1", SAMPLE)
    if storage.scheme != "http":
        ranges = [h.get("range") for m, p, h in storage.proxy.requests if m == "GET" and p.split("?")[0].endswith("saved_model.pb")]
        assert ranges == [None, "bytes=1000000-3892515"], ranges  # only what is missing


def test_slow(storage, fetch):
    """Below 1 KB a second a connection counts as dead."""
    rule = storage.proxy.rule(to(SAVED_MODEL), slow(1.5))
    fetch(storage, storage.url("m"))
    assert same(fetch.folder / "1", SAMPLE) and rule.used == 1


def test_wrong_bytes_once(storage, fetch):
    storage.proxy.rule(to(VARIABLES), flip(77777))
    fetch(storage, storage.url("m"))
    assert same(fetch.folder / "1", SAMPLE)
    assert storage.proxy.count(VARIABLES) == 2


def test_wrong_bytes(storage, fetch):
    storage.proxy.rule(to(VARIABLES), flip(77777), -1)
    log = fetch(storage, storage.url("m"), code=65)
    assert f"fetched 2 times: {storage.url(VARIABLES)}: corrupt: expected {dict(s3='CRC32', gs='CRC32C', http='SHA-256')[storage.scheme]} " in log
    assert not (fetch.folder / "1/saved_model.pb").exists()  # nothing that looks like a version


def test_killed_in_mid_download(storage, fetch):
    """Nobody listens any more: tried again, then given up with one line; later only the rest is fetched."""
    name = "big/1/assets"
    storage.proxy.rule(to(name), lambda request, answer: (storage.proxy.stop(), cut(MIB)(request, answer))[1])
    log = fetch(storage, storage.url("big"), code=69)
    port = storage.proxy.port
    assert re.search(rf"assets/a b\+c%2F.bin: http://127.0.0.1:{port}: Couldn't connect to server; 3 attempts\n$", log), log
    assert len([line for line in log.splitlines() if "attempts" in line]) == 1
    storage.proxy.clear()
    storage.proxy.start(port)
    fetch(storage, storage.url("big"))
    assert (fetch.folder / "1/assets/a b+c%2F.bin").read_bytes() == BIG
    begun = [int(h["range"].split("=")[1].split("-")[0]) for m, p, h in storage.proxy.requests if m == "GET" and "assets" in p and "range" in h]
    assert any(begin % (16 * MIB) for begin in begun), begun


def test_changed_meanwhile(s3, gcs, fetch):
    for storage in (s3, gcs):
        storage.put("changing/1/saved_model.pb", b"1" * 1000)
        storage.put("changing/1/other", b"1" * 1000)

        def overwrite(request, answer, storage=storage):
            storage.put("changing/1/other", b"2" * 999)
            return answer

        storage.proxy.rule(to("changing/1/saved_model.pb"), overwrite)
        fetch.folder = fetch.folder.with_name(storage.scheme)
        log = fetch(storage, storage.url("changing"), code=65)
        assert "changed" in log
        fetch(storage, storage.url("changing"))
        assert (fetch.folder / "1/other").read_bytes() == b"2" * 999


def test_checksums_of_s3(s3, fetch):
    """Whatever the uploader asked S3 to keep; a composite one says nothing about the whole."""
    body = os.urandom(100000)
    values = {"SHA256": hashlib.sha256(body).digest(), "CRC32C": google_crc32c.Checksum(body).digest(), "CRC32": zlib.crc32(body).to_bytes(4, "big")}
    for algorithm, name in (("SHA256", "SHA-256"), ("CRC32C", "CRC32C"), ("CRC32", "CRC32")):
        headers = {"x-amz-sdk-checksum-algorithm": algorithm, f"x-amz-checksum-{algorithm.lower()}": base64.b64encode(values[algorithm]).decode()}
        assert requests.put(f"http://{s3.proxy.upstream}/{BUCKET}/sums/{algorithm}/1/saved_model.pb", data=body, headers=headers).status_code == 200
        s3.proxy.rule(to(f"sums/{algorithm}"), lambda r, a: flip(5)(r, a) if r.path.endswith(".pb") else a, -1)
        assert f"corrupt: expected {name} " in fetch(s3, s3.url(f"sums/{algorithm}"), code=65)
    s3.proxy.clear()

    def only(**headers):
        def action(request, answer):
            answer.headers = [(k, v) for k, v in answer.headers if not k.lower().startswith("x-amz-checksum")]
            answer.headers += [(k.replace("_", "-"), v) for k, v in headers.items()]
            return answer
        return action

    path = "sums/SHA256/1/saved_model.pb"
    for headers, outcome in (({}, "MD5"), ({"x_amz_server_side_encryption": "aws:kms"}, None), ({"x_amz_checksum_crc64nvme": "rosUhgp5mIg="}, "CRC64NVME"),
                             ({"x_amz_checksum_crc32": "AAAAAA==", "x_amz_checksum_type": "COMPOSITE", "x_amz_server_side_encryption": "aws:kms"}, None)):
        s3.proxy.clear()
        s3.proxy.rule(to(path, "HEAD"), only(**headers), -1)
        s3.proxy.rule(to(path), flip(5), -1)
        shutil.rmtree(fetch.folder, ignore_errors=True)
        log = fetch(s3, s3.url("sums/SHA256"), code=65 if outcome else 0)
        assert (f"corrupt: expected {outcome} " if outcome else "the storage has no checksum of 1, only a size") in log


def test_region_is_corrected(s3, fetch):
    rule = s3.proxy.rule(lambda r: "/us-east-1/" in r.headers.get("Authorization", ""), status(301, b"", [("x-amz-bucket-region", "eu-west-3")]), -1)
    fetch(s3, s3.url("m"))
    assert same(fetch.folder / "1", SAMPLE) and rule.used == 1


# ---- credentials for AWS ----

NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
ROLE = "arn:aws:iam::123456789012:role/models"


def test_web_identity(s3, fetch, tmp_path):
    """IRSA: STS changes the token for keys; the file is read anew when they have expired."""
    token = tmp_path / "token"
    token.write_text("FIRSTwebIDENTITYtoken\n")
    env = {**NO_KEYS, "AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_STS_REGIONAL_ENDPOINTS": "regional"}
    bodies = []

    def expired(request, answer):
        token.write_text("SECONDwebIDENTITYtoken\n")
        held = request.headers["x-amz-security-token"]
        return s3_error(400, "ExpiredToken", "The provided token has expired.", f"<Token-0>{held}</Token-0>")(request, answer)

    def sts(request, answer):
        bodies.append(request.request_body.decode())
        return answer

    s3.proxy.rule(lambda r: r.command == "POST", sts, -1)
    s3.proxy.rule(to("saved_model.pb"), expired)
    fetch(s3, s3.url("m"), env=env, secrets=("FIRSTwebIDENTITYtoken", "SECONDwebIDENTITYtoken"))
    assert same(fetch.folder / "1", SAMPLE)
    assert ["FIRST" in b for b in bodies] == [True, False] and "SECONDwebIDENTITYtoken" in bodies[1] and "RoleArn=arn%3Aaws%3Aiam" in bodies[0]
    assert all("x-amz-security-token" in h for m, _, h in s3.proxy.requests if m != "POST")


def test_web_identity_refused(s3, fetch, tmp_path):
    token = tmp_path / "token"
    token.write_text("REFUSEDtoken")
    env = {**NO_KEYS, "AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    s3.proxy.rule(lambda r: r.command == "POST", s3_error(400, "InvalidIdentityToken", "No OpenIDConnect provider found"), -1)
    log = fetch(s3, s3.url("m"), env=env, code=77, secrets=("REFUSEDtoken",))
    assert f"as role {ROLE}, by web identity" in log and "InvalidIdentityToken: No OpenIDConnect provider found" in log
    token.unlink()
    assert f"{token}: No such file" in fetch(s3, s3.url("m"), env=env, code=66)
    assert "AWS_ROLE_ARN is not" in fetch(s3, s3.url("m"), env={**env, "AWS_ROLE_ARN": ""}, code=77)
    # Keys that stay expired.
    s3.proxy.clear()
    token.write_text("x")
    s3.proxy.rule(to("list-type"), s3_error(400, "ExpiredToken", "The provided token has expired."), -1)
    assert f"permission denied: HTTP 400 ExpiredToken: The provided token has expired. (asked as role {ROLE}" in fetch(s3, s3.url("m"), env=env, code=77)


def keys_document(n):
    return json.dumps({"AccessKeyId": f"ASIA{n}", "SecretAccessKey": f"SECRETofCONTAINER{n}", "Token": f"TOKENofCONTAINER{n}",
                       "Expiration": "2035-01-01T00:00:00Z", "RoleArn": ROLE}).encode()


def test_container_credentials(s3, fetch, tmp_path):
    """EKS Pod Identity."""
    agent = Proxy(None)
    token = tmp_path / "token"
    token.write_text("PODidentityTOKEN\n")
    agent.rule(to("/v1/credentials"), lambda r, a: status(200, keys_document(1))(r, a), -1)
    env = {**NO_KEYS, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
    secrets = ("PODidentityTOKEN", "SECRETofCONTAINER1", "TOKENofCONTAINER1")
    fetch(s3, s3.url("m"), env=env, secrets=secrets)
    assert agent.requests[0][2]["authorization"] == "PODidentityTOKEN"
    assert all(h["x-amz-security-token"] == "TOKENofCONTAINER1" and "Credential=ASIA1/" in h["authorization"] for _, _, h in s3.proxy.requests)
    s3.proxy.rule(to(""), s3_error(403, "AccessDenied"), -1)
    assert f"(asked as role {ROLE}, by the container's credentials)" in fetch(s3, s3.url("m"), env=env, code=77, secrets=secrets)
    env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.com/"
    assert "expected https:// or an address of this machine" in fetch(s3, s3.url("m"), env=env, code=77)
    agent.stop()


def test_instance_metadata(s3, fetch):
    """Version 2: nothing without a session token."""
    imds = Proxy(None)
    base = "/latest/meta-data/iam/security-credentials/"
    imds.rule(to("/latest/api/token", "PUT"), status(200, b"IMDSsessionTOKEN"), -1)
    allowed = lambda path: lambda r: r.path == path and r.headers.get("x-aws-ec2-metadata-token") == "IMDSsessionTOKEN"
    imds.rule(allowed(base), status(200, b"node-role\n"), -1)
    imds.rule(allowed(base + "node-role"), status(200, keys_document(2)), -1)
    env = {**NO_KEYS, "AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}
    fetch(s3, s3.url("m"), env=env, secrets=("IMDSsessionTOKEN", "SECRETofCONTAINER2"))
    assert all("Credential=ASIA2/" in h["authorization"] for _, _, h in s3.proxy.requests)
    s3.proxy.rule(to(""), s3_error(403, "AccessDenied"), -1)
    assert "(asked as the instance's role node-role)" in fetch(s3, s3.url("m"), env=env, code=77)
    imds.stop()
    s3.proxy.clear()
    s3.put("public/1/saved_model.pb", b"x", ACL="public-read")
    fetch(s3, s3.url("public"), env=env)  # from a machine without a metadata service
    assert not any("authorization" in h for _, _, h in s3.proxy.requests)
    s3.proxy.rule(to(""), s3_error(403, "AccessDenied"), -1)
    assert "without credentials: none of AWS_ACCESS_KEY_ID" in fetch(s3, s3.url("m"), env=env, code=77)


# ---- credentials for Google ----

def test_metadata_server_is_late(gcs, fetch):
    """Workload Identity: not there yet, then not ready yet, then a token; which the storage finds expired once."""
    metadata = Proxy(None)
    port = metadata.port
    metadata.stop()
    tokens = iter(["GOOGLEtokenONE", "GOOGLEtokenTWO"])
    flavor = lambda path: lambda r: r.path.endswith(path) and r.headers.get("Metadata-Flavor") == "Google"
    metadata.rule(flavor("/default/token"), status(404))
    metadata.rule(flavor("/default/token"), lambda r, a: status(200, json.dumps({"access_token": next(tokens), "expires_in": 3600}).encode())(r, a), -1)
    metadata.rule(flavor("/default/email"), status(200, b"models@project.iam.gserviceaccount.com"), -1)
    late = threading.Timer(1.5, metadata.start, [port])
    late.start()
    gcs.proxy.rule(to("saved_model.pb"), status(401, b'{"error": {"message": "Invalid Credentials"}}'))
    gcs.proxy.rule(lambda r: not r.headers.get("Authorization", "").startswith("Bearer GOOGLEtoken"), status(401), -1)
    env = {"GCE_METADATA_HOST": f"127.0.0.1:{port}", "STORAGE_EMULATOR_HOST": gcs.proxy.url}
    fetch(gcs, gcs.url("m"), env=env, secrets=("GOOGLEtokenONE", "GOOGLEtokenTWO"))
    assert same(fetch.folder / "1", SAMPLE)
    bearers = [h["authorization"] for _, _, h in gcs.proxy.requests]
    assert bearers[0] == "Bearer GOOGLEtokenONE" and bearers[-1] == "Bearer GOOGLEtokenTWO"
    gcs.proxy.clear()
    gcs.proxy.rule(to(""), status(403, b'{"error": {"message": "models@... does not have storage.objects.list access"}}'), -1)
    tokens = iter(["GOOGLEtokenTHREE"])
    log = fetch(gcs, gcs.url("m"), env=env, code=77)
    assert "(asked as service account models@project.iam.gserviceaccount.com, of the metadata server)" in log
    assert "does not have storage.objects.list access" in log
    metadata.stop()


def test_service_account_file(gcs, fetch, tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    endpoint = Proxy(None)
    assertions = []

    def token(request, answer):
        grant, assertion = request.request_body.decode().split("&assertion=")
        assert grant == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
        assertions.append(assertion)
        return status(200, json.dumps({"access_token": "FILEtoken", "expires_in": 3600}).encode())(request, answer)

    endpoint.rule(to("/token", "POST"), token, -1)
    account = {"type": "service_account", "client_email": "sa@p.iam", "private_key_id": "kid1", "private_key": pem, "token_uri": f"{endpoint.url}/token"}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account))
    env = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
    gcs.proxy.rule(lambda r: r.headers.get("Authorization") != "Bearer FILEtoken", status(401), -1)
    secret_line = pem.splitlines()[5]
    fetch(gcs, gcs.url("m"), env=env, secrets=("FILEtoken", secret_line))
    assert same(fetch.folder / "1", SAMPLE)
    head, claims, signature = assertions[0].split(".")
    decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    key.public_key().verify(decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    claims = json.loads(decode(claims))
    assert json.loads(decode(head)) == {"alg": "RS256", "typ": "JWT", "kid": "kid1"}
    assert claims["iss"] == "sa@p.iam" and claims["aud"] == account["token_uri"] and claims["exp"] - claims["iat"] == 3600
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["scope"] == "https://www.googleapis.com/auth/devstorage.read_only"
    # Refused, and files that are none.
    endpoint.clear()
    endpoint.rule(to("/token", "POST"), status(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'), -1)
    assert "Invalid JWT Signature." in fetch(gcs, gcs.url("m"), env=env, code=77, secrets=(secret_line,))
    for change, message in (({"type": "authorized_user"}, 'expected "type": "service_account"'), ({"private_key": "x"}, "no RSA key in PEM"),
                            ({"token_uri": "http://example.com/"}, "expected a token_uri with https://")):
        path.write_text(json.dumps({**account, **change}))
        assert message in fetch(gcs, gcs.url("m"), env=env, code=77, secrets=(secret_line,))
    path.write_text(pem)
    assert "expected a JSON object" in fetch(gcs, gcs.url("m"), env=env, code=77, secrets=(secret_line,))
    path.unlink()
    assert "No such file" in fetch(gcs, gcs.url("m"), env=env, code=77)
    endpoint.stop()
