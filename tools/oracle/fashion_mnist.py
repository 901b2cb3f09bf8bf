"""Reads Fashion-MNIST (MIT licence; Debian package dataset-fashion-mnist) from its IDX files."""
import gzip
import pathlib

import numpy as np

FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")


def read_idx(path):
    """One IDX file as an array: u8 only, which is all that the data set uses."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def test_set(folder=FOLDER):
    """The 10,000 test pictures [10000,28,28] and their classes [10000]."""
    return read_idx(folder / "t10k-images-idx3-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz")
