"""Verifies pairs of pictures that may be copies by registering their thumbnails.

A pair is tried in the eight positions (four rotations, each also mirrored), with either picture as
a part of the other (`hashkit.kernels.place_search`), and the most likely maps are refined
(`hashkit.kernels.registration`). In a copy, nearly every block that has texture then agrees with
its counterpart, whatever happened to brightness and colour. In another photograph of the same
scene, light and dark areas agree, and the blocks do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import is_new
from hashkit.kernels.copy_verification import SIDE, verify_pairs

__all__ = ["SIDE", "Places", "is_compiled", "verify"]


class Places(NamedTuple):
    """How pictures lie in others.

    Attributes
    ----------
    scores
        float64 [m], 0 to 1: how much of the texture agrees.
    positions
        int64 [m], 0 to 7: the position of `in_position` into which the left picture must be
        brought.
    """

    scores: NDArray[np.float64]
    positions: NDArray[np.int64]


def is_compiled() -> bool:
    """Whether `verify` is compiled; otherwise its first call takes up to a minute."""
    return not is_new(verify_pairs)


def verify(
    thumbnails: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    likely: NDArray[np.int64] | None = None,
) -> Places:
    """Compare pairs of thumbnails.

    Parameters
    ----------
    thumbnails
        uint8 [n, `SIDE`, `SIDE`], grey.
    left, right
        int64 [m], numbers of the pictures of each pair.
    likely
        int64 [m], positions in which the whole pictures are likely to agree, which are tried first;
        None for none.

    Returns
    -------
    Places
        The best that was found for each pair.
    """
    likely = np.full(len(left), -1, np.int64) if likely is None else likely
    found = Places(np.empty(len(left), np.float64), np.empty(len(left), np.int64))
    verify_pairs(thumbnails, left, right, likely, *found)
    return found
