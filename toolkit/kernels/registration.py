"""Registers one small picture with another, and measures how well the two agree.

Two pictures are compared under maps that keep the axes: ``y' = sy * y + ty``, ``x' = sx * x + tx``.
Thumbnails that were stretched to a square differ by such a map if one picture is a resized copy of
the other, a part of it, or has a border around it. `refine` improves a map by the Gauss-Newton
method, together with a gain and an offset of the brightness (Lucas & Kanade 1981; Baker & Matthews
2004, section 3.2), and `agreement` compares blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined, inlined_sums, inner_kernel, kernel

__all__ = ["BLOCK", "agreement", "refine"]

BLOCK = 8
"""Side, in pixels, of the blocks that `agreement` compares."""

# Smallest share of each side that must overlap: half of each side is a quarter of the area.
_LEAST_OVERLAP = 0.5

# Change of a map, in pixels at the far end, at which refinement stops.
_STILL = 0.02

# Error, in grey values, from which a pixel counts less.
_OUTLIER = 20.0

# Standard deviation, in grey values, at which a block's texture counts in full.
_TEXTURE = 8.0


@inlined
def _inside(scale: float, offset: float, side: int) -> Any:
    """First and last + 1 of the pixels whose place ``scale * x + offset`` is in the other picture.

    ``scale`` is positive.
    """
    first, stop = 0, side
    while first < side and scale * first + offset < 0.0:
        first += 1
    while stop > first and scale * (stop - 1) + offset > side - 1.0:
        stop -= 1
    return first, stop


@inlined
def _value(image: NDArray[np.float32], row: int, below: float, x: float) -> Any:
    """Value between two rows at a place inside, by linear interpolation."""
    column = min(int(x), image.shape[1] - 2)
    right = x - column
    a, b = image[row, column], image[row, column + 1]
    c, d = image[row + 1, column], image[row + 1, column + 1]
    upper, lower = a + (b - a) * right, c + (d - c) * right
    return upper + (lower - upper) * below


@inner_kernel
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
        float64 [4], (sy, ty, sx, tx), with positive scales.
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
        if found[0] <= 0.0 or found[2] <= 0.0:
            return start.copy()
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


@inlined_sums
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
    matrix[:], vector[:] = 0.0, 0.0
    first, stop = _inside(place[2], place[3], side)
    n_rows = 0
    one, last = np.uint64(1), np.uint64(side - 2)
    for y in range(side):
        at_y = place[0] * y + place[1]
        if at_y < 0.0 or at_y > side - 1.0:
            continue
        n_rows += 1
        row = min(int(at_y), side - 2)
        below = at_y - row
        above_row, under_row, right_row = left[row], left[row + 1], right[y]
        # Sums of products along a row, in scalars, which are faster than an array: gradients down
        # and across, x, value, error. Row and gain are the same for all and come afterwards.
        dd, da, dax, dv, d1, de = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        aa, aax, aaxx, av, avx, a1, ax, ae, axe = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        vv, v1, ve, ones, e1 = 0.0, 0.0, 0.0, 0.0, 0.0
        for x in range(first, stop):
            at_x = place[2] * x + place[3]
            # Unsigned, since an index that may be negative costs a comparison.
            column = min(np.uint64(at_x), last)
            beside = at_x - column
            above, above_right = above_row[column], above_row[column + one]
            under, under_right = under_row[column], under_row[column + one]
            upper = above + (above_right - above) * beside
            lower = under + (under_right - under) * beside
            down = lower - upper
            value = upper + down * below
            across = (above_right - above) * (1.0 - below) + (under_right - under) * below
            error = right_row[x] - (gain * value + offset)
            # Text is an outlier: a large error counts less (Huber 1964).
            weight = 1.0 if abs(error) <= _OUTLIER else _OUTLIER / abs(error)
            wd, wa, wv = weight * down, weight * across, weight * value
            dd, da, dax = dd + wd * down, da + wd * across, dax + wd * across * x
            dv, d1, de = dv + wd * value, d1 + wd, de + wd * error
            aa, aax, aaxx = aa + wa * across, aax + wa * across * x, aaxx + wa * across * x * x
            av, avx, a1, ax = av + wa * value, avx + wa * value * x, a1 + wa, ax + wa * x
            ae, axe = ae + wa * error, axe + wa * error * x
            vv, v1, ve = vv + wv * value, v1 + wv, ve + wv * error
            ones, e1 = ones + weight, e1 + weight * error
        matrix[0, 0] += y * y * dd
        matrix[1, 0] += y * dd
        matrix[1, 1] += dd
        matrix[2, 0] += y * dax
        matrix[2, 1] += dax
        matrix[2, 2] += aaxx
        matrix[3, 0] += y * da
        matrix[3, 1] += da
        matrix[3, 2] += aax
        matrix[3, 3] += aa
        matrix[4, 0] += y * dv
        matrix[4, 1] += dv
        matrix[4, 2] += avx
        matrix[4, 3] += av
        matrix[4, 4] += vv
        matrix[5, 0] += y * d1
        matrix[5, 1] += d1
        matrix[5, 2] += ax
        matrix[5, 3] += a1
        matrix[5, 4] += v1
        matrix[5, 5] += ones
        vector[0] += y * de
        vector[1] += de
        vector[2] += axe
        vector[3] += ae
        vector[4] += ve
        vector[5] += e1
    for i in range(4):
        vector[i] *= gain
        for j in range(i + 1):
            matrix[i, j] *= gain * gain
        for j in range(4, 6):
            matrix[j, i] *= gain
    return n_rows * (stop - first)


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
    first, stop = _inside(place[2], place[3], side)
    count, total, squares, other, products = 0, 0.0, 0.0, 0.0, 0.0
    for y in range(side):
        at_y = place[0] * y + place[1]
        if at_y < 0.0 or at_y > side - 1.0:
            continue
        row = min(int(at_y), side - 2)
        count += stop - first
        for x in range(first, stop):
            value = _value(left, row, at_y - row, place[2] * x + place[3])
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
    first, stop = _inside(place[2], place[3], side)
    all_sums = np.zeros(6, np.float64)
    sums = np.empty(6, np.float64)
    for row in range(n_blocks):
        for column in range(n_blocks):
            sums[:] = 0.0
            for y in range(row * BLOCK, (row + 1) * BLOCK):
                at_y = place[0] * y + place[1]
                if at_y < 0.0 or at_y > side - 1.0:
                    continue
                above = min(int(at_y), side - 2)
                s0, s1, s2, s3, s4, s5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                for x in range(max(column * BLOCK, first), min((column + 1) * BLOCK, stop)):
                    value = _value(left, above, at_y - above, place[2] * x + place[3])
                    other = right[y, x]
                    s0, s1, s2 = s0 + 1.0, s1 + value, s2 + other
                    s3, s4, s5 = s3 + value * value, s4 + other * other, s5 + value * other
                sums[0], sums[1], sums[2] = sums[0] + s0, sums[1] + s1, sums[2] + s2
                sums[3], sums[4], sums[5] = sums[3] + s3, sums[4] + s4, sums[5] + s5
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
