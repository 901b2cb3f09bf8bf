"""resnet-convert as people and scripts use it, and the file that it makes as Python's safetensors package sees it."""

import hashlib
import json
import os
import pathlib
import pty
import shutil
import struct
import subprocess

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONVERT = ROOT / os.environ.get('RN_BUILD', 'build') / 'resnet-convert'
SAMPLE = ROOT / 'tests/data/fashion_resnet101/1'


def run(*arguments, **options):
    return subprocess.run([CONVERT, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """The sample, converted."""
    path = tmp_path_factory.mktemp('model') / 'fashion.safetensors'
    done = run(SAMPLE, path)
    assert done.returncode == 0, done.stderr
    return path


# ---- the file ----

def test_only_regular_files_are_replaced(tmp_path):
    pipe, link = tmp_path / 'pipe', tmp_path / 'link'
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / 'elsewhere')
    for path in (pipe, link):
        done = run(SAMPLE, path)
        assert done.returncode == 65 and 'not a regular file' in done.stderr
    assert pipe.is_fifo() and link.is_symlink() and not (tmp_path / 'elsewhere').exists()


def test_safetensors_opens_it(model):
    safetensors = pytest.importorskip('safetensors')
    with safetensors.safe_open(model, 'np') as file:
        metadata = file.metadata()
        weights = json.loads(metadata['weights'])
        assert metadata['format'] == 'resnetd' and metadata['format_version'] == '1'
        assert metadata['source'] == str(SAMPLE) and metadata['converter'].startswith('resnetd ')
        assert json.loads(metadata['labels'])[0] == 'T-shirt/top'
        assert json.loads(metadata['plan'])['architecture'] == 'ResNet-101 v2, 64x64x3, 10 classes'
        assert set(weights) <= set(file.keys())
        tensors = {name: file.get_tensor(name) for name in weights}
    assert all(tensor.dtype == numpy.float32 and numpy.isfinite(tensor).all() for tensor in tensors.values())
    assert any(tensor.shape == (7, 7, 3, 8) for tensor in tensors.values())


def test_layout_is_as_documented(model):
    data = model.read_bytes()
    length = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    metadata = header.pop('__metadata__')
    assert (8 + length) % 64 == 0
    assert hashlib.sha256(body).hexdigest() == metadata['sha256']
    extents = sorted(entry['data_offsets'] for entry in header.values())
    assert extents[0][0] == 0 and extents[-1][1] == len(body)
    assert all(first[1] == second[0] for first, second in zip(extents, extents[1:]))
    assert all(header[name]['data_offsets'][0] % 64 == 0 for name in json.loads(metadata['weights']))


def test_weights_are_the_checkpoint_s(model):
    """The classifier passes through no folding: its kernel is in the checkpoint, bit for bit."""
    tf = pytest.importorskip('tensorflow')
    safetensors = pytest.importorskip('safetensors')
    reader = tf.train.load_checkpoint(str(SAMPLE / 'variables/variables'))
    stored = {reader.get_tensor(name).tobytes() for name, shape in reader.get_variable_to_shape_map().items() if len(shape) == 2}
    with safetensors.safe_open(model, 'np') as file:
        kernels = [file.get_tensor(name) for name in json.loads(file.metadata()['weights'])]
    kernels = [kernel for kernel in kernels if kernel.ndim == 2]
    assert len(kernels) == 1 and kernels[0].tobytes() in stored


def test_same_model_gives_same_bytes(model, tmp_path):
    assert run(SAMPLE, tmp_path / 'again').returncode == 0
    assert (tmp_path / 'again').read_bytes() == model.read_bytes()
    assert os.listdir(tmp_path) == ['again']


# ---- the command line ----

@pytest.mark.parametrize('out, file', [('a.bin', 'a.bin'), ('new/folder/', 'new/folder/model.safetensors'), ('there', 'there/model.safetensors')])
def test_where_it_writes(tmp_path, out, file):
    (tmp_path / 'there').mkdir()
    done = run(SAMPLE, f'{tmp_path}/{out}')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / file).is_file()
    assert done.stdout.startswith(f'{tmp_path}/{file}: ResNet-101 v2, 64x64x3, 10 classes, 2 signatures, 2.9 MB, ')
    assert done.stdout.count('\n') == 1 and done.stderr == ''


