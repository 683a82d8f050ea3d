"""Random codes, and their ranking by a sort of all distances."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.retrieval.neighbours import Neighbours

Codes: TypeAlias = NDArray[np.uint8]


def uniform(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    return pack(rng.integers(0, 2, (n_rows, n_bits)))


def clustered(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    """Copies of a few codes with few bits flipped: duplicates and long ties."""
    centres = rng.integers(0, 2, (1 + n_rows // 100, n_bits))
    chosen = centres[rng.integers(0, len(centres), n_rows)]
    return pack(chosen ^ (rng.random(chosen.shape) < 0.02))


def sorted_rows(query: Codes, database: Codes, kept: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Distances and rows of all kept rows, ordered by (distance, row)."""
    distances = np.bitwise_count(database ^ query).sum(axis=1, dtype=np.int64)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(distances[rows], kind="stable")]
    return distances[rows], rows


def entries(found: Neighbours, query: int) -> tuple[Any, Any]:
    own = slice(found.offsets[query], found.offsets[query + 1])
    return found.distances[own], found.rows[own]


def code_set(seed: int, n_rows: int, n_bits: int = 5, n_classes: int = 3) -> CodeSet:
    """Random codes with a label for each."""
    rng = np.random.default_rng(seed)
    return CodeSet(
        pack(rng.integers(0, 2, (n_rows, n_bits))), n_bits, rng.integers(0, n_classes, n_rows)
    )
