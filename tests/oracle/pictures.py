"""Encoded pictures for tests: every format, colour type and oddity that the decoders have to read as TensorFlow does.

Pillow writes the common forms; what it cannot write (16-bit and interlaced PNG, GIF frames anywhere on their screen, top-down BMP) is written
here by hand. Everything is a function of fixed seeds.
"""

import io
import struct
import zlib

import numpy
from PIL import Image

SIZES = [(1, 1), (1, 2), (1, 61), (61, 1), (2, 2), (7, 9), (15, 16), (17, 33), (37, 211), (211, 37), (223, 224), (512, 600)]


def photo(h, w, c, seed=0):
    """Smooth colours with some texture, uint8 [h, w, c]."""
    random = numpy.random.default_rng([seed, h, w, c])
    y, x = numpy.mgrid[0:h, 0:w].astype(numpy.float64)
    layers = []
    for _ in range(c):
        fy, fx, phase = random.uniform(0.01, 0.2, 3)
        layers.append(128 + 90 * numpy.sin(fy * y + 40 * phase) * numpy.cos(fx * x + phase) + random.normal(0, 12, (h, w)))
    return numpy.clip(numpy.stack(layers, -1), 0, 255).astype(numpy.uint8)


def noise(h, w, c, seed=0):
    return numpy.random.default_rng([seed, h, w, c, 1]).integers(0, 256, (h, w, c), dtype=numpy.uint8)


def pillow(pixels, mode, image_format, **options):
    out = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if image.mode != mode:
        image = image.convert(mode) if mode != 'CMYK' or pixels.shape[2] != 4 else Image.frombytes(
            'CMYK', (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.save(out, image_format, **options)
    return out.getvalue()


# ---- JPEG ----

def jpeg_segment(data, marker):
    """(start, end) of the first segment with this marker."""
    at = 2
    while data[at] == 0xff and data[at + 1] != 0xda:
        end = at + 2 + struct.unpack('>H', data[at + 2:at + 4])[0]
        if data[at + 1] == marker:
            return at, end
        at = end
    raise ValueError('no such segment')


def without_adobe_marker(data):
    start, end = jpeg_segment(data, 0xee)
    return data[:start] + data[end:]


def with_adobe_transform(data, transform):
    _, end = jpeg_segment(data, 0xee)
    return data[:end - 1] + bytes([transform]) + data[end:]


def jpegs():
    for h, w in SIZES:
        for sampling, name in ((0, '444'), (1, '422'), (2, '420')):
            for progressive in (False, True):
                kind = 'progressive' if progressive else 'baseline'
                yield (f'jpeg-{kind}-{name}-{h}x{w}',
                       pillow(photo(h, w, 3), 'RGB', 'JPEG', quality=75, subsampling=sampling, progressive=progressive))
        yield f'jpeg-grey-{h}x{w}', pillow(photo(h, w, 1), 'L', 'JPEG', quality=80)
        cmyk = pillow(photo(h, w, 4), 'CMYK', 'JPEG', quality=85)
        yield f'jpeg-cmyk-{h}x{w}', cmyk
        yield f'jpeg-cmyk-no-adobe-{h}x{w}', without_adobe_marker(cmyk)
        yield f'jpeg-ycck-{h}x{w}', with_adobe_transform(cmyk, 2)
    for quality in (1, 30, 95, 100):
        for sampling in (0, 1, 2):
            yield f'jpeg-noise-q{quality}-s{sampling}', pillow(noise(67, 83, 3), 'RGB', 'JPEG', quality=quality, subsampling=sampling)
            yield f'jpeg-photo-q{quality}-s{sampling}', pillow(photo(130, 97, 3), 'RGB', 'JPEG', quality=quality, subsampling=sampling)
    yield 'jpeg-grey-progressive', pillow(photo(70, 90, 1), 'L', 'JPEG', progressive=True)
    yield 'jpeg-rgb-colours', pillow(photo(50, 60, 3), 'RGB', 'JPEG', keep_rgb=True)
    yield 'jpeg-restarts', pillow(photo(90, 70, 3), 'RGB', 'JPEG', restart_marker_blocks=3)
    yield 'jpeg-optimised', pillow(photo(90, 70, 3), 'RGB', 'JPEG', optimize=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield 'jpeg-exif-rotated', pillow(photo(40, 80, 3), 'RGB', 'JPEG', exif=exif)
    yield 'jpeg-trailing-bytes', pillow(photo(40, 80, 3), 'RGB', 'JPEG') + b'more' * 100
    two = bytearray(pillow(photo(40, 80, 1), 'L', 'JPEG'))
    yield 'jpeg-12-bit-claimed', bytes(two[:jpeg_segment(two, 0xc0)[0] + 4]) + b'\x0c' + bytes(two[jpeg_segment(two, 0xc0)[0] + 5:])


# ---- PNG ----

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png_chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png_rows(samples, depth):
    """Filter byte 0 and packed samples for every row of [h, w, c]."""
    out = bytearray()
    for row in samples.reshape(samples.shape[0], -1):
        out.append(0)
        if depth == 16:
            out += row.astype('>u2').tobytes()
        elif depth == 8:
            out += row.astype(numpy.uint8).tobytes()
        else:
            bits = ''.join(format(int(value), f'0{depth}b') for value in row)
            bits += '0' * (-len(bits) % 8)
            out += bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return bytes(out)


def png(samples, colour, depth, chunks=(), interlaced=False):
    """samples: [h, w, channels of the file]; colour: PNG's colour type; chunks: (kind, body) before IDAT."""
    h, w = samples.shape[:2]
    if interlaced:
        passes = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7]
        raw = b''.join(png_rows(part, depth) for part in passes if part.size)
    else:
        raw = png_rows(samples, depth)
    body = b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, colour, 0, 0, int(interlaced)))
    body += b''.join(png_chunk(kind, data) for kind, data in chunks)
    return body + png_chunk(b'IDAT', zlib.compress(raw, 6)) + png_chunk(b'IEND', b'')


