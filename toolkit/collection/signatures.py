"""What is kept of each picture to find its copies: two codes and a thumbnail, 4.4 KB in all.

All of it is computed from a canvas, the whole picture stretched to 256 x 256 pixels. A crop would
lose the borders, and every resize or added border would change it in another way. If pictures are
stretched, each such copy is an axis-parallel part of the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.position_codes import N_BITS, N_POSITIONS, position_codes
from hashkit.collection.verification import SIDE
from hashkit.errors import MissingExtraError
from hashkit.preprocess import ImageSource, load
from hashkit.runtimes.encoder import Encoder

__all__ = ["CANVAS", "LEARNED_MODEL", "Signatures", "Signer", "canvas_of", "joined"]

CANVAS: Final = 256
"""Pixels of a side of a canvas."""

LEARNED_MODEL: Final = "lite0-256"
"""The built-in model of the learned codes. Its input is the stretched picture, not its centre, so
these codes are not those of a bank of this model."""

_RESIZE: Final = "stretch-bilinear-reduced"

_LUMA: Final = np.array([19595, 38470, 7471], np.uint32)
"""Weights of red, green and blue in 1/65536, as Pillow converts to grey (ITU-R BT.601)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Signatures:
    """Signatures of n pictures.

    Attributes
    ----------
    hashes
        uint8 [n, 8, 32], perceptual hashes of 256 bits in eight positions.
    thumbnails
        uint8 [n, 64, 64], grey.
    learned
        uint8 [n, 32], learned codes of 256 bits; None without the weights.
    """

    hashes: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    learned: NDArray[np.uint8] | None

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, chosen: NDArray[np.int64] | slice) -> Signatures:
        learned = None if self.learned is None else self.learned[chosen]
        return Signatures(self.hashes[chosen], self.thumbnails[chosen], learned)


def joined(parts: Sequence[Signatures]) -> Signatures:
    """Signatures of one or more groups of pictures as one; all have learned codes, or none."""
    learned = [part.learned for part in parts if part.learned is not None]
    return Signatures(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.thumbnails for part in parts]),
        np.concatenate(learned) if learned else None,
    )


def canvas_of(source: ImageSource) -> NDArray[np.uint8]:
    """The whole of a picture, upright and stretched: uint8 [256, 256, 3].

    Parameters
    ----------
    source
        A path, a file that was read, a decoded picture or an array. Large JPEG files are decoded at
        a smaller size.

    Raises
    ------
    ImageError
        If the image cannot be used.
    """
    return load(source, (CANVAS, CANVAS), _RESIZE)


class Signer:
    """Computes signatures.

    Parameters
    ----------
    encoder
        Computes the learned codes; None for no learned codes.
    """

    def __init__(self, encoder: Encoder | None) -> None:
        self._encoder = encoder

    @classmethod
    def load(cls, learned: bool | None = None, *, n_threads: int | None = None) -> Signer:
        """Load the models.

        Parameters
        ----------
        learned
            Whether to compute learned codes; None: only if their weights are installed.
        n_threads
            Threads of the network; one per CPU by default.

        Raises
        ------
        MissingExtraError
            If ``learned`` is True and the weights are not installed.
        """
        if learned is False:
            return cls(None)
        try:
            return cls(Encoder.load(LEARNED_MODEL, n_threads=n_threads))
        except MissingExtraError:
            if learned:
                raise
            return cls(None)

    @property
    def model(self) -> str:
        """SHA-256 of the model of the learned codes; empty without them."""
        return "" if self._encoder is None else self._encoder.model_sha256

    def sign(self, canvases: NDArray[np.uint8]) -> Signatures:
        """Signatures of canvases, uint8 [n, 256, 256, 3]; take a few hundred at a time."""
        n_images = len(canvases)
        if not n_images:
            learned = None if self._encoder is None else np.empty((0, N_BITS // 8), np.uint8)
            hashes = np.empty((0, N_POSITIONS, N_BITS // 8), np.uint8)
            return Signatures(hashes, np.empty((0, SIDE, SIDE), np.uint8), learned)
        grey = _grey(_shrunk(canvases, SIDE))
        hashes = position_codes(grey.astype(np.float32))
        if self._encoder is None:
            return Signatures(hashes, grey, None)
        pixels = _shrunk(canvases, self._encoder.manifest.height)
        return Signatures(hashes, grey, self._encoder.run(pixels)[0])


def _shrunk(canvases: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Averages over squares, rounded: uint8 [n, side, side, 3]."""
    factor = CANVAS // side
    rows = canvases[:, ::factor].astype(np.uint16)
    for row in range(1, factor):
        rows += canvases[:, row::factor]
    sums = rows[:, :, ::factor].copy()
    for column in range(1, factor):
        sums += rows[:, :, column::factor]
    shrunk: NDArray[np.uint8] = ((sums + factor * factor // 2) // (factor * factor)).astype(
        np.uint8
    )
    return shrunk


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values, uint8 [n, s, s]."""
    weighted = (pixels * _LUMA).sum(axis=-1, dtype=np.uint32)
    grey: NDArray[np.uint8] = ((weighted + 2**15) >> 16).astype(np.uint8)
    return grey
