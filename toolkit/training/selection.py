"""How well a model does on images held out of its own training set.

The only numbers that may choose a checkpoint: queries and database never enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from hashkit.codes import binarize, unpack
from hashkit.codesets import CodeSet
from hashkit.evaluation import expected_map
from hashkit.training.data import Pixels, TrainingData
from hashkit.training.model import HashModel

__all__ = ["MAX_REFERENCE_IMAGES", "encode_rows", "held_out_score"]

MAX_REFERENCE_IMAGES: Final = 2000
"""Images the held-out ones are ranked against: enough for a stable mean, and quickly encoded."""

_BATCH_SIZE: Final = 250


def held_out_score(model: HashModel, data: TrainingData, device: torch.device) -> float:
    """Score of a model on the held-out items, between 0 and 1.

    With labels: mean average precision (over tie orders, whole ranking) of the held-out images
    as queries against up to `MAX_REFERENCE_IMAGES` of the images that are learned from. With
    triplets: the share of held-out triplets whose similar image is nearer, ties counting half.

    The model is left in the mode it was in.
    """
    was_training = model.training
    model.eval()
    try:
        if data.triplets is not None:
            return _triplet_accuracy(model, data.pixels, data.triplets[data.held_items], device)
        return _mean_average_precision(model, data, device)
    finally:
        model.train(was_training)


def encode_rows(
    model: HashModel, pixels: Pixels, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.uint8]:
    """Packed codes of training images: uint8 [n, ceil(n_bits / 8)]."""
    logits = [
        model(pixels.batch(part).to(device)).cpu().numpy() for part in _parts(rows, _BATCH_SIZE)
    ]
    return binarize(np.concatenate(logits))


@torch.inference_mode()
def _mean_average_precision(model: HashModel, data: TrainingData, device: torch.device) -> float:
    assert data.labels is not None  # noqa: S101 - by TrainingData
    step = -(-len(data.fit_items) // MAX_REFERENCE_IMAGES)
    reference = np.sort(data.fit_items)[::step]
    queries, database = (
        CodeSet(
            codes=encode_rows(model, data.pixels, rows, device),
            n_bits=model.n_bits,
            labels=data.labels[rows],
        )
        for rows in (data.held_items, reference)
    )
    return expected_map(queries, database)


@torch.inference_mode()
def _triplet_accuracy(
    model: HashModel, pixels: Pixels, triplets: NDArray[np.int64], device: torch.device
) -> float:
    rows, where = np.unique(triplets, return_inverse=True)
    codes = encode_rows(model, pixels, rows, device)
    bits: NDArray[Any] = unpack(codes, model.n_bits)[where.reshape(triplets.shape)]
    query, similar, dissimilar = bits[:, 0], bits[:, 1], bits[:, 2]
    near = (query != similar).sum(axis=1)
    far = (query != dissimilar).sum(axis=1)
    return float(((near < far) + 0.5 * (near == far)).mean())


def _parts(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