def png_samples(h, w, c, depth, limit=None):
    return numpy.random.default_rng([h, w, c, depth]).integers(0, limit or 1 << depth, (h, w, c))


def pngs():
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    names = {0: 'grey', 2: 'rgb', 3: 'palette', 4: 'grey-alpha', 6: 'rgba'}
    for colour, c in channels.items():
        for depth in depths[colour]:
            entries = 1 << min(depth, 8)
            palette = [(b'PLTE', noise(1, entries, 3).tobytes())] if colour == 3 else []
            transparency = {0: struct.pack('>H', 1), 2: struct.pack('>HHH', 1, 2, 3), 3: noise(1, max(entries - 1, 1), 1).tobytes()}
            for h, w in ((1, 1), (5, 1), (1, 13), (37, 211), (64, 65)):
                for interlaced in (False, True):
                    samples = png_samples(h, w, c, depth)
                    name = f'png-{names[colour]}-{depth}{"-interlaced" if interlaced else ""}-{h}x{w}'
                    yield name, png(samples, colour, depth, palette, interlaced)
                    if colour in transparency:
                        yield f'{name}-trns', png(samples, colour, depth, palette + [(b'tRNS', transparency[colour])], interlaced)
    samples = png_samples(40, 50, 3, 8)
    yield 'png-gama', png(samples, 2, 8, [(b'gAMA', struct.pack('>I', 45455))])
    yield 'png-gama-linear', png(samples, 2, 8, [(b'gAMA', struct.pack('>I', 100000))])
    yield 'png-gama-16', png(png_samples(40, 50, 3, 16), 2, 16, [(b'gAMA', struct.pack('>I', 100000))])
    yield 'png-srgb', png(samples, 2, 8, [(b'sRGB', b'\0')])
    yield 'png-chrm', png(samples, 2, 8, [(b'cHRM', struct.pack('>8I', 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))])
    yield 'png-sbit', png(samples, 2, 8, [(b'sBIT', b'\5\6\5')])
    yield 'png-background', png(png_samples(40, 50, 4, 8), 6, 8, [(b'bKGD', struct.pack('>HHH', 1, 2, 3))])
    comment = b'Comment\0\0' + zlib.compress(bytes(5000))
    yield 'png-text', png(samples, 2, 8, [(b'tEXt', b'Title\0hello'), (b'zTXt', comment), (b'iTXt', b'Title\0\0\0en\0Titel\0hallo')] * 3)
    yield 'png-text-damaged', png(samples, 2, 8, [(b'zTXt', comment[:-3]), (b'tEXt', b''), (b'zTXt', b'Comment\0\7xxx')])
    yield 'png-text-bad-sum', png(samples, 2, 8, [(b'tEXt', b'Title\0hello')]).replace(b'hello', b'hallo')
    yield 'png-profile-damaged', png(samples, 2, 8, [(b'iCCP', b'profile\0\0' + zlib.compress(bytes(200)))])
    yield 'png-unknown-chunk', png(samples, 2, 8, [(b'abCd', b'private')])
    yield 'png-unknown-critical-chunk', png(samples, 2, 8, [(b'ABCD', b'private')])
    yield 'png-two-palettes', png(png_samples(9, 9, 1, 4), 3, 4, [(b'PLTE', noise(1, 16, 3).tobytes())] * 2)
    yield 'png-palette-index-too-large', png(png_samples(9, 9, 1, 8), 3, 8, [(b'PLTE', noise(1, 16, 3).tobytes())])
    yield 'png-palette-missing', png(png_samples(9, 9, 1, 8), 3, 8)
    yield 'png-trailing-bytes', png(samples, 2, 8) + b'more'
    for h, w in SIZES:
        for mode, c in (('RGB', 3), ('L', 1), ('RGBA', 4), ('LA', 2)):
            yield f'png-pillow-{mode}-{h}x{w}', pillow(photo(h, w, c), mode, 'PNG')


