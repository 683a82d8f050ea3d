"""Verifies many pairs of thumbnails in one call; see `hashkit.collection.verification`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined, inner_kernel, kernel
from hashkit.kernels.place_search import COARSE, find_place, shrink
from hashkit.kernels.registration import BLOCK, agreement, refine

__all__ = ["N_POSITIONS", "SIDE", "find_starts", "score_maps"]

SIDE = 64
"""Pixels of a side of a thumbnail."""

N_POSITIONS = 8
"""Four rotations, each also mirrored."""

# Correlation of 16 x 16 pixels below which a map is not refined: of 250 hard copies, 2 % are below
# it, and 60 % of other candidates.
_LEAST_FOUND = 0.7

_HALF_STEPS, _FULL_STEPS = 12, 4

# Score at which a map that was refined at half the size is refined at full size.
_PROMISING = 0.35

# Sum of weights of blocks, of 64, below which a pair has too little texture to be sure of.
_ENOUGH_TEXTURE = 6.0

# Share of the texture that is judged: the part that agrees best.
_JUDGED = 0.8

# Smallest and largest scale, on each axis, that a refined map may have.
_LEAST_SCALE, _LARGEST_SCALE = 0.45, 1.6

# (height, width) of the parts that are tried; the last are a picture between two bars.
_SIZES = np.array(
    [(side, side) for side in range(16, 8, -1)]
    + [(16, 12), (16, 10), (16, 9), (12, 16), (10, 16), (9, 16)],
    np.int64,
)

_N_BLOCKS = (SIDE // BLOCK) ** 2


@kernel
def find_starts(
    thumbnails: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    found: NDArray[np.float64],
    starts: NDArray[np.float64],
) -> None:
    """The likeliest maps of pairs of thumbnails by coarse search.

    Parameters
    ----------
    thumbnails
        uint8 [n, `SIDE`, `SIDE`], grey.
    left, right
        int64 [m], the pairs.
    found
        float64 [m, k, 3], filled with the correlation, the position and whether left lies within
        right, best first; the position is -1 where there are fewer than k maps.
    starts
        float64 [m, k, 4], filled with the maps, as `refine` takes them.
    """
    most = found.shape[1]
    for pair in range(len(left)):
        small_left = _smaller(thumbnails[left[pair]].astype(np.float32), SIDE // COARSE)
        small_right = _smaller(thumbnails[right[pair]].astype(np.float32), SIDE // COARSE)
        parts_left, parts_right = shrink(small_left, _SIZES), shrink(small_right, _SIZES)
        for number in range(most):
            for column in range(3):
                found[pair, number, column] = -1.0
        for way in range(2 * N_POSITIONS):
            position, is_within = way // 2, way % 2 == 1
            if is_within:
                large, parts = _in_position(small_right, _inverse(position)), parts_left
            else:
                large, parts = _in_position(small_left, position), parts_right
            correlation, top, start, height, width = find_place(large, parts, _SIZES)
            if correlation < _LEAST_FOUND or correlation <= found[pair, most - 1, 0]:
                continue
            place = most - 1
            while place > 0 and correlation > found[pair, place - 1, 0]:
                for column in range(3):
                    found[pair, place, column] = found[pair, place - 1, column]
                for column in range(4):
                    starts[pair, place, column] = starts[pair, place - 1, column]
                place -= 1
            found[pair, place, 0] = correlation
            found[pair, place, 1], found[pair, place, 2] = position, is_within
            _set_map(starts[pair, place], top, start, height, width)


@kernel
def score_maps(
    thumbnails: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    positions: NDArray[np.int64],
    is_within: NDArray[np.bool_],
    starts: NDArray[np.float64],
    certain: float,
    scores: NDArray[np.float64],
) -> None:
    """Score pairs of thumbnails, each by a map that is refined.

    A map is refined at half the size, then at full size if it is promising.

    Parameters
    ----------
    thumbnails
        uint8 [n, `SIDE`, `SIDE`], grey.
    left, right
        int64 [m], the pairs.
    positions
        int64 [m], the position into which the left picture must be turned.
    is_within
        bool [m], whether the left picture is a part of the right one, instead of the reverse.
    starts
        float64 [m, 4], the maps, as `refine` takes them.
    certain
        Score at which a map is not refined.
    scores
        float64 [m], filled with the scores, 0 to 1.
    """
    for pair in range(len(left)):
        moving, fixed = left[pair], right[pair]
        position = positions[pair]
        if is_within[pair]:
            moving, fixed, position = fixed, moving, _inverse(position)
        one = _in_position(thumbnails[moving].astype(np.float32), position)
        other = thumbnails[fixed].astype(np.float32)
        start = starts[pair]
        # Text over a picture may mislead the refinement although the start was right.
        best = _scored(one, other, start)
        if best < certain:
            half_one, half_other = _smaller(one, 2), _smaller(other, 2)
            place = _scaled(refine(half_one, half_other, _scaled(start, 0.5), _HALF_STEPS), 2.0)
            found = _scored(one, other, place)
            best = max(best, found)
            if found >= _PROMISING:
                place = refine(one, other, place, _FULL_STEPS)
                best = max(best, _scored(one, other, place))
        scores[pair] = best


@inlined
def _set_map(place: NDArray[np.float64], top: int, left: int, height: int, width: int) -> None:
    """The map of pixel centres for a part of 16 x 16 pixels: `refine`'s (sy, ty, sx, tx)."""
    unit = SIDE // COARSE
    scale_y, scale_x = height / COARSE, width / COARSE
    place[0], place[1] = scale_y, top * unit + (scale_y - 1) / 2
    place[2], place[3] = scale_x, left * unit + (scale_x - 1) / 2


