"""Codes to build a multi-index of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size, pack


def random_codes(seed: int, n_rows: int, n_bits: int) -> NDArray[np.uint8]:
    bits = np.random.default_rng(seed).integers(0, 2, (n_rows, n_bits))
    return pack(bits) if n_rows else np.empty((0, code_size(n_bits)), np.uint8)


def crowded_codes(seed: int, n_rows: int, n_bits: int, n_centres: int) -> NDArray[np.uint8]:
    """Copies of a few centres with one bit in twenty flipped: many duplicates and large buckets."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (n_centres, n_bits))
    bits = centres[rng.integers(0, n_centres, n_rows)] ^ (rng.random((n_rows, n_bits)) < 0.05)
    return pack(bits) if n_rows else random_codes(0, 0, n_bits)
