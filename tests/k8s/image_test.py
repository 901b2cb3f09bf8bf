"""The images: what their files and build say, and what the file tree that tools/image-root.sh lays out holds and weighs. Nothing here builds an image."""
import gzip
import io
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

import pytest

import renders
from dockerfile import Dockerfile

ROOT = renders.ROOT
FILES = ["Dockerfile", "Dockerfile.cuda"]
MOST_COMPRESSED_BYTES = 60e6


@pytest.fixture(params=FILES)
def image(request):
    return Dockerfile(ROOT / request.param)


def context():
    """The files that the build gets: what git knows or would take, through .dockerignore. Its patterns here are `*` and names at the top that come back."""
    patterns = [p for p in (ROOT / ".dockerignore").read_text().splitlines() if p and not p.startswith("#")]
    assert patterns[0] == "*" and all(re.fullmatch(r"![\w.]+", p) for p in patterns[1:])
    kept = {p[1:] for p in patterns[1:]}
    assert all((ROOT / name).exists() for name in kept), kept
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [f for f in listed.splitlines() if f.split("/")[0] in kept and (ROOT / f).is_file()]


def test_sources_exist(image):
    files = context()
    for source in image.context_sources:
        assert source == "." or any(f == source or f.startswith(source.rstrip("/") + "/") for f in files), f"COPY {source}: not in the context"
    assert image.context_sources


def test_context_is_enough_to_build(tmp_path):
    """`make -n` in a copy of the context: it names a file that is missing as surely as `make` would."""
    for f in context():
        target = tmp_path / f
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(ROOT / f, target) if os.stat(ROOT).st_dev == os.stat(tmp_path).st_dev else shutil.copy(ROOT / f, target)
    command = ["make", "-n", "COMMIT=test", "CUDA_HOME=/none", "CUDNN_HOME=/none", "all"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert " -o build/resnetd " in result.stdout and " -o build/resnet-convert " in result.stdout


def test_image_says_how_to_run_it(image):
    assert image.entrypoint == ["/usr/bin/tf_serving_entrypoint.sh"]  # a link: the server itself is the first process and gets the signals
    assert image.user == (65532, 65532)
    assert image.last("STOPSIGNAL") == "SIGTERM"
    assert image.last("EXPOSE").split() == ["8500", "8501", "9090"]
    assert image.healthcheck == ["/usr/bin/resnetd", "healthcheck"]
    assert {"title", "description", "source", "licenses", "version", "revision"} <= {k.rsplit(".", 1)[1] for k in image.labels}
    assert int(image.env["RESNETD_DRAIN_DELAY"]) + int(image.env["RESNETD_DRAIN_TIMEOUT"]) + 5 <= 30  # the grace period of manifests that give none
    for stage in image.stages:
        assert stage[0] == "scratch" or re.search(r":(?!latest)[\w.-]+$", stage[0]), f"FROM {stage[0]}"


def test_images_differ_in_the_gpu_alone():
    cpu, cuda = (Dockerfile(ROOT / f) for f in FILES)
    gpu_only = {"LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    assert {k: v for k, v in cuda.env.items() if k not in gpu_only} == cpu.env and gpu_only <= set(cuda.env)
    version = re.search(r"^VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.M)[1]
    for image in (cpu, cuda):
        assert ("ARG", f"VERSION={version}") in image.final
        for word in ("USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"):
            assert image.last(word) == cpu.last(word)


def compressed_bytes(root):
    """As one layer, at zlib's fastest level: what a registry stores is smaller."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w|") as tar:
        tar.add(root, arcname=".")
    return out.tell()


def test_size_and_content(image_root):
    """Every file counts: programs, libraries, certificates, licences."""
    files = sorted((p for p in image_root.rglob("*") if p.is_file() and not p.is_symlink()), key=lambda p: -p.stat().st_size)
    total, zipped = sum(p.stat().st_size for p in files), compressed_bytes(image_root)
    print(f"\n{len(files)} files, {total / 1e6:.1f} MB, compressed {zipped / 1e6:.1f} MB; the largest:")
    for p in files[:8]:
        print(f"  {p.stat().st_size / 1e6:6.1f} MB  /{p.relative_to(image_root)}")
    assert zipped <= MOST_COMPRESSED_BYTES
    names = {p.relative_to(image_root).as_posix() for p in files}
    assert {"usr/bin/resnetd", "usr/bin/resnet-convert", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "usr/share/doc/resnetd/LICENSE"} <= names
    for link in ("tensorflow_model_server", "tf_serving_entrypoint.sh"):
        assert os.readlink(image_root / "usr/bin" / link) == "resnetd"
    assert "nonroot:x:65532:65532:" in (image_root / "etc/passwd").read_text()
    assert not [n for n in names if n.rsplit("/", 1)[-1] in ("sh", "bash", "dash", "apt", "dpkg")]


def test_nothing_is_privileged_or_open(image_root):
    for path in image_root.rglob("*"):
        if path.is_symlink():
            target = os.readlink(path)
            assert (path.parent / target).exists() and not target.startswith("/"), f"{path}: {target}"
            continue
        mode = path.stat().st_mode
        assert not mode & 0o6000, f"{path}: setuid"
        if mode & 0o002:
            assert path.is_dir() and mode & 0o1000 and path.relative_to(image_root).as_posix() in ("tmp", "var/cache/resnetd"), path


def test_libraries_have_their_packages_and_licences(image_root):
    packages = {p.name: p.read_text() for p in (image_root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libgrpc29", "libopenblas0-pthread", "ca-certificates", "libssl3"} <= set(packages)
    for name, text in packages.items():
        assert text.startswith(f"Package: {name}\n") and "\nVersion: " in text
        assert (image_root / "usr/share/doc" / name / "copyright").exists(), name


def test_every_library_is_there_and_needed(image_root):
    """The linker of the image itself finds everything, in the image; and every library is one that a program asks for."""
    libraries = {p.name for p in next((image_root / "usr/lib").glob("*-linux-gnu")).iterdir()}
    asked = set()
    for program in [image_root / "usr/bin/resnetd", image_root / "usr/bin/resnet-convert", *next((image_root / "usr/lib").glob("*-linux-gnu")).iterdir()]:
        text = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
        asked |= set(re.findall(r"NEEDED.*\[(.+)\]", text))
    linker = {p.name for p in (image_root / "usr/lib64").iterdir()}
    assert asked - libraries - linker == set()
    assert libraries - asked == set()


def test_programs_run_from_the_tree_alone(image_root):
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    inside = [shutil.which("chroot"), "--userspec=65532:65532", str(image_root)]
    for name in ("resnetd", "tensorflow_model_server", "tf_serving_entrypoint.sh"):
        assert subprocess.run([*inside, f"/usr/bin/{name}", "--version"], capture_output=True, text=True, check=True, env={}).stdout.startswith("resnetd ")
    result = subprocess.run([*inside, "/usr/bin/resnet-convert"], capture_output=True, text=True, check=False, env={})
    assert "usage" in (result.stdout + result.stderr).lower()


def test_script_refuses_what_is_not_built(tmp_path):
    result = subprocess.run(["sh", "tools/image-root.sh", tmp_path, tmp_path / "root"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "run make first" in result.stderr
    assert not pathlib.Path(tmp_path / "root").exists()
