"""Subjects that are pickles: parts of CIFAR, and weights that torch saved."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

import published_sets

__all__ = ["PICKLE_SUBJECTS", "mutate_opcodes"]

GOLDEN = Path(__file__).parents[2] / "golden"


def _pickle(folder: Path) -> Subject:
    """Pickles without pixels, so that most damage is to the program that a pickle is."""
    names = published_sets.python2_pickle({b"label_names": list(published_sets.CIFAR10_NAMES)})
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    whole = published_sets.python2_pickle(
        {b"data": array, b"labels": [1, 2], b"x": (None, True, b"a")}
    )

    def read(path: Path, _: random.Random) -> None:
        from hashkit.datasets.pickles import read_plain_pickle

        read_plain_pickle(path.read_bytes(), str(path))

    return Subject(folder / "batch", [names, whole], read, [mutate_opcodes])


def _weights(folder: Path) -> Subject:
    def read(path: Path, _: random.Random) -> None:
        from hashkit.errors import ModelError
        from hashkit.inputs.torch_weights import read_torch_weights

        arrays = read_torch_weights(path.read_bytes(), str(path), error=ModelError, fix="no")
        for array in arrays.values():
            array.tobytes()

    seed = (GOLDEN / "torch-first-format.pth").read_bytes()
    return Subject(folder / "weights.pth", [seed], read, [mutate_opcodes])


def mutate_opcodes(rng: random.Random, data: bytes) -> bytes:
    """Put the opcodes of a pickle, whole and cut off, somewhere into the data."""
    pieces = (
        b"cos\nsystem\n", b"(dp0\n", b"\x85R", b"b", b"0", b"h\xff", b"j\xff\xff\xff\xff",
        b"\x8a\xff",
        b"T\xff\xff\xff\x7f", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"I" + b"9" * 4301 + b"\n", b"]2a",
        b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"\x96\xff\xff\xff\xff\xff\xff\xff\xff", b"t",
        b"2" * 3000,
        b"(" * 3000, b"]" * 3000 + b"a" * 2999, b"\x8b\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f",
        b"p99999999\n", b"Q", b"\x88Q", b"ctorch\nFloatStorage\n", b"\x82\x01",
    )  # fmt: skip
    at = rng.randrange(2, len(data) + 1)
    return data[:at] + rng.choice(pieces) + data[at + rng.choice((0, 0, 1, 5)) :]


PICKLE_SUBJECTS = {"pickle": _pickle, "torch-weights": _weights}
