"""Finds where one small picture lies in another, and how well the two agree there.

Two pictures are compared under maps that keep the axes: ``y' = sy * y + ty``, ``x' = sx * x + tx``.
Thumbnails that were stretched to a square differ by such a map if one picture is a resized copy of
the other, a part of it, or has a border around it. `find_place` tries maps on pictures of 16 x 16
pixels, which `shrink` prepares. `refine` improves a map by the Gauss-Newton method, together with a
gain and an offset of the brightness (Lucas & Kanade 1981; Baker & Matthews 2004, section 3.2), and
`agreement` compares blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined, kernel

__all__ = ["BLOCK", "COARSE", "agreement", "find_place", "refine", "shrink"]

BLOCK = 8
"""Side, in pixels, of the blocks that `agreement` compares."""

COARSE = 16
"""Side, in pixels, of the pictures in which `find_place` searches."""

# Sum of squares, in grey values, below which a part has no contrast.
_FLAT = 100.0

# Pixels of a side that must overlap at least, as a share: half of a side, a quarter of the area.
_LEAST_OVERLAP = 0.5

# Change of a map, in pixels at the far end, at which refinement stops.
_STILL = 0.02

# Error, in grey values, from which a pixel counts less.
_OUTLIER = 20.0

# Standard deviation, in grey values, at which a block's texture counts in full.
_TEXTURE = 8.0


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
    for one in range(len(sizes)):
        height, width = sizes[one, 0], sizes[one, 1]
        part = parts[one]
        total, squares = 0.0, 0.0
        for y in range(height):
            top, bottom = y * COARSE / height, (y + 1) * COARSE / height
            for x in range(width):
                start, end = x * COARSE / width, (x + 1) * COARSE / width
                value = 0.0
                for row in range(int(top), min(int(np.ceil(bottom)), COARSE)):
                    share = min(bottom, row + 1.0) - max(top, float(row))
                    for column in range(int(start), min(int(np.ceil(end)), COARSE)):
                        reach = min(end, column + 1.0) - max(start, float(column))
                        value += share * reach * image[row, column]
                value /= (bottom - top) * (end - start)
                part[y, x] = value
                total += value
                squares += value * value
        mean = total / (height * width)
        spread = squares - total * mean
        scale = 1.0 / np.sqrt(spread) if spread > _FLAT else 0.0
        for y in range(height):
            for x in range(width):
                part[y, x] = (part[y, x] - mean) * scale
    return parts


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
        int64 [n, 2], (height, width) of the parts, tried at every place.

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
    products = np.empty(COARSE, np.float32)
    best, best_top, best_left, best_one = -2.0, 0, 0, 0
    for one in range(len(sizes)):
        height, width = sizes[one, 0], sizes[one, 1]
        n_places = COARSE - width + 1
        for top in range(COARSE - height + 1):
            _correlate(large, parts[one], top, height, width, products)
            for at in range(n_places):
                total = _area(sums[0], top, at, height, width)
                spread = _area(sums[1], top, at, height, width) - total * total / (height * width)
                if spread > _FLAT:
                    found = products[at] / np.sqrt(spread)
                    if found > best:
                        best, best_top, best_left, best_one = found, top, at, one
    return best, best_top, best_left, sizes[best_one, 0], sizes[best_one, 1]


@inlined
def _correlate(
    large: NDArray[np.float32],
    part: NDArray[np.float32],
    top: int,
    height: int,
    width: int,
    products: NDArray[np.float32],
) -> None:
    """Sums of products of a part with every place of some rows."""
    n_places = COARSE - width + 1
    products[:n_places] = 0.0
    for y in range(height):
        for x in range(width):
            value = part[y, x]
            # Along the places, not along the part: a sum of floats has one order.
            for at in range(n_places):
                products[at] += value * large[top + y, at + x]


@inlined
def _area(sums: NDArray[np.float64], top: int, left: int, height: int, width: int) -> float:
    """Sum over a part, from cumulative sums."""
    bottom, right = top + height, left + width
    return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


@inlined
def _sampled(image: NDArray[np.float32], y: float, x: float) -> Any:
    """Value and gradient at a place inside, by linear interpolation."""
    row, column = min(int(y), image.shape[0] - 2), min(int(x), image.shape[1] - 2)
    below, right = y - row, x - column
    a, b = image[row, column], image[row, column + 1]
    c, d = image[row + 1, column], image[row + 1, column + 1]
    upper, lower = a + (b - a) * right, c + (d - c) * right
    across = (b - a) * (1.0 - below) + (d - c) * below
    return upper + (lower - upper) * below, lower - upper, across


@kernel
def refine(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    start: NDArray[np.float64],
    n_steps: int,
) -> NDArray[np.float64]:
    """A map from pixels of ``right`` to places in ``left`` near ``start`` that makes them agree.

    Parameters
    ----------
    left, right
        float32 [s, s].
    start
        float64 [4], (sy, ty, sx, tx).
    n_steps
        Most steps.

    Returns
    -------
    NDArray
        float64 [4], the improved map; ``start`` if the pictures overlap too little under it.
    """
    side = left.shape[0]
    least = _LEAST_OVERLAP * _LEAST_OVERLAP * side * side
    found = start.copy()
    matrix, vector = np.empty((6, 6), np.float64), np.empty(6, np.float64)
    gain, offset = _brightness(left, right, found)
    for _ in range(n_steps):
        if _normal_equations(left, right, found, gain, offset, matrix, vector) < least:
            return start.copy()
        _solve(matrix, vector)
        for i in range(4):
            found[i] += vector[i]
        gain, offset = gain + vector[4], offset + vector[5]
        moved = abs(vector[1]) + abs(vector[3]) + side * (abs(vector[0]) + abs(vector[2]))
        if moved < _STILL:
            break
    return found


@inlined
def _normal_equations(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    place: NDArray[np.float64],
    gain: float,
    offset: float,
    matrix: NDArray[np.float64],
    vector: NDArray[np.float64],
) -> int:
    """Fill in the lower triangle and the right side of the equations of one step.

    Unknown are changes of the map's four numbers, of the gain and of the offset. Returns the number
    of pixels that overlap.
    """
    side = left.shape[0]
    slope = np.empty(6, np.float64)
    matrix[:], vector[:] = 0.0, 0.0
    n_used = 0
    for y in range(side):
        at_y = place[0] * y + place[1]
        if at_y < 0.0 or at_y > side - 1.0:
            continue
        for x in range(side):
            at_x = place[2] * x + place[3]
            if at_x < 0.0 or at_x > side - 1.0:
                continue
            value, down, across = _sampled(left, at_y, at_x)
            error = right[y, x] - (gain * value + offset)
            slope[0], slope[1] = gain * down * y, gain * down
            slope[2], slope[3] = gain * across * x, gain * across
            slope[4], slope[5] = value, 1.0
            # Text is an outlier: a large error counts less (Huber 1964).
            weight = 1.0 if abs(error) <= _OUTLIER else _OUTLIER / abs(error)
            for i in range(6):
                scaled = weight * slope[i]
                vector[i] += scaled * error
                for j in range(i + 1):
                    matrix[i, j] += scaled * slope[j]
            n_used += 1
    return n_used


@inlined
def _solve(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> None:
    """Replace ``vector`` by the solution of a positive definite system (Cholesky), in place.

    The upper triangle is not read. Diagonals grow a little, for pictures without texture.
    """
    n = len(vector)
    for i in range(n):
        matrix[i, i] += 1e-3 + 1e-6 * matrix[i, i]
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(max(value, 1e-12)) if i == j else value / matrix[j, j]
    for i in range(n):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]


@inlined
def _brightness(
    left: NDArray[np.float32], right: NDArray[np.float32], place: NDArray[np.float64]
) -> Any:
    """Gain and offset that turn ``left`` into ``right`` where they overlap, by least squares."""
    side = left.shape[0]
    count, total, squares, other, products = 0, 0.0, 0.0, 0.0, 0.0
    for y in range(side):
        at_y = place[0] * y + place[1]
        if at_y < 0.0 or at_y > side - 1.0:
            continue
        for x in range(side):
            at_x = place[2] * x + place[3]
            if at_x < 0.0 or at_x > side - 1.0:
                continue
            value, _, _ = _sampled(left, at_y, at_x)
            count += 1
            total += value
            squares += value * value
            other += right[y, x]
            products += value * right[y, x]
    spread = squares - total * total / max(count, 1)
    if spread < 1.0:
        return 1.0, 0.0
    gain = (products - total * other / count) / spread
    return gain, (other - gain * total) / count


@kernel
def agreement(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    place: NDArray[np.float64],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> float:
    """Correlation of each block of ``right`` with its place in ``left``, and the block's texture.

    Parameters
    ----------
    left, right
        float32 [s, s].
    place
        float64 [4], the map from pixels of ``right`` to places in ``left``.
    values, weights
        float32 [(s / `BLOCK`) ** 2], filled with correlations, and with weights from 0 (no texture,
        or less than three quarters inside) to 1.

    Returns
    -------
    float
        Correlation over all pixels that overlap.
    """
    side = left.shape[0]
    n_blocks = side // BLOCK
    all_sums = np.zeros(6, np.float64)
    sums = np.empty(6, np.float64)
    for row in range(n_blocks):
        for column in range(n_blocks):
            sums[:] = 0.0
            for y in range(row * BLOCK, (row + 1) * BLOCK):
                at_y = place[0] * y + place[1]
                if at_y < 0.0 or at_y > side - 1.0:
                    continue
                for x in range(column * BLOCK, (column + 1) * BLOCK):
                    at_x = place[2] * x + place[3]
                    if at_x < 0.0 or at_x > side - 1.0:
                        continue
                    value, _, _ = _sampled(left, at_y, at_x)
                    other = right[y, x]
                    sums[0] += 1.0
                    sums[1] += value
                    sums[2] += other
                    sums[3] += value * value
                    sums[4] += other * other
                    sums[5] += value * other
            all_sums += sums
            index = row * n_blocks + column
            values[index], weights[index] = 0.0, 0.0
            if sums[0] >= 0.75 * BLOCK * BLOCK:
                values[index] = _correlation(sums, 1.0)
                deviation = np.sqrt(
                    max(sums[3] - sums[1] ** 2 / sums[0], sums[4] - sums[2] ** 2 / sums[0], 0.0)
                    / sums[0]
                )
                weights[index] = min(deviation / _TEXTURE, 1.0)
    return float(_correlation(all_sums, 0.1)) if all_sums[0] > 0.0 else 0.0


@inlined
def _correlation(sums: NDArray[np.float64], noise: float) -> float:
    """Correlation from sums; ``noise``, a variance, keeps that of two flat blocks near 0."""
    count = sums[0]
    left = sums[3] - sums[1] * sums[1] / count + noise * count
    right = sums[4] - sums[2] * sums[2] / count + noise * count
    return float((sums[5] - sums[1] * sums[2] / count) / np.sqrt(left * right))