# ---- GIF ----

def lzw(indexes, bits):
    """GIF image data that never grows its code table: a clear code before it would."""
    clear, out, value, filled, width, run = 1 << bits, bytearray(), 0, 0, bits + 1, 0
    codes = []
    for index in indexes:
        if run == 0:
            codes.append(clear)
        codes.append(int(index))
        run = (run + 1) % ((1 << bits) - 2)
    for code in codes + [clear + 1]:
        value |= code << filled
        filled += width
        while filled >= 8:
            out.append(value & 255)
            value, filled = value >> 8, filled - 8
    out.append(value & 255)
    blocks = b''.join(bytes([len(out[i:i + 255])]) + bytes(out[i:i + 255]) for i in range(0, len(out), 255))
    return bytes([bits]) + blocks + b'\0'


def gif_frame(pixels, left=0, top=0, colours=None, interlaced=False, bits=8):
    h, w = pixels.shape
    rows = pixels
    if interlaced:
        rows = numpy.concatenate([pixels[start::step] for start, step in ((0, 8), (4, 8), (2, 4), (1, 2))])
    flags = (0x40 if interlaced else 0) | (0x80 | (bits - 1) if colours is not None else 0)
    table = colours.tobytes() if colours is not None else b''
    return b',' + struct.pack('<HHHHB', left, top, w, h, flags) + table + lzw(rows.reshape(-1), max(bits, 2))


def gif_control(transparent):
    return b'\x21\xf9\x04' + struct.pack('<BHB', 1 if transparent is not None else 0, 10, transparent or 0) + b'\0'


