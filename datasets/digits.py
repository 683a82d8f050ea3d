"""The handwritten digits of scikit-learn: a small, real image set that needs no download."""

from __future__ import annotations

import numpy as np

from hashkit.datasets.imageset import ImageSet
from hashkit.errors import MissingExtraError

__all__ = ["open_digits"]

_MAX_VALUE = 16


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
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("scikit-learn", "train", "the image set digits") from None
    digits = load_digits()
    values = digits.images.astype(np.int64)
    grey = ((values * 255 + _MAX_VALUE // 2) // _MAX_VALUE).astype(np.uint8)
    return ImageSet(
        name="digits",
        names=[f"digits/{row:04d}" for row in range(len(grey))],
        pixels=np.repeat(grey[..., None], 3, axis=3),
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
    )
