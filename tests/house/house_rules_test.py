"""The tree reads as the architecture: includes run one way, and each outside library is known to one place only. Files and lines stay short."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)

# Folder -> what it may include from this project, as path prefixes.
ALLOWED = {
    "kernels": ["kernels/"],
    "engine": ["kernels/", "engine/"],
    "loader": ["loader/", "engine/plan.h", "engine/passes.h", "engine/golden.h", "kernels/base/"],
    "http": ["http/", "kernels/base/", "kernels/text/"],
}
# What may talk to standard output and error: the process, its commands and its log.
MAIN_FUNCTIONS = ("http/resnetd.c", "http/command", "http/log.c")
LOADER_USERS = {"http/command_fetch.c", "http/flags_check.c", "http/serving_sync.c", "http/warmup.c", "http/resnetd.c"}

# Header of an outside library -> the only places that may include it.
VENDOR = {
    r"(openblas/)?cblas(_f77)?\.h": ["engine/cpu/"],
    r"(jpeglib|jerror|png|gif_lib|webp/.*)\.?h?": ["engine/image/"],
    r"protobuf-c/.*": ["loader/", "http/grpc_", "http/text_proto."],
    r"grpc/.*": ["http/grpc_"],
    r"h2o(/.*|\.h)": ["http/"],
    r"curl/.*": ["loader/storage_"],
    r"expat\.h": ["loader/storage_xml.c"],
    r"(cudnn|cublas|cuda).*\.h": ["engine/cuda/", "kernels/cuda/"],
}


def sources():
    for folder in ALLOWED:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".c", ".h", ".cu", ".cuh", ".def"):
                yield folder, path.relative_to(ROOT).as_posix(), path.read_text()


def is_public_engine_header(included):
    """engine/*.h and two of engine/image; what lies in a backend's folder is that backend's own."""
    return re.fullmatch(r"engine/[^/]+\.h|engine/image/(image|overlay)\.h", included)


def may_include(folder, path, included):
    if any(included.startswith(prefix) for prefix in ALLOWED[folder]):
        return True
    if folder == "http":
        return bool(is_public_engine_header(included)) or (path in LOADER_USERS and re.fullmatch(r"loader/[^/]+\.h", included))
    return False


def test_there_are_sources_to_check():
    assert len(list(sources())) > 40


def test_includes_run_one_way():
    wrong = [f"{path} includes {included}" for folder, path, text in sources()
             for quote, included in INCLUDE.findall(text) if quote == '"' and not may_include(folder, path, included)]
    assert not wrong, "\n".join(wrong)


def test_includes_are_written_from_the_root():
    generated = re.compile(r"(loader|http)/proto/.*\.pb-c\.h")
    wrong = [f"{path} includes {included}" for _, path, text in sources()
             for quote, included in INCLUDE.findall(text)
             if quote == '"' and not generated.fullmatch(included) and not (ROOT / included).is_file()]
    assert not wrong, "\n".join(wrong)


def test_each_library_is_known_to_one_place():
    wrong = []
    for _, path, text in sources():
        for quote, included in INCLUDE.findall(text):
            for pattern, places in VENDOR.items():
                if quote == "<" and re.fullmatch(pattern, included) and not any(path.startswith(place) for place in places):
                    wrong.append(f"{path} includes <{included}>, which belongs in {places}")
    assert not wrong, "\n".join(wrong)


def test_files_hold_one_purpose():
    """Past about 600 lines a file is two modules."""
    long = [f"{path}: {text.count(chr(10))} lines" for _, path, text in sources() if text.count("\n") > 600]
    assert not long, "\n".join(long)


def test_libraries_neither_print_nor_exit():
    call = re.compile(r'(?<![a-zA-Z0-9_.>"])(exit|abort|printf|perror|puts|fprintf(?=\s*\(\s*std))\s*\(')
    wrong = [f"{path}: {match.group(1)}" for _, path, text in sources() if not path.startswith(MAIN_FUNCTIONS)
             for match in call.finditer(re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S))]
    assert not wrong, "\n".join(wrong)


def test_lines_end_by_column_160():
    suffixes = (".c", ".h", ".cu", ".cuh", ".def", ".py", ".sh", ".proto")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [ROOT / name for name in listed if name.endswith(suffixes) and (ROOT / name).exists()]
    assert len(paths) > 400
    wide = [f"{path.relative_to(ROOT)}:{number}: {len(line)} columns" for path in paths
            for number, line in enumerate(path.read_text().split("\n"), 1) if len(line) > 160]
    assert not wide, "\n".join(wide)
