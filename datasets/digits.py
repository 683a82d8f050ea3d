"""The handwritten digits of scikit-learn: a small, real image set that needs no download."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.distribution import find_package
from hashkit.errors import MissingExtraError

__all__ = ["open_digits"]

_MAX_VALUE = 16

_FILE = "datasets/data/digits.csv.gz"
"""Path in the folder of scikit-learn: 1,797 lines of 64 values and a label."""


def open_digits() -> ImageSet:
    """Return the 1,797 grey 8 x 8 digits as an image set named ``digits``.

    Grey values 0 to 16 are scaled to ``round(value * 255 / 16)`` and repeated to RGB. The set has
    no official test part. Source: Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*,
    UCI Machine Learning Repository, 1998 (its test part).

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    table = _table()
    values = table[:, :-1].reshape(-1, 8, 8)
    grey = ((values * 255 + _MAX_VALUE // 2) // _MAX_VALUE).astype(np.uint8)
    return ImageSet(
        name="digits",
        names=[f"digits/{row:04d}" for row in range(len(grey))],
        pixels=np.repeat(grey[..., None], 3, axis=3),
        labels=table[:, -1].copy(),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def _table() -> NDArray[np.int64]:
    """Grey values and label of each digit, int64 [1797, 65].

    Read from the file of scikit-learn, as importing that package takes longer than a second.
    """
    found = find_package("sklearn")
    if found is None or found.origin is None:
        raise MissingExtraError("scikit-learn", "train", "the image set digits")
    path = Path(found.origin).parent / _FILE
    if not path.is_file():  # another release may keep it elsewhere
        from sklearn.datasets import load_digits

        digits = load_digits()
        return np.column_stack([digits.data, digits.target]).astype(np.int64)
    lines = gzip.decompress(path.read_bytes()).decode().split()
    return np.array([line.split(",") for line in lines]).astype(np.int64)
