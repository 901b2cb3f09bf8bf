"""Every command in README.md and docs/ is run: the `sh` blocks of a page, one after the other in one shell, in a folder that looks like the repository's
root. A block behind `<!-- not run: why -->` is not run, but checked: its syntax, and that our programs have its flags.

The ports of the examples are replaced by free ones, and build/ and its virtual environment by what this test run uses.
"""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^\n]*?) -->\n)?^```sh\n(?P<text>.*?)^```$", re.M | re.S)
ANY_BLOCK = re.compile(r"^```(\w*)\n.*?^```$", re.M | re.S)
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if BLOCK.search(path.read_text())]
PROGRAM = re.compile(r"(?:build/)?(resnetd|resnet-[a-z]+)\s+([a-z]*)")
TIMEOUT_S = 120


def blocks(page, run):
    return [(m["why"], m["text"]) for m in BLOCK.finditer(page.read_text()) if (m["why"] is None) == run]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture
def checkout(tmp_path, build_dir):
    """Everything of the root but for what commands write."""
    for path in ROOT.iterdir():
        if path.name not in ("build", "models", ".git"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "build").mkdir()
    for path in build_dir.iterdir():
        if path.name != "venv":
            (tmp_path / "build" / path.name).symlink_to(path)
    (tmp_path / "build/venv").symlink_to(pathlib.Path(sys.prefix))
    (tmp_path / "figures").mkdir()
    return tmp_path


@pytest.mark.speed
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page, checkout):
    script = "".join(text for _, text in blocks(page, run=True))
    if not script:
        return  # test_what_is_not_run_says_why has looked at its blocks
    ports = dict(zip(("8501", "8500", "9090"), free_ports(3)))
    script = re.sub(r"\b(8501|8500|9090)\b", lambda m: ports[m[0]], script)
    shell = subprocess.Popen(["bash", "-c", "set -eEuo pipefail; trap 'echo \"line $LINENO: $BASH_COMMAND\" >&2' ERR\n" + script], cwd=checkout, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        # Servers of the examples stay behind and hold the pipe: the shell's end is what counts.
        code = shell.wait(TIMEOUT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing was left behind
            os.killpg(shell.pid, signal.SIGTERM)
        output = shell.communicate()[0]
    assert code == 0, f"{page.name}:\n{script}\n--> {code}\n{output[-3000:]}"


@pytest.fixture(scope="module")
def known_flags(build_dir):
    def flags(program, word):
        help_text = subprocess.run([build_dir / program, "--help"], capture_output=True, text=True, check=True).stdout
        if program == "resnetd" and word:  # its commands have flags of their own
            help_text += subprocess.run([build_dir / program, word, "--help"], capture_output=True, text=True).stdout
        return set(re.findall(r"--[a-z][a-z_0-9-]*", help_text))

    return flags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_says_why(page, known_flags):
    for why, text in blocks(page, run=False):
        assert len(why.split()) >= 4, f"{page.name}: {why!r} is no reason"
        checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
        assert checked.returncode == 0, f"{page.name}:\n{text}\n{checked.stderr}"
    for _, text in blocks(page, run=False) + blocks(page, run=True):
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.split(r"[|;&]", line):
                if found := PROGRAM.match(command.strip() + " "):
                    unknown = set(re.findall(r"(?<=\s)--[a-z][a-z_0-9-]*", command)) - known_flags(*found.groups())
                    assert not unknown, f"{page.name}: {found[1]} has no {unknown}"


def test_there_is_something_to_run():
    assert len(PAGES) >= 7
    assert sum(len(blocks(page, run=True)) for page in PAGES) >= 15


def test_links_lead_somewhere():
    """Files and headings that the pages link to."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), f"{page.relative_to(ROOT)} links to {target}"
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M) if anchor else []
            headings = {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in titles}
            assert not anchor or anchor in headings, f"{page.relative_to(ROOT)} links to {target}, {path.name} has {headings}"


def test_the_readme_is_two_screens():
    """At most: 50 lines of 200 characters make a large one."""
    assert sum(1 + len(line) // 200 for line in (ROOT / "README.md").read_text().splitlines()) <= 110
    assert (ROOT / "docs/images/page.png").stat().st_size < 400_000
