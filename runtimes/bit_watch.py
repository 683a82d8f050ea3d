"""Watches the bits of the codes that an encoding writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.runtimes.bit_health import BitSample, not_finite_fault

__all__ = ["BitWatch"]

_N_SAMPLED: Final = 1000

_N_IMAGES: Final = re.compile(r"[\d,]+ (?:of [\d,]+ )?images")
"""The number of images in a fault: the same fault of more images is not repeated."""


class BitWatch:
    """Warns of codes that do not tell images apart.

    If the first thousand images all have one code, it warns then. They may all be of one class, so
    single bits are judged with them only if some images of the whole set were given before
    (`add_sample`), and otherwise at the end, on images that are evenly spaced over the set.

    Parameters
    ----------
    n_images
        Images of the set. If it is None, unknown, and there are more than a thousand, only one code
        for all of the first thousand is noticed.
    n_bits
        Code length.
    warn
        Called with each warning, a sentence.
    constant_by_definition
        Bits that are not reported if they are constant.
    said
        Faults that other watches of the same model have reported, which are not repeated; those
        that this one reports are added.

    Attributes
    ----------
    warnings
        The warnings so far.
    n_seen
        Number of images so far.
    """

    def __init__(
        self,
        n_images: int | None,
        n_bits: int,
        warn: Callable[[str], None],
        constant_by_definition: Collection[int] = (),
        said: set[str] | None = None,
    ) -> None:
        self.warnings: list[str] = []
        self._warn = warn
        self._step = max(1, (n_images or 0) // _N_SAMPLED)
        self._is_sized = n_images is not None
        self._has_sample = False
        self._said = set() if said is None else said
        samples = [BitSample(_N_SAMPLED, n_bits, constant_by_definition) for _ in range(2)]
        self._first: BitSample | None = samples[0]
        self._spread = samples[1]
        self.n_seen = self._n_not_finite = 0

    def add_sample(self, images: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
        """Add images that are evenly spaced over the set, before the first batch.

        Parameters
        ----------
        images, logits
            uint8 [n, H, W, 3], and float32 [n, n_bits].
        """
        if self._first is not None:
            self._first.add(images, logits)
            self._has_sample = True

    def add(
        self, rows: NDArray[np.int64], images: NDArray[np.uint8], logits: NDArray[np.float32]
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        rows
            int64 [n], rows of the image set.
        images, logits
            uint8 [n, H, W, 3], and float32 [n, n_bits].
        """
        self.n_seen += len(rows)
        self._n_not_finite += int((~np.isfinite(logits)).any(axis=1).sum())
        chosen = np.asarray(rows) % self._step == 0
        self._spread.add(images[chosen], logits[chosen])
        if self._first is not None:
            self._first.add(images, logits)
            if len(self._first) == _N_SAMPLED:
                health = self._first.measure()
                if self._has_sample or health.n_codes == 1:
                    self._warn_once(*health.early_faults())
                self._warn_once(*not_finite_fault(health.n_not_finite, health.n_images))
                self._first = None

    def finish(self) -> None:
        """Warn of faults that only the whole set shows."""
        if not self.n_seen:
            return
        health = self._spread.measure()
        is_judged = self._is_sized or self.n_seen <= _N_SAMPLED
        if is_judged and not (self.warnings and health.n_codes == 1):
            self._warn_once(*health.bit_faults())
        self._warn_once(*not_finite_fault(self._n_not_finite, self.n_seen))

    def _warn_once(self, *faults: str) -> None:
        for fault in faults:
            kind = _N_IMAGES.sub("images", fault)
            if kind not in self._said:
                self._said.add(kind)
                self.warnings.append(fault)
                self._warn(fault)
