"""The Debian package on a system that holds nothing but Debian's essentials and what the package asks for: installed with dpkg, run as its unit says,
purged."""
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/fashion_resnet101"
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a system of its own to install into takes root")


def run(*command, **options):
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert ended.returncode == 0, f"{shlex.join(map(str, command))}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def make_package(build_dir):
    told = run("make", "-s", "deb", f"B={build_dir}", cwd=ROOT)
    return ROOT / told.splitlines()[-1].split(":")[0]


@pytest.fixture(scope="module")
def package(build_dir):
    if "asan" in str(build_dir) or "tsan" in str(build_dir):
        pytest.skip("packages are made of plain builds")
    return make_package(build_dir)


@pytest.fixture(scope="module")
def system(package, tmp_path_factory):
    """The root of a small Debian: essentials, apt, and what the package depends on."""
    root = tmp_path_factory.mktemp("debian") / "root"
    depends = re.sub(r"\s*\([^)]*\)", "", run("dpkg-deb", "-f", package, "Depends")).replace(" ", "").strip()
    codename = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    # The host's own sources, whatever they are called.
    sources = [path for pattern in ("sources.list", "sources.list.d/*.sources", "sources.list.d/*.list") for path in pathlib.Path("/etc/apt").glob(pattern)]
    run("mmdebstrap", "--quiet", "--variant=essential", "--mode=root", f"--include={depends}", codename, root, *sources)
    shutil.copy(package, root / "tmp/resnetd.deb")
    (root / "dev/null").exists() or run("mknod", "-m", "666", root / "dev/null", "c", "1", "3")
    yield root
    shutil.rmtree(root)


def files_of(root):
    """What belongs to the package's name, anywhere but in dpkg's own records and logs."""
    found = run("find", root, "-xdev", "-path", f"{root}/proc", "-prune", "-o", "-name", "*resnet*", "-print").splitlines()
    return {path.removeprefix(str(root)) for path in found} - {"/tmp/resnetd.deb"}


def unit_of(root):
    """{key: last value} of the service."""
    return dict(re.findall(r"^(\w+)=(.*)$", (root / "lib/systemd/system/resnetd.service").read_text(), re.M))


def environment_of(root, path):
    return dict(re.findall(r"^(\w+)=(.*)$", (root / path.lstrip("/")).read_text(), re.M))


def start(root, **environment):
    """As systemd would: the unit's command as the unit's user, with the variables of its file. On free ports: the network is the host's."""
    unit = unit_of(root)
    ports = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "RESNETD_REST_API_PORT": "0", "RESNETD_PORT": "-1", "RESNETD_MONITORING_PORT": "0"}
    command = ["chroot", f"--userspec={unit['User']}:{unit['Group']}", root, *shlex.split(unit["ExecStart"])]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**environment_of(root, unit["EnvironmentFile"]), **ports, **environment})


def serve_a_while(root):
    """Starts, asks, stops. Returns the model's status document."""
    process = start(root)
    log, port = [], None
    deadline = time.monotonic() + PATIENCE_S
    while port is None and time.monotonic() < deadline:
        line = process.stderr.readline()
        log.append(line)
        assert line, f"ended with {process.wait()}: {''.join(log)}"
        found = re.search(r"ready: REST on port (\d+)", line)
        port = found and found[1]
    status = requests.get(f"http://127.0.0.1:{port}/v1/models/resnet", timeout=PATIENCE_S).json()
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    assert process.wait(PATIENCE_S) == 0
    return status


def test_control_file_and_content(package, build_dir):
    listing = run("dpkg-deb", "-c", package)
    paths = {line.split()[5].lstrip(".") for line in listing.splitlines()}
    print(f"\n{package.name}: {package.stat().st_size / 1e6:.2f} MB\n{listing}")
    assert {"/usr/bin/resnetd", "/usr/bin/resnet-convert", "/usr/bin/resnet-bench", "/lib/systemd/system/resnetd.service", "/etc/default/resnetd",
            "/usr/share/doc/resnetd/copyright"} <= paths
    assert all(line.split()[1] == "root/root" for line in listing.splitlines())
    assert run("dpkg-deb", "-f", package, "Version").strip() in run(build_dir / "resnetd", "version").split()
    assert "libcuda" not in run("dpkg-deb", "-f", package, "Depends")


def test_the_same_tree_gives_the_same_bytes(package, build_dir):
    first = package.read_bytes()
    make_package(build_dir)
    assert package.read_bytes() == first


def test_installed_run_and_purged(system):
    before = files_of(system)
    assert not before
    print(run("chroot", system, "dpkg", "-i", "/tmp/resnetd.deb"))
    assert "install ok installed" in run("chroot", system, "dpkg", "-s", "resnetd")
    unit = unit_of(system)
    assert re.search(rf"^{unit['User']}:", (system / "etc/passwd").read_text(), re.M)
    version = run("chroot", system, "resnetd", "version")
    assert re.fullmatch(r"resnetd \d+\.\d+\.\d+ \(\w+\)\n", version)

    # No model yet: the code says so, and the unit does not try for ever.
    process = start(system)
    log = process.stderr.read()
    assert process.wait(PATIENCE_S) == 66 and "/var/lib/resnetd/models/resnet" in log
    assert "66" in unit["RestartPreventExitStatus"].split()

    shutil.copytree(MODEL, system / "var/lib/resnetd/models/resnet")
    assert serve_a_while(system)["model_version_status"][0]["state"] == "AVAILABLE"

    # Models are the administrator's: they stay, all else goes.
    run("chroot", system, "dpkg", "--purge", "resnetd")
    assert files_of(system) == {"/var/lib/resnetd", "/var/lib/resnetd/models/resnet"}
    assert not re.search(rf"^{unit['User']}:", (system / "etc/passwd").read_text(), re.M)


def test_nothing_stays_where_there_was_no_model(system):
    shutil.rmtree(system / "var/lib/resnetd", ignore_errors=True)
    run("chroot", system, "dpkg", "-i", "/tmp/resnetd.deb")
    run("chroot", system, "dpkg", "--purge", "resnetd")
    assert not files_of(system)
