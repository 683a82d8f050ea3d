"""Verifies pairs of pictures that may be copies by registering their thumbnails.

A pair is tried in the eight positions (four rotations, each also mirrored), with either picture as
a part of the other (`hashkit.kernels.place_search`), and the most likely maps are refined
(`hashkit.kernels.registration`). In a copy, nearly every block that has texture then agrees with
its counterpart, whatever happened to brightness and colour. In another photograph of the same
scene, light and dark areas agree, and the blocks do not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.compiling import is_new
from hashkit.kernels.copy_verification import SIDE, find_starts, score_maps

__all__ = ["SIDE", "Places", "compile_verify", "is_compiled", "verify"]

_MOST_REFINED: Final = 3
"""Maps that are refined per pair."""

_CERTAIN_SCORE: Final = 0.9
"""Score from which not even the map of a likely position is refined."""

_SURE_SCORE: Final = 0.8
"""Score from which no other map is tried."""

_IDENTITY_MAP: Final = np.array([1.0, 0.0, 1.0, 0.0])
"""The map of a whole picture to a whole one: see `hashkit.kernels.registration.refine`."""


class Places(NamedTuple):
    """How pictures lie in others.

    Attributes
    ----------
    scores
        float64 [m], 0 to 1: how much of the texture agrees.
    positions
        int64 [m], 0 to 7: the position of `in_position` into which the left picture must be
        turned.
    """

    scores: NDArray[np.float64]
    positions: NDArray[np.int64]


def is_compiled() -> bool:
    """Whether `verify` is compiled; otherwise its first call takes about 15 s of CPU time."""
    return not (is_new(find_starts) or is_new(score_maps))


def compile_verify() -> None:
    """Compile `verify`, or load it: its next call then takes only the time of its pairs."""
    none = np.empty(0, np.int64)
    verify(np.empty((0, SIDE, SIDE), np.uint8), none, none)


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
        The best map that was found for each pair.
    """
    n_pairs = len(left)
    scores, positions = np.zeros(n_pairs), np.zeros(n_pairs, np.int64)
    if likely is not None:
        pairs = np.flatnonzero(likely >= 0)
        positions[pairs] = likely[pairs]
        whole = np.tile(_IDENTITY_MAP, (len(pairs), 1))
        is_within = np.zeros(len(pairs), np.bool_)
        scores[pairs] = _map_scores(
            thumbnails, left[pairs], right[pairs], likely[pairs], is_within, whole, _CERTAIN_SCORE
        )
    unsure = np.flatnonzero(scores < _SURE_SCORE)
    found = np.empty((len(unsure), _MOST_REFINED, 3))
    starts = np.empty((len(unsure), _MOST_REFINED, 4))
    find_starts(thumbnails, left[unsure], right[unsure], found, starts)
    for number in range(_MOST_REFINED):
        open_pairs = np.flatnonzero((found[:, number, 1] >= 0) & (scores[unsure] < _SURE_SCORE))
        pairs = unsure[open_pairs]
        tried = found[open_pairs, number, 1].astype(np.int64)
        is_within = found[open_pairs, number, 2] > 0
        score = _map_scores(
            thumbnails,
            left[pairs],
            right[pairs],
            tried,
            is_within,
            starts[open_pairs, number],
            np.inf,
        )
        is_better = score > scores[pairs]
        scores[pairs[is_better]] = score[is_better]
        positions[pairs[is_better]] = tried[is_better]
    return Places(scores, positions)


def _map_scores(
    thumbnails: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    positions: NDArray[np.int64],
    is_within: NDArray[np.bool_],
    starts: NDArray[np.float64],
    certain_score: float,
) -> NDArray[np.float64]:
    scores = np.empty(len(left))
    score_maps(thumbnails, left, right, positions, is_within, starts, certain_score, scores)
    return scores
