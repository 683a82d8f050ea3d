"""Finds where one picture of 16 x 16 pixels lies in another, by trying all places and sizes.

The map that it gives is where the registration of larger thumbnails starts
(`hashkit.kernels.registration`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined, kernel

__all__ = ["COARSE", "find_place", "shrink"]

COARSE = 16
"""Side, in pixels, of the pictures in which `find_place` searches."""

# Places of a part of 9 pixels in 16, the most along an axis.
_PLACES = 8

# Sum of squares, in grey values, below which a part has no contrast.
_FLAT = 100.0


@kernel
def shrink(image: NDArray[np.float32], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """A picture of 16 x 16 pixels in smaller sizes, each with the mean 0 and the sum of squares 1.

    Parameters
    ----------
    image
        float32 [16, 16].
    sizes
        int64 [n, 2], (height, width) in pixels.

    Returns
    -------
    NDArray
        float32 [n, 16, 16], of which the first ``height`` x ``width`` pixels are used. All are 0
        for a picture without contrast.
    """
    parts = np.zeros((len(sizes), COARSE, COARSE), np.float32)
    rows = np.empty((COARSE, COARSE), np.float64)
    for one in range(len(sizes)):
        height, width = sizes[one, 0], sizes[one, 1]
        part = parts[one]
        _resize(image, height, width, rows, part)
        total, squares = 0.0, 0.0
        for y in range(height):
            for x in range(width):
                value = part[y, x]
                total += value
                squares += value * value
        mean = total / (height * width)
        spread = squares - total * mean
        scale = 1.0 / np.sqrt(spread) if spread > _FLAT else 0.0
        for y in range(height):
            for x in range(width):
                part[y, x] = (part[y, x] - mean) * scale
    return parts


@inlined
def _resize(
    image: NDArray[np.float32],
    height: int,
    width: int,
    rows: NDArray[np.float64],
    part: NDArray[np.float32],
) -> None:
    """Add averages over the areas of pixels to ``part``; ``rows`` is overwritten."""
    for y in range(height):
        top, bottom = y * COARSE / height, (y + 1) * COARSE / height
        for column in range(COARSE):
            rows[y, column] = 0.0
        for row in range(int(top), min(int(np.ceil(bottom)), COARSE)):
            share = (min(bottom, row + 1.0) - max(top, float(row))) / (bottom - top)
            for column in range(COARSE):
                rows[y, column] += share * image[row, column]
    for x in range(width):
        start, end = x * COARSE / width, (x + 1) * COARSE / width
        for column in range(int(start), min(int(np.ceil(end)), COARSE)):
            share = (min(end, column + 1.0) - max(start, float(column))) / (end - start)
            for y in range(height):
                part[y, x] += share * rows[y, column]


@kernel
def find_place(
    large: NDArray[np.float32], parts: NDArray[np.float32], sizes: NDArray[np.int64]
) -> Any:
    """The part of one picture that correlates best with the whole of another.

    Parameters
    ----------
    large
        float32 [16, 16].
    parts
        float32 [n, 16, 16], the other picture from `shrink`.
    sizes
        int64 [n, 2], (height, width) of the parts, tried at every place. Each is 9 to 16, so that
        there are at most 8 places along each axis.

    Returns
    -------
    tuple
        Correlation, top, left, height and width of the part.
    """
    sums = np.zeros((2, COARSE + 1, COARSE + 1), np.float64)
    for y in range(COARSE):
        for x in range(COARSE):
            value = large[y, x]
            sums[0, y + 1, x + 1] = value + sums[0, y, x + 1] + sums[0, y + 1, x] - sums[0, y, x]
            sums[1, y + 1, x + 1] = (
                value * value + sums[1, y, x + 1] + sums[1, y + 1, x] - sums[1, y, x]
            )
    wide = np.zeros((COARSE, COARSE + _PLACES), np.float32)
    for y in range(COARSE):
        for x in range(COARSE):
            wide[y, x] = large[y, x]
    products = np.empty((COARSE, _PLACES), np.float32)
    best, best_top, best_left, best_one = -2.0, 0, 0, 0
    for one in range(len(sizes)):
        height, width = sizes[one, 0], sizes[one, 1]
        n_places = COARSE - width + 1
        _correlate(wide, parts[one], height, width, products)
        for top in range(COARSE - height + 1):
            for at in range(n_places):
                total = _area(sums[0], top, at, height, width)
                spread = _area(sums[1], top, at, height, width) - total * total / (height * width)
                if spread > _FLAT:
                    found = products[top, at] / np.sqrt(spread)
                    if found > best:
                        best, best_top, best_left, best_one = found, top, at, one
    return best, best_top, best_left, sizes[best_one, 0], sizes[best_one, 1]


@inlined
def _correlate(
    wide: NDArray[np.float32],
    part: NDArray[np.float32],
    height: int,
    width: int,
    products: NDArray[np.float32],
) -> None:
    """Sums of products of a part with every place, [top, left]; sums past the last are meaningless.

    All places are summed together: the order within one sum is fixed, so it cannot be vectorised,
    but the sums of eight places in a row fill one vector.
    """
    n_tops = COARSE - height + 1
    for top in range(n_tops):
        for at in range(_PLACES):
            products[top, at] = 0.0
    for y in range(height):
        for x in range(width):
            value = part[y, x]
            for top in range(n_tops):
                sums, places = products[top], wide[top + y]
                for at in range(_PLACES):
                    sums[at] += value * places[x + at]


@inlined
def _area(sums: NDArray[np.float64], top: int, left: int, height: int, width: int) -> float:
    """Sum over a part, from cumulative sums."""
    bottom, right = top + height, left + width
    return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
