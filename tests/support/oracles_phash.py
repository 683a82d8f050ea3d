"""Perceptual hashes in NumPy: as ImageHash defines them, and as the built-in models round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def cosines(size: int, side: int) -> NDArray[np.float64]:
    """The first ``side`` rows of the DCT-II of ``size`` values, without factors."""
    rows = [
        [np.cos(np.pi * row * (2 * place + 1) / (2 * size)) for place in range(size)]
        for row in range(side)
    ]
    return np.array(rows)


def imagehash_margins(image: Image.Image, side: int) -> NDArray[np.float64]:
    """Coefficients minus median, float64 [side * side], of ImageHash's ``phash(image, side)``.

    Written from its documentation: the image is converted to grey and resized with Lanczos to
    (4 * side, 4 * side). A DCT-II is applied along both axes, and the lowest frequencies are
    compared with their median.
    """
    size = 4 * side
    grey = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
    kept = cosines(size, side)
    coefficients = (kept @ np.asarray(grey, np.float64) @ kept.T).ravel()
    return coefficients - np.median(coefficients)


def phash_logits(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Logits of a built-in model in integers of 64 bits, float32 [n, side * side].

    Parameters
    ----------
    images
        uint8 [n, 4 * side, 4 * side, 3].
    """
    size = 4 * side
    grey = (images.astype(np.int64) @ np.array([19595, 38470, 7471]) + 2**15) >> 16
    rounded = np.rint(1024 * cosines(size, side)).astype(np.int64)
    rows = (grey @ rounded.T + 32) // 64
    sums = (rounded @ rows).reshape(len(images), -1)
    assert np.abs(sums).max() < 2**53
    coefficients = sums.astype(np.float32) * np.float32(64 / (1024 * size) ** 2)
    ordered = np.sort(coefficients, axis=1)
    middle = ordered.shape[1] // 2
    median = (ordered[:, middle - 1] + ordered[:, middle]) / np.float32(2)
    return coefficients - median[:, None]
