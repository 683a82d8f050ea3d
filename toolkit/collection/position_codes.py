"""Perceptual hashes of a picture in its eight positions, from one cosine transform.

The hash is that of the built-in model ``phash-256``: the lowest 16 x 16 coefficients of the cosine
transform of 64 x 64 grey pixels, each compared with their median. Mirroring a picture changes the
sign of every other coefficient along an axis, and turning it also exchanges the axes, so the
transform is computed once.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.kernels.arrays import read_only

__all__ = ["N_BITS", "N_POSITIONS", "in_position", "inverse_position", "position_codes"]

N_POSITIONS: Final = 8
"""Four rotations, each also mirrored."""

N_BITS: Final = 256
_SIDE: Final = 16


def in_position(image: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """A square picture in one of the eight positions.

    It is mirrored (left to right) from position 4 on, then rotated by ``position % 4`` quarter
    turns anti-clockwise.

    Parameters
    ----------
    image
        float32 [..., s, s].
    """
    mirrored = image[..., ::-1] if position >= 4 else image
    return np.ascontiguousarray(np.rot90(mirrored, position % 4, (-2, -1)))


def inverse_position(position: int) -> int:
    """The position that undoes another; a mirrored one undoes itself."""
    return position if position >= 4 else -position % 4


def position_codes(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Codes of pictures in all positions of `in_position`.

    Parameters
    ----------
    grey
        float32 [n, 64, 64], grey values 0 to 255.

    Returns
    -------
    NDArray
        uint8 [n, 8, 32].
    """
    cosines = _cosines(grey.shape[1])
    coefficients = (cosines @ grey @ cosines.T).astype(np.float32)
    codes = np.empty((len(grey), N_POSITIONS, N_BITS // 8), np.uint8)
    for position in range(N_POSITIONS):
        moved = _in_position(coefficients, position).reshape(len(grey), N_BITS)
        codes[:, position] = binarize(moved - np.median(moved, axis=1, keepdims=True))
    return codes


def _in_position(coefficients: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """Coefficients of pictures in a position, from those in position 0."""
    odd = read_only(np.where(np.arange(_SIDE) % 2, -1, 1).astype(np.float32))
    moved = coefficients * odd if position >= 4 else coefficients
    for _ in range(position % 4):
        # A quarter turn anti-clockwise exchanges the axes and mirrors the new vertical one.
        moved = moved.transpose(0, 2, 1) * odd[:, None]
    return np.ascontiguousarray(moved)


@functools.cache
def _cosines(size: int) -> NDArray[np.float32]:
    """The first rows of the cosine transform (DCT-II), float32 [16, size]."""
    angles = np.arange(_SIDE)[:, None] * (2 * np.arange(size) + 1) * (np.pi / (2 * size))
    return read_only(np.cos(angles).astype(np.float32))
