"""Verifies many pairs of thumbnails in one call; see `hashkit.collection.verification`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined, inner_kernel, kernel
from hashkit.kernels.place_search import COARSE, find_place, shrink
from hashkit.kernels.registration import BLOCK, agreement, refine

__all__ = ["N_POSITIONS", "SIDE", "verify_pairs"]

SIDE = 64
"""Pixels of a side of a thumbnail."""

N_POSITIONS = 8
"""Four rotations, and the same of the mirror image."""

# Correlation of 16 x 16 pixels below which a map is not refined: of 250 hard copies, 2 % are below
# it, and 60 % of other candidates.
_LEAST_FOUND = 0.7

# Maps that are refined per pair.
_MOST_REFINED = 3

_HALF_STEPS, _FULL_STEPS = 12, 4

# Score at which a map that was refined at half the size is refined at full size.
_PROMISING = 0.35

# Score of a likely position at which not even its map is refined.
_CERTAIN = 0.9

# Score at which no other map is tried.
_SURE = 0.8

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
def verify_pairs(
    thumbnails: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    likely: NDArray[np.int64],
    scores: NDArray[np.float64],
    positions: NDArray[np.int64],
) -> None:
    """Score pairs of thumbnails.

    Parameters
    ----------
    thumbnails
        uint8 [n, `SIDE`, `SIDE`], grey.
    left, right
        int64 [m], the pairs.
    likely
        int64 [m], the position in which the whole pictures are likely to agree, which is tried
        first; -1 for none.
    scores, positions
        float64 [m] and int64 [m], filled with the best score of each pair, 0 to 1, and with the
        position into which the left picture must be brought for it.
    """
    for pair in range(len(left)):
        one = thumbnails[left[pair]].astype(np.float32)
        other = thumbnails[right[pair]].astype(np.float32)
        score, position = _verify(one, other, likely[pair])
        scores[pair], positions[pair] = score, position


@inlined
def _verify(left: NDArray[np.float32], right: NDArray[np.float32], likely: int) -> Any:
    best, best_position = 0.0, max(likely, 0)
    if likely >= 0:
        whole = np.array([1.0, 0.0, 1.0, 0.0])
        turned = _in_position(left, likely)
        best = _scored(turned, right, whole)
        if best < _CERTAIN:
            best = max(best, _refined(turned, right, whole))
        if best >= _SURE:
            return best, best_position
    found, starts = _starts(left, right)
    for number in range(_MOST_REFINED):
        position, is_within = int(found[number, 1]), found[number, 2] > 0.0
        if position < 0:
            break
        if is_within:
            turned = _in_position(right, _inverse(position))
            score = _refined(turned, left, starts[number])
        else:
            score = _refined(_in_position(left, position), right, starts[number])
        if score > best:
            best, best_position = score, position
        if best >= _SURE:
            break
    return best, best_position


@inner_kernel
def _starts(left: NDArray[np.float32], right: NDArray[np.float32]) -> Any:
    """The likeliest maps by coarse search.

    Returns
    -------
    tuple
        float64 [3, 3], correlation, position and whether left lies within right, with the position
        -1 where there are fewer; and float64 [3, 4], maps as `refine` takes them.
    """
    found, starts = np.empty((_MOST_REFINED, 3)), np.empty((_MOST_REFINED, 4))
    for number in range(_MOST_REFINED):
        found[number, 0], found[number, 1], found[number, 2] = -1.0, -1.0, -1.0
    small_left, small_right = _smaller(left, SIDE // COARSE), _smaller(right, SIDE // COARSE)
    parts_left, parts_right = shrink(small_left, _SIZES), shrink(small_right, _SIZES)
    for position in range(N_POSITIONS):
        for is_within in range(2):
            if is_within:
                large, parts = _in_position(small_right, _inverse(position)), parts_left
            else:
                large, parts = _in_position(small_left, position), parts_right
            correlation, top, start, height, width = find_place(large, parts, _SIZES)
            if correlation < _LEAST_FOUND or correlation <= found[_MOST_REFINED - 1, 0]:
                continue
            place = _MOST_REFINED - 1
            while place > 0 and correlation > found[place - 1, 0]:
                for column in range(3):
                    found[place, column] = found[place - 1, column]
                for column in range(4):
                    starts[place, column] = starts[place - 1, column]
                place -= 1
            found[place, 0], found[place, 1], found[place, 2] = correlation, position, is_within
            _set_map(starts[place], top, start, height, width)
    return found, starts


@inlined
def _set_map(place: NDArray[np.float64], top: int, left: int, height: int, width: int) -> None:
    """The map of pixel centres for a part of 16 x 16 pixels: `refine`'s (sy, ty, sx, tx)."""
    unit = SIDE // COARSE
    scale_y, scale_x = height / COARSE, width / COARSE
    place[0], place[1] = scale_y, top * unit + (scale_y - 1) / 2
    place[2], place[3] = scale_x, left * unit + (scale_x - 1) / 2


@inner_kernel
def _refined(
    left: NDArray[np.float32], right: NDArray[np.float32], start: NDArray[np.float64]
) -> float:
    """Refine a map at half the size, then at full size where that is promising, and score it."""
    half = refine(_smaller(left, 2), _smaller(right, 2), _scaled(start, 0.5), _HALF_STEPS)
    place = _scaled(half, 2.0)
    found = _scored(left, right, place)
    if found >= _PROMISING:
        place = refine(left, right, place, _FULL_STEPS)
        found = max(found, _scored(left, right, place))
    # Text over a picture may lead the refinement astray where the start was right.
    return float(max(found, _scored(left, right, start)))


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