def test_show_says_the_same_of_both_forms(model, tmp_path):
    shutil.copy(model, tmp_path / 'model.safetensors')
    saved, converted, folder = run('show', SAMPLE, '--ops'), run('show', model, '--ops'), run('show', tmp_path, '--ops')
    assert saved.returncode == converted.returncode == 0, saved.stderr + converted.stderr
    assert converted.stdout == folder.stdout
    lines = converted.stdout.splitlines()
    assert lines[1] == f'converted    by {json.loads(header_of(model))["__metadata__"]["converter"]} from {SAMPLE}'
    assert lines[2].startswith('SHA-256')
    assert 'recorded     2 answers to test devices with' in lines
    assert lines[:1] + [line for line in lines[3:] if not line.startswith('recorded ')] == saved.stdout.splitlines()
    assert 'signature serving_preprocess' in lines
    assert any('centre square at offset (n - side + 1) / 2; bilinear to 64 x 64' in line for line in lines)
    assert 'labels       10: T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot' in lines
    assert any('conv2d' in line and '7x7 stride 2,2 pad 3,3,3,3 bias' in line for line in lines)


def header_of(path):
    data = path.read_bytes()
    return data[8:8 + struct.unpack('<Q', data[:8])[0]]


def test_help_and_version():
    assert run('--help').stdout.startswith('usage: resnet-convert') and run('--help').returncode == 0
    assert run('--version').stdout.startswith('resnet-convert ') and run('--version').returncode == 0


@pytest.mark.parametrize('arguments', [(), ('one',), ('a', 'b', 'c'), ('show',), ('--wrong', 'a', 'b'), ('--ops', 'a', 'b')])
def test_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr and done.stdout == ''


def test_not_found(tmp_path):
    for arguments in (('show', tmp_path / 'no'), (tmp_path / 'no', tmp_path / 'out'), (tmp_path, tmp_path / 'out'), ('show', tmp_path)):
        done = run(*arguments)
        assert done.returncode == 66 and done.stderr.startswith('resnet-convert: ') and str(tmp_path) in done.stderr
    done = run(SAMPLE, tmp_path / 'no/such/folder')
    assert done.returncode == 66 and 'no/such/folder' in done.stderr


def test_damaged_models(model, tmp_path):
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    (tmp_path / 'changed').write_bytes(data)
    (tmp_path / 'cut').write_bytes(data[:-1])
    (tmp_path / 'text').write_text('this is no model at all')
    (tmp_path / 'saved').mkdir()
    (tmp_path / 'saved/saved_model.pb').write_bytes((SAMPLE / 'saved_model.pb').read_bytes()[:1000])
    for name, words in (('changed', 'SHA-256'), ('cut', 'it was cut short'), ('text', 'not a safetensors file'), ('saved', 'saved_model.pb')):
        done = run('show', tmp_path / name)
        assert done.returncode == 65 and words in done.stderr and str(tmp_path / name) in done.stderr, done.stderr
    assert run(tmp_path / 'saved', tmp_path / 'out').returncode == 65
    assert not (tmp_path / 'out').exists()


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_permissions(model, tmp_path):
    shutil.copy(model, tmp_path / 'locked')
    (tmp_path / 'locked').chmod(0)
    assert run('show', tmp_path / 'locked').returncode == 77


def test_progress_is_for_terminals(tmp_path):
    ours, theirs = pty.openpty()
    subprocess.run([CONVERT, SAMPLE, tmp_path / 'out'], stdout=subprocess.DEVNULL, stderr=theirs, timeout=120, check=True)
    os.close(theirs)
    seen = os.read(ours, 1 << 16).decode()
    assert '%' in seen and seen.endswith('\r\x1b[K')
    os.close(ours)
