"""Photographs, four of which cannot be used, and the bank that they should give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from slow_encode import source_of
from small_models import linear_weights

from hashkit.bank.reader import Bank
from hashkit.codes import binarize
from hashkit.datasets.imageset import ImageSet
from hashkit.preprocess import load
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import EncodeReport, encode_to_bank

HEIGHT, WIDTH, N_BITS, N_IMAGES = 4, 5, 12, 53
BAD = {7: "broken", 20: "missing", 21: "truncated", 52: "broken"}


def encode(encoder: Encoder, image_set: ImageSet, path: Path, **settings: object) -> EncodeReport:
    return encode_to_bank(
        encoder,
        image_set,
        path,
        source=source_of(image_set),
        **settings,  # type: ignore[arg-type]
    )


def good_rows(image_set: ImageSet) -> list[int]:
    return [row for row in range(len(image_set)) if row not in BAD]


def expected_codes(image_set: ImageSet, rows: list[int]) -> NDArray[np.uint8]:
    """Codes, one image at a time, without runtime, threads or batches."""
    size, rule = (HEIGHT, WIDTH), "crop-bilinear"
    pixels = np.stack([load(image_set.source(row), size, rule).ravel() for row in rows])
    return binarize((pixels - 127.5) @ linear_weights(HEIGHT * WIDTH * 3, N_BITS))


def contents(path: Path) -> tuple[bytes, list[str], bytes]:
    with Bank.open(path) as bank:
        assert bank.is_complete
        assert bank.labels is not None
        return bank.codes.tobytes(), list(bank.names), bank.labels.tobytes()
