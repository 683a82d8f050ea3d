"""Checks whether the bits of a model's codes tell images apart.

A network that ends in a sigmoid or a ReLU has no logit below 0, so all of its codes are the same. A
layer of zeros or a damaged weight can do the same to one bit. Nothing fails then, but a search
finds nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BitHealth", "BitSample", "measure_bits", "not_finite_fault"]

_MIN_FOR_CODES: Final = 16
"""Distinct images from which on one code for all of them is reported."""

_MIN_FOR_BITS: Final = 32
"""The same for single bits: a bit that is 1 in one of five images is constant in 1 of 1,000 such
samples."""

_REPEATED_SHARE: Final = 0.5
"""Share of bits that may repeat others: with few classes, some bits of good codes are the same."""

_SCALE: Final = 2.0
"""Factor by which the deviation of standardised logits may differ on a sample of the images."""

_N_LISTED: Final = 8


@dataclasses.dataclass(frozen=True)
class BitHealth:
    """Statistics of the bits of a model's codes on some images.

    Attributes
    ----------
    n_images, n_bits
        Number of distinct images, and code length.
    n_codes
        Number of distinct codes.
    constant_bits
        Bits that have the same value in all images, from 0.
    n_repeated_bits
        Bits that are equal, or opposite, to an earlier bit in all images; without constant ones.
    largest_mean, smallest_deviation, largest_deviation
        Largest absolute mean of a logit over the images; smallest and largest standard deviation.
    n_not_finite
        Images with a logit that is NaN or infinite; the other numbers are without them.
    """

    n_images: int
    n_bits: int
    n_codes: int
    constant_bits: tuple[int, ...]
    n_repeated_bits: int
    largest_mean: float
    smallest_deviation: float
    largest_deviation: float
    n_not_finite: int

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the bits, one sentence each; empty if nothing was found."""
        return (*not_finite_fault(self.n_not_finite, self.n_images), *self.bit_faults())

    def bit_faults(self, constant_by_definition: Collection[int] = ()) -> tuple[str, ...]:
        """What is wrong with the bits of the images that have finite logits.

        Parameters
        ----------
        constant_by_definition
            Bits of which nothing is said if they are constant.
        """
        n_images = self.n_images - self.n_not_finite
        of_images = f"all {n_images:,} images"
        if self.n_codes == 1 and n_images >= _MIN_FOR_CODES:
            reason = "the logits must lie on both sides of 0, before any sigmoid, ReLU or softmax"
            return (f"{of_images} have the same code, so they cannot be told apart: {reason}",)
        faults: list[str] = []
        if n_images < _MIN_FOR_BITS:
            return ()
        constant = tuple(bit for bit in self.constant_bits if bit not in constant_by_definition)
        if constant:
            faults.append(
                f"{len(constant)} of {self.n_bits} bits are constant on {of_images} "
                f"({_listed(constant)}), so they carry no information"
            )
        if self.n_repeated_bits > _REPEATED_SHARE * self.n_bits:
            faults.append(
                f"{self.n_repeated_bits} of {self.n_bits} bits repeat another bit on {of_images}, "
                "so fewer bits would do as well"
            )
        return tuple(faults)

    def scale_faults(self) -> tuple[str, ...]:
        """What is wrong with logits that should have mean 0 and variance 1 over the images."""
        found = (
            f"deviations of {self.smallest_deviation:.2g} to {self.largest_deviation:.2g} and "
            f"means of up to {self.largest_mean:.2g}"
        )
        is_near = (
            self.smallest_deviation >= 1 / _SCALE
            and self.largest_deviation <= _SCALE
            and self.largest_mean <= 1 / _SCALE
        )
        if is_near or self.n_images < _MIN_FOR_BITS:
            return ()
        expected = "expected standardised logits with mean 0 and deviation 1"
        return (f"{expected}, found {found}: earlier versions wrote such models; train again",)

    def to_dict(self) -> dict[str, Any]:
        """Fields and the faults as JSON-ready values."""
        changed = {"constant_bits": list(self.constant_bits), "faults": list(self.faults())}
        return dataclasses.asdict(self) | changed


def not_finite_fault(n_not_finite: int, n_images: int) -> tuple[str, ...]:
    """A sentence about images with NaN or infinite logits; empty if there are none."""
    if not n_not_finite:
        return ()
    of_images = f"{n_not_finite:,} of {n_images:,} images"
    return (f"{of_images} have logits that are NaN or infinite, so their bits mean nothing",)


def measure_bits(images: NDArray[np.uint8], logits: NDArray[np.float32]) -> BitHealth:
    """Statistics of the bits of codes.

    Parameters
    ----------
    images
        uint8 [n, H, W, 3], n > 0; equal images count once.
    logits
        float32 [n, n_bits], their logits.
    """
    sample = BitSample(len(images), logits.shape[1])
    sample.add(images, logits)
    return sample.measure()


class BitSample:
    """The codes of distinct images, collected for `BitHealth`.

    Parameters
    ----------
    n_most
        Largest number of images to keep.
    n_bits
        Code length.
    """

    def __init__(self, n_most: int, n_bits: int) -> None:
        self._n_most = n_most
        self._n_bits = n_bits
        self._seen: set[bytes] = set()
        self._logits: list[NDArray[np.float32]] = []

    def __len__(self) -> int:
        return len(self._logits)

    def add(self, images: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
        """Add images, uint8 [n, H, W, 3], that are not in the sample yet, with their logits."""
        for image, values in zip(images, logits, strict=True):
            if len(self) >= self._n_most:
                return
            digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            if digest not in self._seen:
                self._seen.add(digest)
                self._logits.append(values.copy())

    def measure(self) -> BitHealth:
        """Statistics of the images so far."""
        logits = np.array(self._logits, np.float32).reshape(-1, self._n_bits)
        finite = logits[np.isfinite(logits).all(axis=1)].astype(np.float64)
        bits = finite > 0
        ones = bits.sum(axis=0)
        constant = (ones == 0) | (ones == len(bits)) if len(bits) else np.zeros(self._n_bits, bool)
        # A bit and its opposite become the same column.
        columns = bits[:, ~constant]
        columns = columns ^ columns[:1]
        n_different = len(np.unique(columns, axis=1).T) if columns.size else 0
        deviation = finite.std(axis=0) if len(finite) else np.zeros(1)
        return BitHealth(
            n_images=len(logits),
            n_bits=self._n_bits,
            n_codes=len(np.unique(bits, axis=0)),
            constant_bits=tuple(np.flatnonzero(constant).tolist()),
            n_repeated_bits=columns.shape[1] - n_different,
            largest_mean=float(np.abs(finite.mean(axis=0)).max()) if len(finite) else 0.0,
            smallest_deviation=float(deviation.min()),
            largest_deviation=float(deviation.max()),
            n_not_finite=len(logits) - len(finite),
        )


def _listed(bits: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, bits[:_N_LISTED]))
    more = len(bits) - _N_LISTED
    return f"{'bit' if len(bits) == 1 else 'bits'} {shown}" + (
        f" and {more} more" if more > 0 else ""
    )
