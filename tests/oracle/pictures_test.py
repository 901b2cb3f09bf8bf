"""engine/image against TensorFlow: every picture bit for bit, every refusal refused.

Runs build/tests/tools/picture_dump (folder from RN_BUILD). TensorFlow is the one of the interpreter that runs pytest.
"""

import os
import pathlib
import subprocess

import numpy
import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
tf = pytest.importorskip('tensorflow')

from pictures import SIZES, damaged, every_picture, noise, photo, pillow  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DUMP = ROOT / os.environ.get('RN_BUILD', 'build') / 'tests/tools/picture_dump'


class Dump:
    """One picture_dump process; answers are arrays or the message of a refusal."""

    def __init__(self, folder):
        self.process = subprocess.Popen([DUMP], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.path = folder / 'picture'

    def ask(self, command, data, dtype=numpy.uint8):
        self.path.write_bytes(data)
        self.process.stdin.write(f'{command} {self.path}\n'.encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode(errors='replace').strip()
        assert answer, f'picture_dump died on {command}'
        if answer.startswith('error '):
            return answer.removeprefix('error ')
        h, w, c = map(int, answer.split()[1:])
        return numpy.frombuffer(self.process.stdout.read(h * w * c * numpy.dtype(dtype).itemsize), dtype).reshape(h, w, c)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture(scope='module')
def pictures():
    return dict(every_picture())


@pytest.fixture(scope='module')
def dump(tmp_path_factory):
    process = Dump(tmp_path_factory.mktemp('pictures'))
    yield process
    process.close()


def tf_decode(data, channels):
    """An array, or the message of TensorFlow's refusal."""
    try:
        return tf.io.decode_image(data, channels=channels, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError as error:
        return error.message


def tf_fit(picture, size, round_up):
    h, w = picture.shape[:2]
    side = min(h, w)
    top, left = (h - side + round_up) // 2, (w - side + round_up) // 2
    cropped = tf.image.crop_to_bounding_box(picture, top, left, side, side)
    return tf.cast(tf.image.resize(cropped, size), tf.uint8).numpy()


def differences(dump, pictures, channel_choices):
    """Compares all, so that a failure shows the pattern. Returns the descriptions of what differs and the counts."""
    wrong, equal, refused = [], 0, 0
    for name, data in pictures:
        for channels in channel_choices:
            ours, theirs = dump.ask(f'decode {channels}', data), tf_decode(data, channels)
            if isinstance(ours, str) and isinstance(theirs, str):
                refused += 1
            elif isinstance(ours, str) or isinstance(theirs, str):
                wrong.append(f'{name} channels={channels}: ours {describe(ours)}, TensorFlow {describe(theirs)}')
            elif ours.shape != theirs.shape or not numpy.array_equal(ours, theirs):
                wrong.append(f'{name} channels={channels}: ours {describe(ours)}, TensorFlow {describe(theirs)}{worst(ours, theirs)}')
            else:
                equal += 1
    print(f'{equal} pictures equal to the bit, {refused} refused by both, {len(wrong)} differ')
    return wrong


def describe(result):
    return repr(result) if isinstance(result, str) else 'x'.join(map(str, result.shape))


def worst(ours, theirs):
    if ours.shape != theirs.shape:
        return ''
    gap = numpy.abs(ours.astype(int) - theirs.astype(int))
    return f', {numpy.count_nonzero(gap)} of {gap.size} values, by up to {gap.max()}'


def test_every_form_of_picture(dump, pictures):
    wrong = differences(dump, pictures.items(), (0, 1, 3, 4))
    assert not wrong, '\n'.join(wrong[:40])


def test_damaged_pictures(dump):
    wrong = differences(dump, damaged(int(os.environ.get('RN_DAMAGED', '40'))), (0, 3))
    assert not wrong, '\n'.join(wrong[:40])


@pytest.mark.parametrize('shape', [(3000, 4000), (4000, 3000)])
def test_large_pictures(dump, shape):
    pixels = numpy.tile(photo(500, 500, 3), (shape[0] // 500, shape[1] // 500, 1))
    files = [('jpeg', pillow(pixels, 'RGB', 'JPEG', quality=90)), ('progressive', pillow(pixels, 'RGB', 'JPEG', progressive=True)),
             ('png', pillow(pixels, 'RGB', 'PNG', compress_level=1))]
    assert not differences(dump, files, (0,))
    for name, data in files:
        for round_up in (1, 0):
            ours = dump.ask(f'fit {"up" if round_up else "down"} 224 224 3 0', data)
            assert numpy.array_equal(ours, tf_fit(tf_decode(data, 0), (224, 224), round_up)), name


def test_whole_front_end(dump):
    """decode_image(expand_animations=False), centre crop, resize, cast: as the image signature of a SavedModel does it."""
    count = 0
    for h, w in SIZES:
        for size in ((1, 1), (7, 5), (64, 64), (224, 224), (299, 299)):
            for round_up in (1, 0):
                data = pillow(photo(h, w, 3), 'RGB', 'JPEG', quality=85)
                ours = dump.ask(f'fit {"up" if round_up else "down"} {size[0]} {size[1]} 3 3', data)
                assert numpy.array_equal(ours, tf_fit(tf_decode(data, 3), size, round_up)), (h, w, size, round_up)
                count += 1
    print(f'{count} pictures equal to the bit')


def test_real_pictures(dump):
    """The files that the sample model is asked about."""
    files = [(path.name, path.read_bytes()) for path in sorted((ROOT / 'tests/data/pictures').iterdir()) if path.suffix in ('.jpg', '.png')]
    assert files and not differences(dump, files, (0, 1, 3))


RAW = {'bilinear': tf.raw_ops.ResizeBilinear, 'nearest': tf.raw_ops.ResizeNearestNeighbor, 'bicubic': tf.raw_ops.ResizeBicubic,
       'area': tf.raw_ops.ResizeArea}
GRIDS = {'half_pixel': {'half_pixel_centers': True}, 'corner': {}, 'aligned': {'align_corners': True}}
METHODS = [(method, grid) for method in RAW for grid in GRIDS if (method, grid) != ('area', 'half_pixel')]


@pytest.mark.parametrize('method, grid', METHODS)
def test_resize(dump, method, grid):
    """Any size to any size, noise, with 1, 3 and 4 channels: as floats, cast, and clipped before the cast. Bicubic values may leave 0..255, where
    TensorFlow's cast depends on the position in the tensor: 300 is 255 in its vector instructions and 44 behind the last full vector."""
    random = numpy.random.default_rng(7)
    for i in range(400 if method == 'bilinear' else 100):
        h, w, c = int(random.integers(1, 400)), int(random.integers(1, 400)), (1, 3, 4)[i % 3]
        out_h, out_w = (224, 224) if i % 4 == 0 else (int(random.integers(1, 300)), int(random.integers(1, 300)))
        pixels = noise(h, w, c, i)
        theirs = tf.cast(RAW[method](images=pixels[None], size=[out_h, out_w], **GRIDS[grid]), tf.float32)[0]
        for form, expected in (('float', theirs), ('bytes', tf.cast(theirs, tf.uint8)), ('clipped', tf.cast(tf.clip_by_value(theirs, 0, 255), tf.uint8))):
            if (method, form) == ('bicubic', 'bytes'):
                continue
            ours = dump.ask(f'resize {method} {grid} {form} {h} {w} {c} {out_h} {out_w}', pixels.tobytes(), expected.dtype.as_numpy_dtype)
            assert numpy.array_equal(ours, expected.numpy()), (h, w, c, out_h, out_w, form, worst(ours, expected.numpy()))


@pytest.mark.parametrize('name', ['text', 'empty', 'bmp-too-long', 'bmp-1-bit', 'gif-no-colours', 'gif-one', 'png-palette-missing',
                                  'webp-lossless-7x9', 'jpeg-cmyk-7x9', 'bmp-24-7x9', 'bmp-31-bytes', 'gif-index-too-large'])
def test_refusals_begin_with_tensorflows_words(dump, pictures, name):
    """TensorFlow puts the operation's name around its message; ours goes on with what we know. channels=1 is refused by most formats."""
    ours, theirs = dump.ask('decode 1', pictures[name]), tf_decode(pictures[name], 1)
    assert isinstance(ours, str) and isinstance(theirs, str)
    words = theirs.removeprefix('{{function_node __wrapped__DecodeImage_device_/job:localhost/replica:0/task:0/device:CPU:0}} ')
    words = words.split(' [Op:')[0].rstrip()
    assert ours.removeprefix('invalid argument: ').startswith(words), f'ours {ours!r}, TensorFlow {theirs!r}'


def test_wrong_channels_are_named(dump):
    grey = pillow(photo(20, 30, 1), 'L', 'JPEG')
    assert dump.ask('fit up 8 8 3 0', grey) == 'invalid argument: the picture has 1 channel, the model takes 3'
    assert dump.ask('fit up 8 8 3 3', grey).shape == (8, 8, 3)
    alpha = pillow(photo(20, 30, 4), 'RGBA', 'PNG')
    assert dump.ask('fit none 8 8 3 0', alpha) == 'invalid argument: the picture has 4 channels, the model takes 3'
