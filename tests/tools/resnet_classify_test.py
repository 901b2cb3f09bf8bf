"""resnet-classify: the server's answers without a server; files, folders, standard input, maps, a bar on terminals alone; and completion of flags."""
import io
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess

import numpy as np
import pytest
import requests
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL, PICTURES = ROOT / "tests/data/fashion_resnet101", ROOT / "tests/data/pictures"
PROGRAMS = {"resnetd": "http/flags.def", "resnet-bench": "tools/bench/options.def", "resnet-classify": "tools/classify/options.def", "resnet-convert": None}


@pytest.fixture(scope="module")
def classify(build_dir):
    def run(*arguments, code=0, **options):
        done = subprocess.run([build_dir / "resnet-classify", *map(str, arguments)], capture_output=True, timeout=120, **options)
        assert done.returncode == code, done.stderr.decode()
        return done

    return run


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_servers_answers(classify, server):
    names = ["bag.jpg", "ankle_boot.png", "coat.png"]
    found = lines(classify(MODEL, *[PICTURES / name for name in names], "--json", "--topk=3", "--batch=2"))
    for entry, name in zip(found, names, strict=True):
        wanted = requests.post(f"{server.url}/v1/models/fashion:predict?topk=3", data=(PICTURES / name).read_bytes(),
                               headers={"Content-Type": f"image/{name[-3:].replace('jpg', 'jpeg')}"}).json()["predictions"]
        assert entry["file"] == str(PICTURES / name)
        assert [(c["label"], c["index"]) for c in entry["predictions"]] == [(c["label"], c["index"]) for c in wanted]
        np.testing.assert_allclose([c["probability"] for c in entry["predictions"]], [c["probability"] for c in wanted], rtol=1e-4, atol=1e-7)


def test_words(classify):
    text = classify(MODEL / "1", PICTURES / "bag.jpg", "--topk=2").stdout.decode().splitlines()
    assert text[0] == str(PICTURES / "bag.jpg") and re.fullmatch(r" +\d+\.\d{4} %  Bag", text[1]) and len(text) == 3