@inner_kernel
def _scored(
    left: NDArray[np.float32], right: NDArray[np.float32], place: NDArray[np.float64]
) -> float:
    """How much of the texture agrees, 0 to 1: the mean correlation of blocks by their weight.

    The worst fifth of the weight is left out, since text may cover it. Negative correlations count
    as none, and little texture lowers the score.
    """
    if not (_LEAST_SCALE < min(place[0], place[2]) <= max(place[0], place[2]) < _LARGEST_SCALE):
        return 0.0
    values, weights = np.empty(_N_BLOCKS, np.float32), np.empty(_N_BLOCKS, np.float32)
    agreement(left, right, place, values, weights)
    _sort(values, weights)
    total = 0.0
    for block in range(_N_BLOCKS):
        total += weights[block]
    judged, used, agreeing = _JUDGED * total, 0.0, 0.0
    for block in range(_N_BLOCKS):
        share = min(float(weights[block]), judged - used)
        used += share
        agreeing += share * max(float(values[block]), 0.0)
    return float(agreeing / max(judged, _ENOUGH_TEXTURE))


@inlined
def _sort(values: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    """Sort a few values, largest first, and their weights along with them."""
    for end in range(1, len(values)):
        value, weight, place = values[end], weights[end], end
        while place > 0 and values[place - 1] < value:
            values[place], weights[place] = values[place - 1], weights[place - 1]
            place -= 1
        values[place], weights[place] = value, weight


@inlined
def _scaled(place: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """A map between pixel centres of pictures that are resized by ``factor``."""
    middle = (factor - 1) / 2
    scaled = place.copy()
    scaled[1] = factor * place[1] + middle * (1 - place[0])
    scaled[3] = factor * place[3] + middle * (1 - place[2])
    return scaled


@inner_kernel
def _smaller(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Averages over squares of ``factor`` pixels."""
    side = len(image) // factor
    means = np.zeros((side, side), np.float32)
    share = np.float32(1.0 / (factor * factor))
    for y in range(side * factor):
        for x in range(side * factor):
            means[y // factor, x // factor] += share * image[y, x]
    return means


@inlined
def _inverse(position: int) -> int:
    """The position that undoes another; a mirrored one undoes itself."""
    return position if position >= 4 else (4 - position) % 4


@inner_kernel
def _in_position(image: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """A square picture in a position: see `hashkit.collection.position_codes.in_position`."""
    last = len(image) - 1
    turned = np.empty_like(image)
    for y in range(last + 1):
        for x in range(last + 1):
            row, column = y, x
            if position % 4 == 1:
                row, column = x, last - y
            elif position % 4 == 2:
                row, column = last - y, last - x
            elif position % 4 == 3:
                row, column = last - x, y
            turned[y, x] = image[row, last - column if position >= 4 else column]
    return turned
