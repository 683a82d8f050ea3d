"""Score of a model on held-out training images, which selects the checkpoint.

Queries and database play no part in the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize, unpack
from hashkit.codesets import CodeSet
from hashkit.evaluation.evaluator import expected_map
from hashkit.training.data import TrainingData

__all__ = ["MAX_REFERENCE_IMAGES", "Encode", "held_out_score", "reference_rows"]

Encode: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float32]]

MAX_REFERENCE_IMAGES: Final = 2000
"""Images that the held-out images are ranked against: enough for a stable mean, fast to encode."""

_BATCH_SIZE: Final = 250


def reference_rows(data: TrainingData) -> NDArray[np.int64]:
    """Rows of up to `MAX_REFERENCE_IMAGES` evenly spaced images of those that are trained on."""
    rows = data.fit_rows()
    return rows[:: -(-len(rows) // MAX_REFERENCE_IMAGES)]


def held_out_score(encode: Encode, data: TrainingData, lengths: Sequence[int]) -> float:
    """Score of a model on the held-out items, between 0 and 1; the mean over code lengths.

    With labels: mAP (whole ranking, mean over tie orders) of the held-out images as queries
    against up to `MAX_REFERENCE_IMAGES` of the other training images. With triplets: the fraction
    of held-out triplets whose similar image is nearer; ties count half.

    Parameters
    ----------
    encode
        Function from rows of training images, int64 [n], to logits, float32 [n, sum of lengths].
    lengths
        Bits per code, one number per head.
    """
    score = _mean_average_precision if data.triplets is None else _triplet_accuracy
    return float(np.mean(score(encode, data, lengths)))


def _codes(
    encode: Encode, rows: NDArray[np.int64], lengths: Sequence[int]
) -> Iterator[NDArray[np.uint8]]:
    """Packed codes of training images, one array per code length: uint8 [n, ceil(n_bits / 8)]."""
    logits = np.concatenate([encode(part) for part in _parts(rows, _BATCH_SIZE)])
    for part in np.split(logits, np.cumsum(lengths)[:-1], axis=1):
        yield binarize(part)


def _mean_average_precision(
    encode: Encode, data: TrainingData, lengths: Sequence[int]
) -> list[float]:
    assert data.labels is not None  # noqa: S101 - by TrainingData
    labels = data.labels
    reference = reference_rows(data)

    def code_sets(rows: NDArray[np.int64]) -> list[CodeSet]:
        return [
            CodeSet(codes=codes, n_bits=n_bits, labels=labels[rows])
            for codes, n_bits in zip(_codes(encode, rows, lengths), lengths, strict=True)
        ]

    return list(map(expected_map, code_sets(data.held_items), code_sets(reference)))


def _triplet_accuracy(encode: Encode, data: TrainingData, lengths: Sequence[int]) -> list[float]:
    assert data.triplets is not None  # noqa: S101 - by the caller
    triplets = data.triplets[data.held_items]
    rows, positions = np.unique(triplets, return_inverse=True)
    shares = []
    for codes, n_bits in zip(_codes(encode, rows, lengths), lengths, strict=True):
        bits: NDArray[Any] = unpack(codes, n_bits)[positions.reshape(triplets.shape)]
        query, similar, dissimilar = bits[:, 0], bits[:, 1], bits[:, 2]
        near = (query != similar).sum(axis=1)
        far = (query != dissimilar).sum(axis=1)
        shares.append(float(((near < far) + 0.5 * (near == far)).mean()))
    return shares


def _parts(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