def gif(screen_h, screen_w, colours, *records, trailer=b';'):
    table = colours.tobytes() if colours is not None else b''
    bits = max(len(table) // 3, 2).bit_length() - 1
    flags = 0x80 | (bits - 1) if colours is not None else 0
    return b'GIF89a' + struct.pack('<HHBBB', screen_w, screen_h, flags, 0, 0) + table + b''.join(records) + trailer


def gifs():
    colours = noise(1, 256, 3)[0]
    local = noise(1, 256, 3, seed=5)[0]
    frame = noise(20, 30, 1)[:, :, 0]
    small = noise(7, 5, 1)[:, :, 0]
    for h, w in SIZES:
        yield f'gif-pillow-{h}x{w}', pillow(photo(h, w, 3), 'P', 'GIF')
    yield 'gif-one', gif(20, 30, colours, gif_frame(frame))
    yield 'gif-interlaced', gif(20, 30, colours, gif_frame(frame, interlaced=True))
    yield 'gif-interlaced-3-rows', gif(3, 30, colours, gif_frame(frame[:3], interlaced=True))
    yield 'gif-local-colours', gif(20, 30, colours, gif_frame(frame, colours=local))
    yield 'gif-only-local-colours', gif(20, 30, None, gif_frame(frame, colours=local))
    yield 'gif-no-colours', gif(20, 30, None, gif_frame(frame))
    yield 'gif-transparent', gif(20, 30, colours, gif_control(int(frame[0, 0])), gif_frame(frame))
    yield 'gif-two-controls', gif(20, 30, colours, gif_control(int(frame[0, 0])), gif_control(int(frame[1, 1])), gif_frame(frame))
    yield 'gif-not-transparent', gif(20, 30, colours, gif_control(None), gif_frame(frame))
    yield 'gif-large-screen', gif(200, 300, colours, gif_frame(frame))
    yield 'gif-small-screen', gif(2, 3, colours, gif_frame(frame))
    yield 'gif-moved', gif(40, 50, colours, gif_frame(frame, left=4, top=3))
    yield 'gif-moved-outside', gif(40, 50, colours, gif_frame(frame, left=45, top=38))
    yield 'gif-larger-second', gif(40, 50, colours, gif_frame(small, left=2, top=1), gif_frame(frame))
    yield 'gif-wider-second-higher-third', gif(40, 50, colours, gif_frame(small), gif_frame(frame[:2]), gif_frame(frame[:, :3]))
    yield 'gif-second-control', gif(40, 50, colours, gif_frame(frame), gif_control(int(frame[0, 0])), gif_frame(small))
    yield 'gif-comment', gif(20, 30, colours, b'\x21\xfe\x05hello\0', gif_frame(frame), b'\x21\xfe\x05hello\0')
    yield 'gif-odd-control', gif(20, 30, colours, b'\x21\xf9\x03\1\0\0\0', gif_frame(frame))
    yield 'gif-empty-extension', gif(20, 30, colours, b'\x21\xf9\0', gif_control(int(frame[0, 0])), gif_frame(frame))
    yield 'gif-few-colours', gif(20, 30, colours[:4], gif_frame(frame % 4, bits=2))
    yield 'gif-index-too-large', gif(20, 30, colours[:4], gif_frame(frame))
    yield 'gif-index-too-large-second', gif(20, 30, colours[:4], gif_frame(frame % 4, bits=2), gif_frame(frame))
    yield 'gif-no-trailer', gif(20, 30, colours, gif_frame(frame), trailer=b'')
    yield 'gif-junk-trailer', gif(20, 30, colours, gif_frame(frame), trailer=b'junk')
    yield 'gif-no-image', gif(20, 30, colours)
    yield 'gif-empty-frame', gif(20, 30, colours, gif_frame(frame[:0]))
    yield 'gif-empty-second', gif(20, 30, colours, gif_frame(frame), gif_frame(frame[:, :0]))
    yield 'gif-second-lzw-9', gif(20, 30, colours, gif_frame(small), gif_frame(frame).replace(b'\x08\xff', b'\x0f\xff', 1))
    yield 'gif-second-defect', gif(40, 30, colours, gif_frame(small), gif_frame(frame)[:11] + b'\x08\x04\xff\xff\xff\xff\0', gif_frame(frame))
    yield 'gif-too-few-pixels', gif(20, 30, colours, gif_frame(small)[:5] + struct.pack('<HH', 30, 20) + gif_frame(small)[9:])
    yield 'gif-too-many-pixels', gif(20, 30, colours, gif_frame(frame)[:5] + struct.pack('<HH', 5, 7) + gif_frame(frame)[9:])
    frames = [Image.fromarray(photo(33, 44, 3, seed)).convert('P') for seed in range(4)]
    out = io.BytesIO()
    frames[0].save(out, 'GIF', save_all=True, append_images=frames[1:])
    yield 'gif-animation', out.getvalue()


# ---- BMP ----

def bmp(samples, bits, h, w, header_bytes=54, extra=b''):
    rows = b''.join(row.tobytes() + b'\0' * (-row.nbytes % 4) for row in samples)
    head = b'BM' + struct.pack('<IIIIiiHHIIiiII', header_bytes + len(rows), 0, header_bytes, 40, w, h, 1, bits, 0, len(rows), 0, 0, 0, 0)
    return head.ljust(header_bytes, b'\7')[:header_bytes] + rows + extra


def bmps():
    for h, w in SIZES:
        for bits, c in ((24, 3), (32, 4), (8, 1)):
            samples = noise(h, w, c)
            yield f'bmp-{bits}-{h}x{w}', bmp(samples, bits, h, w)
            yield f'bmp-{bits}-top-down-{h}x{w}', bmp(samples, bits, -h, w)
        yield f'bmp-pillow-P-{h}x{w}', pillow(photo(h, w, 3), 'P', 'BMP')
    samples = noise(6, 5, 3)
    yield 'bmp-long-header', bmp(samples, 24, 6, 5, header_bytes=138)
    yield 'bmp-1-bit', pillow(photo(20, 20, 1), '1', 'BMP')
    yield 'bmp-16-bit', bmp(noise(6, 5, 2), 16, 6, 5)
    yield 'bmp-31-bit', bmp(samples, 31, 6, 5)
    yield 'bmp-negative-bits', bmp(samples, 0xfff0, 6, 5)
    yield 'bmp-too-long', bmp(samples, 24, 6, 5, extra=b'12345')
    yield 'bmp-too-short', bmp(samples, 24, 6, 5)[:-3]
    yield 'bmp-no-width', bmp(samples, 24, 6, 0)
    yield 'bmp-negative-width', bmp(samples, 24, 6, -5)
    yield 'bmp-no-height', bmp(samples, 24, 0, 5)
    yield 'bmp-31-bytes', bmp(samples, 24, 6, 5)[:31]
    yield 'bmp-32-bytes', bmp(samples, 24, 6, 5)[:32]
    yield 'bmp-negative-header', bmp(samples, 24, 6, 5)[:10] + struct.pack('<i', -4) + bmp(samples, 24, 6, 5)[14:]
    yield 'bmp-lowest-height', bmp(samples, 24, -2**31, 5)


# ---- WebP ----

def webps():
    for h, w in SIZES:
        for quality in (10, 80, 100):
            yield f'webp-lossy-q{quality}-{h}x{w}', pillow(photo(h, w, 3), 'RGB', 'WEBP', quality=quality)
        yield f'webp-lossless-{h}x{w}', pillow(photo(h, w, 3), 'RGB', 'WEBP', lossless=True)
        yield f'webp-alpha-{h}x{w}', pillow(photo(h, w, 4), 'RGBA', 'WEBP', quality=70)
        yield f'webp-alpha-lossless-{h}x{w}', pillow(photo(h, w, 4), 'RGBA', 'WEBP', lossless=True)
    yield 'webp-opaque-alpha', pillow(numpy.concatenate([photo(20, 30, 3), numpy.full((20, 30, 1), 255, numpy.uint8)], -1), 'RGBA', 'WEBP')
    frames = [Image.fromarray(photo(33, 44, 4, seed)) for seed in range(3)]
    out = io.BytesIO()
    frames[0].save(out, 'WEBP', save_all=True, append_images=frames[1:])
    yield 'webp-animation', out.getvalue()


# ---- what is none of them ----

def oddities():
    yield 'empty', b''
    yield 'one-byte', b'\xff'
    yield 'two-bytes-of-jpeg', b'\xff\xd8'
    yield 'three-bytes-of-jpeg', b'\xff\xd8\xff'
    yield 'text', b'hello, this is no picture at all'
    yield 'html', b'<html><body>404</body></html>'
    yield 'tiff', pillow(photo(5, 6, 3), 'RGB', 'TIFF')
    yield 'png-signature', b'\x89PNG\r\n\x1a\n'
    yield 'gif-signature', b'GIF8'
    yield 'bmp-signature', b'BM'
    yield 'riff-12', b'RIFF\4\0\0\0WEBP'
    yield 'riff-13', b'RIFF\5\0\0\0WEBPV'
    yield 'wave', b'RIFF\x24\0\0\0WAVEfmt ' + bytes(32)


def every_picture():
    for source in (jpegs, pngs, gifs, bmps, webps, oddities):
        yield from source()


def damaged(count, seed=0):
    """Pictures cut short and with bytes changed, `count` of each of several originals."""
    random = numpy.random.default_rng(seed)
    colours = noise(1, 256, 3)[0]
    frames = [gif_frame(noise(20, 30, 1, i)[:, :, 0]) for i in range(3)]
    originals = {
        'jpeg-420': pillow(photo(61, 83, 3), 'RGB', 'JPEG', quality=80, subsampling=2),
        'jpeg-444': pillow(photo(61, 83, 3), 'RGB', 'JPEG', quality=95, subsampling=0),
        'jpeg-progressive': pillow(photo(61, 83, 3), 'RGB', 'JPEG', quality=80, progressive=True),
        'jpeg-restarts': pillow(photo(61, 83, 3), 'RGB', 'JPEG', quality=80, restart_marker_blocks=2),
        'jpeg-grey': pillow(photo(61, 83, 1), 'L', 'JPEG'),
        'jpeg-cmyk': pillow(photo(61, 83, 4), 'CMYK', 'JPEG'),
        'png-rgb': pillow(photo(61, 83, 3), 'RGB', 'PNG'),
        'png-palette': png(png_samples(40, 30, 1, 4), 3, 4, [(b'PLTE', noise(1, 16, 3).tobytes()), (b'tRNS', noise(1, 9, 1).tobytes())], True),
        'png-16': png(png_samples(40, 30, 3, 16), 2, 16, [(b'gAMA', struct.pack('>I', 45455))]),
        'gif': gif(20, 30, colours, gif_control(3), frames[0]),
        'gif-animation': gif(20, 30, colours, *frames),
        'bmp': bmp(noise(20, 31, 3), 24, 20, 31),
        'webp-lossy': pillow(photo(61, 83, 3), 'RGB', 'WEBP', quality=70),
        'webp-lossless': pillow(photo(61, 83, 3), 'RGB', 'WEBP', lossless=True),
    }
    for name, data in originals.items():
        for i in range(count):
            cut = int(random.integers(1, len(data)))
            yield f'{name}-cut-{cut}', data[:cut]
            changed = bytearray(data)
            where = [int(random.integers(0, min(len(data), 700)) if i % 2 else random.integers(0, len(data))) for _ in range(1 + i % 3)]
            for at in where:
                changed[at] ^= int(random.integers(1, 256))
            yield f'{name}-changed-{i}-at-{where}', bytes(changed)
        for tail in (1, 2, 3, 4, 8, 12):
            yield f'{name}-without-last-{tail}', data[:-tail]
