"""Random codes, which give the score of a ranking by chance."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features
from hashkit.codes import code_size

__all__ = ["RandomCodes", "fit_random"]


@dataclasses.dataclass(frozen=True)
class RandomCodes:
    """A random function of the features: independent bits, 0 or 1 with equal probability.

    The bits are SHAKE-256 of the seed and the bytes of the row, so equal features have equal codes
    in every block and every process.
    """

    n_bits: int
    seed: int

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)]."""
        size = code_size(self.n_bits)
        key = f"hashkit random codes {self.seed}\n".encode()
        rows = np.ascontiguousarray(features, dtype="<f4")
        digests = (hashlib.shake_256(key + row.tobytes()).digest(size) for row in rows)
        codes = np.frombuffer(b"".join(digests), np.uint8).reshape(len(rows), size).copy()
        codes[:, -1] &= 0xFF << (size * 8 - self.n_bits) & 0xFF
        return codes


def fit_random(
    features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int
) -> RandomCodes:
    """Random codes; nothing is fitted.

    Raises
    ------
    CodesError
        If ``n_bits`` is out of range.
    """
    del features, labels
    code_size(n_bits)
    return RandomCodes(n_bits, seed)
