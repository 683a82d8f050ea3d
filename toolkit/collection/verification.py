"""Verifies pairs of pictures that may be copies by registering their thumbnails.

A pair is tried in the eight positions (four rotations, each also mirrored), with either picture as
a part of the other, and the most likely maps are refined (`hashkit.kernels.registration`). In a
copy, nearly every block that has texture then agrees with its counterpart, whatever happened to
brightness and colour. In another photograph of the same scene, light and dark areas agree, and the
blocks do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.position_codes import N_POSITIONS, in_position, inverse_position
from hashkit.kernels.registration import BLOCK, COARSE, agreement, find_place, refine, shrink

__all__ = ["SIDE", "Place", "verify"]

SIDE: Final = 64
"""Pixels of a side of a thumbnail."""

_LEAST_FOUND: Final = 0.7
"""Correlation of 16 x 16 pixels below which a map is not refined: of 250 hard copies, 2 % are below
it, and 60 % of other candidates."""

_MOST_REFINED: Final = 3
"""Maps that are refined per pair."""

_HALF_STEPS, _FULL_STEPS = 12, 4

_PROMISING: Final = 0.35
"""Score at which a map that was refined at half the size is refined at full size."""

_CERTAIN: Final = 0.9
"""Score of a likely position at which not even its map is refined."""

_SURE: Final = 0.8
"""Score at which no other map is tried."""

_ENOUGH_TEXTURE: Final = 6.0
"""Sum of weights of blocks, of 64, below which a pair has too little texture to be sure of."""

_JUDGED: Final = 0.8
"""Share of the texture that is judged: the part that agrees best."""

_SCALES: Final = (0.45, 1.6)
"""Smallest and largest scale, on each axis, that a refined map may have."""

_PARTS: Final = (16, 15, 14, 13, 12, 11, 10, 9)
_BARS: Final = ((16, 12), (16, 10), (16, 9), (12, 16), (10, 16), (9, 16))
_SIZES: Final = np.array([(side, side) for side in _PARTS] + list(_BARS), np.int64)
"""(height, width) of the parts that are tried; the last are a picture between two bars."""

_N_BLOCKS: Final = (SIDE // BLOCK) ** 2
_WHOLE: Final = np.array([1.0, 0.0, 1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class Place:
    """How one picture lies in another.

    Attributes
    ----------
    score
        0 to 1: how much of the texture agrees.
    position
        0 to 7: the position of `in_position` into which the left picture must be brought.
    """

    score: float
    position: int


def verify(
    left: NDArray[np.float32], right: NDArray[np.float32], positions: Sequence[int] = ()
) -> Place:
    """Compare two thumbnails.

    Parameters
    ----------
    left, right
        float32 [`SIDE`, `SIDE`], grey values 0 to 255.
    positions
        Positions in which the whole pictures are likely to agree, which are tried first.

    Returns
    -------
    Place
        The best that was found.
    """
    best = Place(0.0, positions[0] if len(positions) else 0)
    for position in positions:
        turned = in_position(left, position)
        best = _better(best, _scored(turned, right, position, _WHOLE))
        if best.score >= _CERTAIN:
            return best
        best = _better(best, _refined(turned, right, position, _WHOLE))
        if best.score >= _SURE:
            return best
    for position, is_within, start in _starts(left, right):
        if is_within:
            turned = in_position(right, inverse_position(position))
            found = _refined(turned, left, position, start)
        else:
            found = _refined(in_position(left, position), right, position, start)
        best = _better(best, found)
        if best.score >= _SURE:
            return best
    return best


def _better(one: Place, other: Place) -> Place:
    return other if other.score > one.score else one


def _starts(
    left: NDArray[np.float32], right: NDArray[np.float32]
) -> list[tuple[int, bool, NDArray[np.float64]]]:
    """The most likely maps by coarse search: position, whether left lies within right, map."""
    small_left, small_right = _smaller(left, SIDE // COARSE), _smaller(right, SIDE // COARSE)
    parts_left, parts_right = shrink(small_left, _SIZES), shrink(small_right, _SIZES)
    found = []
    for position in range(N_POSITIONS):
        turned_left = in_position(small_left, position)
        turned_right = in_position(small_right, inverse_position(position))
        for large, parts in ((turned_left, parts_right), (turned_right, parts_left)):
            correlation, *place = find_place(large, parts, _SIZES)
            if correlation >= _LEAST_FOUND:
                found.append((correlation, position, parts is parts_left, _map(*place)))
    found.sort(key=lambda one: -one[0])
    return [one[1:] for one in found[:_MOST_REFINED]]


def _map(top: int, left: int, height: int, width: int) -> NDArray[np.float64]:
    """The map of pixel centres for a part of 16 x 16 pixels: `refine`'s (sy, ty, sx, tx)."""
    unit = SIDE // COARSE
    scale_y, scale_x = height / COARSE, width / COARSE
    return np.array(
        [
            scale_y,
            top * unit + (scale_y - 1) / 2,
            scale_x,
            left * unit + (scale_x - 1) / 2,
        ]
    )


def _smaller(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Averages over squares of ``factor`` pixels."""
    side = len(image) // factor
    means: NDArray[np.float32] = image.reshape(side, factor, side, factor).mean(
        axis=(1, 3), dtype=np.float32
    )
    return means


def _refined(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    position: int,
    start: NDArray[np.float64],
) -> Place:
    """Refine a map at half the size, then at full size where that is promising, and score it."""
    half = refine(_smaller(left, 2), _smaller(right, 2), _scaled(start, 0.5), _HALF_STEPS)
    place = _scaled(half, 2.0)
    found = _scored(left, right, position, place)
    if found.score >= _PROMISING:
        place = refine(left, right, place, _FULL_STEPS)
        found = _better(found, _scored(left, right, position, place))
    # Text over a picture may lead the refinement astray where the start was right.
    return _better(_scored(left, right, position, start), found)


def _scored(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    position: int,
    place: NDArray[np.float64],
) -> Place:
    if not (_SCALES[0] < place[0] < _SCALES[1] and _SCALES[0] < place[2] < _SCALES[1]):
        return Place(0.0, position)
    values, weights = np.empty(_N_BLOCKS, np.float32), np.empty(_N_BLOCKS, np.float32)
    agreement(left, right, place, values, weights)
    return Place(_score(values, weights), position)


def _scaled(place: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """A map between pixel centres of pictures that are resized by ``factor``."""
    middle = (factor - 1) / 2
    scaled = place.copy()
    for scale, offset in ((0, 1), (2, 3)):
        scaled[offset] = factor * place[offset] + middle * (1 - place[scale])
    return scaled


def _score(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """How much of the texture agrees, 0 to 1: the mean correlation of blocks by their weight.

    The worst fifth of the weight is left out, since text may cover it. Negative correlations count
    as none, and little texture lowers the score.
    """
    order = np.argsort(-values)
    weight = weights[order].astype(np.float64)
    total = weight.sum()
    best = np.diff(np.minimum(np.cumsum(weight), _JUDGED * total), prepend=0.0)
    agreeing = float((best * np.maximum(values[order], 0)).sum())
    return float(agreeing / max(_JUDGED * total, _ENOUGH_TEXTURE))
