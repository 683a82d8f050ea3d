"""Codes and logits of images: computed in batches, and stored in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answers", "RunBatch", "answers_of"]

RunBatch = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Computes codes and logits of a batch: the ``run`` of a runtime or an encoder."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """Codes and logits of images.

    Attributes
    ----------
    codes
        uint8 [n, ceil(n_bits / 8)].
    logits
        float32 [n, n_bits].
    """

    codes: NDArray[np.uint8]
    logits: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write both into one file (.npz)."""
        np.savez(path, codes=self.codes, logits=self.logits)

    @classmethod
    def load(cls, path: Path) -> Answers:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["codes"], file["logits"])


def answers_of(
    run: RunBatch,
    parts: Sequence[NDArray[np.uint8]],
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Run images in batches.

    Parameters
    ----------
    run
        Computes codes and logits of a batch.
    parts
        uint8 [n, height, width, 3] each, not all empty; no batch spans two parts.
    batch_size
        Largest number of images per batch.
    progress
        Called after each batch with its number of images.
    """
    codes, logits = [], []
    for images in parts:
        for start in range(0, len(images), batch_size):
            batch = np.ascontiguousarray(images[start : start + batch_size])
            answer = run(batch)
            codes.append(answer[0])
            logits.append(answer[1])
            if progress is not None:
                progress(len(batch))
    return Answers(np.concatenate(codes), np.concatenate(logits))
