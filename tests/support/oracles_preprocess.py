"""Slow reference implementations of resampling and orientation, from their definitions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def triangle(x: float) -> float:
    """Bilinear kernel."""
    return max(0.0, 1.0 - abs(x))


def cubic(x: float, a: float = -0.5) -> float:
    """Bicubic kernel (Keys 1981), a = -1/2."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def resample_weights(
    n_in: int, n_out: int, start: float, stop: float, kernel: str
) -> NDArray[np.float64]:
    """Matrix [n_out, n_in] that resamples start..stop of a line with antialiasing.

    The kernel is widened by the reduction, so every input pixel counts; it is cut at the image's
    border and its weights are normalised to 1.
    """
    function, radius = {"bilinear": (triangle, 1.0), "bicubic": (cubic, 2.0)}[kernel]
    scale = (stop - start) / n_out
    widening = max(scale, 1.0)
    weights = np.zeros((n_out, n_in))
    for out in range(n_out):
        center = start + (out + 0.5) * scale
        for at in range(n_in):
            distance = at + 0.5 - center
            if abs(distance) <= radius * widening:
                weights[out, at] = function(distance / widening)
    return weights / weights.sum(axis=1, keepdims=True)


def resize(pixels: NDArray[np.uint8], size: tuple[int, int], rule: str) -> NDArray[np.float64]:
    """Float pixels [height, width, 3] of an image resized to ``size`` by a resize rule."""
    shape, kernel = rule.split("-")[:2]
    n_rows, n_columns = pixels.shape[:2]
    height, width = size
    top = left = 0.0
    if shape == "crop":
        # The largest centred region with the target's aspect ratio.
        if n_columns * height > n_rows * width:
            left = (n_columns - n_rows * width / height) / 2
        else:
            top = (n_rows - n_columns * height / width) / 2
    vertical = resample_weights(n_rows, height, top, n_rows - top, kernel)
    horizontal = resample_weights(n_columns, width, left, n_columns - left, kernel)
    across = np.clip(np.einsum("xj,ijc->ixc", horizontal, pixels), 0, 255)
    return np.clip(np.einsum("yi,ixc->yxc", vertical, across), 0, 255)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation, defined by where row 0 and column 0 of the stored image appear."""
    n_rows, n_columns = pixels.shape[:2]
    swapped = orientation >= 5
    seen = np.zeros((n_columns, n_rows, 3) if swapped else pixels.shape, pixels.dtype)
    for row in range(n_rows):
        for column in range(n_columns):
            right, bottom = n_columns - 1 - column, n_rows - 1 - row
            place = {
                1: (row, column),
                2: (row, right),
                3: (bottom, right),
                4: (bottom, column),
                5: (column, row),
                6: (column, bottom),
                7: (right, bottom),
                8: (right, row),
            }[orientation]
            seen[place] = pixels[row, column]
    return seen


def over_white(values: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colours [..., 3] composited over white with opacity ``alpha`` / 255, as floats."""
    opacity = alpha[..., None] / 255
    return values * opacity + 255 * (1 - opacity)