def test_folders_and_standard_input(classify, tmp_path):
    (tmp_path / "b/deep").mkdir(parents=True)
    for i, name in enumerate(("c.PNG", "b/deep/x.jpg", "a.png")):
        shutil.copy(PICTURES / ("bag.jpg" if name.endswith("jpg") else "bag.png"), tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture, and not named like one")
    done = classify(MODEL, tmp_path, "--json", "--topk=1")
    assert [entry["file"].removeprefix(f"{tmp_path}/") for entry in lines(done)] == ["a.png", "b/deep/x.jpg", "c.PNG"]
    assert re.fullmatch(rb"3 pictures in \d+\.\d\d s, \d+\.\d a second; cpu .*\n", done.stderr)
    assert classify(MODEL, tmp_path, "--quiet").stderr == b""
    (piped,) = lines(classify(MODEL, "-", "--json", input=(PICTURES / "dress.png").read_bytes()))
    assert (piped["file"], piped["predictions"][0]["label"]) == ("-", "Dress")


def test_a_bad_picture_does_not_stop_the_others(classify, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = classify(MODEL, PICTURES / "bag.jpg", tmp_path / "bad.png", PICTURES / "coat.png", "--topk=1", "--json", code=1)
    found = lines(done)
    assert [entry.get("predictions", [{}])[0].get("label") for entry in found] == ["Bag", None, "Coat"]
    assert found[1]["error"].startswith("Unknown image file format")
    assert b"bad.png: Unknown image file format" in classify(MODEL, tmp_path / "bad.png", code=1).stderr


def test_maps(classify, server, tmp_path):
    """The picture that the server draws."""
    for query, flags in (("", []), ("?class=2", ["--class=2"])):
        classify(MODEL, PICTURES / "bag.jpg", f"--explain={tmp_path}/heat.png", *flags)
        wanted = requests.post(f"{server.url}/v1/models/fashion:explain{query}", data=(PICTURES / "bag.jpg").read_bytes(),
                               headers={"Content-Type": "image/jpeg", "Accept": "image/png"}).content
        shown = [np.asarray(Image.open(io.BytesIO(raw)), np.int32) for raw in (wanted, (tmp_path / "heat.png").read_bytes())]
        assert np.abs(shown[0] - shown[1]).max() <= 1


@pytest.mark.parametrize("arguments, code, message", [
    ([], 2, "a model and a picture are needed"),
    ([MODEL], 2, "a model and a picture are needed"),
    ([MODEL, PICTURES, "--topk=x"], 2, '--topk: expected a whole number from 0 to 1000000, found "x"'),
    ([MODEL, PICTURES, "--batch=0"], 2, "--batch is 1 to 4096"),
    ([MODEL, PICTURES, "--nonsense"], 2, "--nonsense: unknown option"),
    ([MODEL, PICTURES, "--class=1"], 2, "--class belongs to --explain"),
    ([MODEL, PICTURES, "--explain=x.png"], 65, "--explain: expected one picture, found 20"),
    ([MODEL, PICTURES / "bag.jpg", "--explain=x.png", "--class=10"], 65, '--class: expected a number below 10, found "10"'),
    ([MODEL, "/nowhere.png"], 66, "/nowhere.png: No such file or directory"),
    ([MODEL, ROOT / "kernels"], 66, "no file in it is named like a picture"),
    (["/nowhere", PICTURES], 66, "/nowhere"),
    ([MODEL, PICTURES, "--device=warp"], 66, "warp"),
])
def test_what_is_refused(classify, arguments, code, message):
    done = classify(*arguments, code=code)
    assert message in done.stderr.decode() and done.stdout == b""


def test_the_bar(build_dir, tmp_path):
    """On a terminal and from 32 pictures on."""
    for i in range(33):
        shutil.copy(PICTURES / "bag.png", tmp_path / f"{i}.png")
    ours, theirs = pty.openpty()
    subprocess.run([build_dir / "resnet-classify", MODEL, tmp_path, "--json"], stdout=subprocess.DEVNULL, stderr=theirs, check=True, timeout=120)
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert b"] 33 of 33" in shown and b"33 pictures in" in shown


# ---- completion and manual ----

def flags_of(build_dir, program):
    text = subprocess.run([build_dir / program, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ +(--[a-z][a-z_0-9]*)", text, re.M))


def complete(build_dir, program, *words):
    """What bash offers."""
    script = (f'. tools/completion/resnetd.bash; compopt() {{ :; }}; COMP_WORDS=({program} {" ".join(map(repr, words))}); COMP_CWORD={len(words)}; '
              f'_resnetd_programs {program}; printf "%s\\n" "${{COMPREPLY[@]}}"')
    env = {**os.environ, "PATH": f"{build_dir}:{os.environ['PATH']}"}
    return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, env=env).stdout.split())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_no_wider_than_the_sources(build_dir, program):
    text = subprocess.run([build_dir / program, "--help"], capture_output=True, text=True, check=True).stdout
    assert [line for line in text.splitlines() if len(line) >= 160] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_completion(build_dir, program):
    flags = flags_of(build_dir, program)
    assert {flag.rstrip("=") for flag in complete(build_dir, program, "--")} == flags
    if PROGRAMS[program]:
        listed = re.findall(r"^\w+_(?:FLAG|OPTION)_?(?:\w*)\((?:TEXT, |INT, |REAL, |LIST, |ISA, |FLAG, )?(\w+)", (ROOT / PROGRAMS[program]).read_text(), re.M)
        assert {f"--{name}" for name in listed} <= flags and len(listed) >= 10
    some = sorted(flags)[0]
    assert {flag.rstrip("=") for flag in complete(build_dir, program, some[:4])} == {flag for flag in flags if flag.startswith(some[:4])}


@pytest.mark.parametrize("program", PROGRAMS)
def test_completion_in_zsh(build_dir, program):
    """With stand-ins for zsh's own part, which print what they are given."""
    script = (f'PATH={build_dir}:$PATH; _files() {{ :; }}; _describe() {{ for a in values flags; do print -l -- "${{(@P)a}}"; done; }}; '
              f'words=({program} --); CURRENT=2; PREFIX=--; . tools/completion/_resnetd')
    shown = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert set(re.findall(r"^(--\w+):", shown, re.M)) == flags_of(build_dir, program)


def test_completion_of_subcommands(build_dir):
    assert {"model", "kernels", "input", "serve"} <= complete(build_dir, "resnet-bench", "")
    assert "show" in complete(build_dir, "resnet-convert", "s")


def test_the_manual_has_every_option(build_dir):
    manual = (ROOT / "docs/man/resnet-classify.1").read_text().replace("\\-", "-")
    assert set(re.findall(r"--[a-z]+", manual)) == flags_of(build_dir, "resnet-classify")
