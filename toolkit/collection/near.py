"""Finds pairs of pictures that are copies of each other, by codes and then by pixels.

Codes give candidates: perceptual hashes compared in the eight positions, and learned codes if
available, each within a loose radius. They miss different changes: hashes see colours and
quality change and miss crops, learned codes the other way round. Every candidate is then verified
by its thumbnails (`hashkit.collection.verification`), and pairs below a threshold are dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.join import hamming_join
from hashkit.collection.position_codes import N_BITS, N_POSITIONS, inverse_position
from hashkit.collection.signatures import Signatures
from hashkit.collection.texture import texture
from hashkit.collection.verification import verify
from hashkit.errors import ConfigError
from hashkit.threads import check_threads, run_parallel

__all__ = [
    "THRESHOLD",
    "Candidates",
    "NearPairs",
    "find_candidates",
    "near_pairs",
]

_HASH_RADIUS: Final = 80
"""Bits of 256 by which perceptual hashes of candidates differ at most."""

_LEARNED_RADIUS: Final = 88
"""Bits of 256 by which learned codes of candidates differ at most."""

_MOST_CANDIDATES: Final = 20
"""Most candidates per picture and kind of code; the nearest are taken."""

THRESHOLD: Final = 0.75
"""Score from which a pair counts as copies: precision .99 on photographs that were not measured."""

_LEAST_TEXTURE: Final = 9.0
"""Number of blocks with texture, of 64, below which a picture cannot be verified. Of 666 pairs of
smooth parts of photographs (not those measured), 39 passed for copies without this rule, and 3 do
with it; it costs half a percent of the copies."""

_CHUNK: Final = 64
"""Pairs that a thread verifies before progress is reported."""


class Candidates(NamedTuple):
    """Pairs of pictures that may be copies, each once, ordered by (left, right).

    Attributes
    ----------
    left, right
        int64 [m], numbers of the pictures; left < right.
    distance
        int64 [m], bits of 256 by which their hashes differ in the best position.
    position
        int64 [m], that position, into which the left picture must be turned.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.int64]
    position: NDArray[np.int64]


class NearPairs(NamedTuple):
    """Pairs of copies, ordered by (left, right).

    Attributes
    ----------
    left, right
        int64 [m], numbers of the pictures; left < right.
    distance
        uint16 [m], bits of 256 by which their perceptual hashes differ in the best position.
    position
        int64 [m], 0 to 7: how the left picture must be turned to lie like the right one
        (`hashkit.collection.position_codes.in_position`).
    score
        float64 [m], share of the texture that agrees where both show the same.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.uint16]
    position: NDArray[np.int64]
    score: NDArray[np.float64]


def near_pairs(
    signatures: Signatures,
    threshold: float = THRESHOLD,
    *,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NearPairs:
    """Find the pairs of copies among pictures.

    Parameters
    ----------
    signatures
        Signatures of n pictures.
    threshold
        Minimum score of a pair, 0 to 1.
    n_threads
        Number of threads; one per CPU by default.
    progress
        Called with the number of candidates that are verified, and of all candidates.

    Raises
    ------
    ConfigError
        If the threshold is not between 0 and 1, or the number of threads less than 1.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"`threshold` must be between 0 and 1, not {threshold}")
    threads = check_threads(n_threads, "n_threads")
    found = find_candidates(signatures, n_threads=threads)
    scores = np.empty(len(found.left), np.float64)
    positions = found.position.copy()
    starts = range(0, len(scores), _CHUNK)
    if progress is not None:
        progress(0, len(scores))
    for first in range(0, len(starts), threads):
        group = starts[first : first + threads]
        run_parallel(
            [
                functools.partial(_verify, signatures, found, start, scores, positions)
                for start in group
            ]
        )
        if progress is not None:
            progress(min(group[-1] + _CHUNK, len(scores)), len(scores))
    kept = scores >= threshold
    return NearPairs(
        found.left[kept],
        found.right[kept],
        found.distance[kept].astype(np.uint16),
        positions[kept],
        scores[kept],
    )


def _verify(
    signatures: Signatures,
    found: Candidates,
    start: int,
    scores: NDArray[np.float64],
    positions: NDArray[np.int64],
) -> None:
    chunk = slice(start, start + _CHUNK)
    scores[chunk], positions[chunk] = verify(
        signatures.thumbnails, found.left[chunk], found.right[chunk], found.position[chunk]
    )


def find_candidates(
    signatures: Signatures, most: int = _MOST_CANDIDATES, *, n_threads: int | None = None
) -> Candidates:
    """Pairs whose codes are near; takes memory for at most 3 x ``most`` pairs per picture.

    A picture with too little texture has none: see `hashkit.collection.texture`.

    Parameters
    ----------
    signatures
        Signatures of n pictures.
    most
        Candidates per picture and kind of code.
    n_threads
        Number of threads; one per CPU by default.
    """
    keys: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    n_images = len(signatures)
    hashes = np.ascontiguousarray(signatures.hashes[:, 0])
    for position in _POSITIONS_WITHOUT_INVERSES:
        other = None if position == 0 else hashes
        turned = signatures.hashes[:, position]
        keys += _nearest(turned, other, _HASH_RADIUS, most, n_images, n_threads)
    if signatures.learned is not None:
        keys += _nearest(signatures.learned, None, _LEARNED_RADIUS, most, n_images, n_threads)
    left, right = np.divmod(np.unique(np.concatenate(keys)), max(n_images, 1))
    has_texture = texture(signatures.thumbnails) >= _LEAST_TEXTURE
    is_usable = has_texture[left] & has_texture[right]
    left, right = left[is_usable], right[is_usable]
    return Candidates(left, right, *_best_position(signatures.hashes, left, right))


_POSITIONS_WITHOUT_INVERSES: Final = tuple(
    position for position in range(N_POSITIONS) if position <= inverse_position(position)
)
"""Positions of which no two undo each other. The others are not needed: if A turned left is near B,
then B turned right is near A, and the join compares all pictures with all."""


def _nearest(
    codes: NDArray[np.uint8],
    other: NDArray[np.uint8] | None,
    radius: int,
    most: int,
    n_images: int,
    n_threads: int | None,
) -> Iterator[NDArray[np.int64]]:
    """Keys ``left * n_images + right`` of pairs, left < right, the nearest of each left code."""
    for block in hamming_join(codes, other, N_BITS, radius, n_threads=n_threads):
        is_pair = block.left != block.right
        left, right = block.left[is_pair], block.right[is_pair]
        order = np.lexsort((right, block.distance[is_pair], left))
        left, right = left[order], right[order]
        starts = np.flatnonzero(np.r_[True, left[1:] != left[:-1]][: len(left)])
        rank = np.arange(len(left)) - np.repeat(starts, np.diff(np.r_[starts, len(left)]))
        left, right = left[rank < most], right[rank < most]
        yield np.minimum(left, right) * n_images + np.maximum(left, right)


def _best_position(
    hashes: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least distance of the hashes of pairs over all positions, and its position: int64 [m]."""
    distances = np.empty((len(left), N_POSITIONS), np.int64)
    for position in range(N_POSITIONS):
        differing = hashes[left, position] ^ hashes[right, 0]
        distances[:, position] = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    best = distances.argmin(axis=1)
    return distances[np.arange(len(left)), best], best.astype(np.int64)
