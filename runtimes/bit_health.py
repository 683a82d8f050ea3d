"""Checks whether the bits of a model's codes tell images apart.

A network that ends in a sigmoid or a ReLU has no logit below 0, so all of its codes are the same. A
layer of zeros or a damaged weight can do the same to one bit, and two outputs with the same weights
make one bit of two. Nothing fails then, but a search finds nothing, or less.
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
"""Least number of distinct images for which one code for all of them is reported."""

_MIN_FOR_BITS: Final = 32
"""The same for single bits: a bit that is 1 in one of five images is constant in 1 of 1,000 such
samples."""

_MIN_FOR_RARE: Final = 500
"""The same for bits that are nearly constant: five images are 1 % of this many."""

_RARE: Final = 0.01
"""A bit whose rarer value has at most this share of the images is nearly constant."""

_COMMON: Final = 0.95
"""If one code has this share of the images or more, most cannot be told apart."""

_LEAST_DEVIATION: Final = 1e-3
"""Logits that deviate by less than this part of the largest one do not depend on the image."""

_CORRELATION_SLACK: Final = 1e-6
"""Two bits whose logits have a correlation within this of 1 are computed in the same way: training
does not bring them that close."""

_MOST_ALIKE: Final = 256
"""Most bits, equal in all images, whose logits are compared: the time grows with the square."""

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
    n_codes, largest_group
        Number of distinct codes, and of images with the most frequent one.
    constant_bits, rare_bits
        Bits that have the same value in all images, and in all but a hundredth; from 0.
    equal_bits
        Bits whose logits are those of an earlier bit in all images, up to a factor and a shift.
    n_repeated_bits
        Bits that are equal, or opposite, to an earlier bit in all images; without constant ones.
    largest_mean, smallest_deviation, largest_deviation
        Largest absolute mean of a logit over the images; smallest and largest standard deviation.
    smallest_logit, largest_logit
        Extreme values over all bits and images.
    n_not_finite
        Images with a logit that is NaN or infinite; the other numbers leave them out.
    """

    n_images: int
    n_bits: int
    n_codes: int
    largest_group: int
    constant_bits: tuple[int, ...]
    rare_bits: tuple[int, ...]
    equal_bits: tuple[int, ...]
    n_repeated_bits: int
    largest_mean: float
    smallest_deviation: float
    largest_deviation: float
    smallest_logit: float
    largest_logit: float
    n_not_finite: int

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the bits, one sentence each; empty if nothing was found."""
        return (*not_finite_fault(self.n_not_finite, self.n_images), *self.bit_faults())

    def bit_faults(self) -> tuple[str, ...]:
        """What is wrong with the bits of the images that have finite logits."""
        faults = list(self.early_faults())
        n_images = self._n_finite
        if self.n_codes == 1 or n_images < _MIN_FOR_BITS:
            return tuple(faults)
        if self.largest_group >= _COMMON * n_images:
            faults.append(
                f"{self.largest_group:,} of {n_images:,} images have the same code, so they "
                "cannot be told apart"
            )
        if self.n_repeated_bits > _REPEATED_SHARE * self.n_bits:
            faults.append(
                f"{self.n_repeated_bits} of {self.n_bits} bits repeat another bit on all "
                f"{n_images:,} images, so fewer bits would do as well"
            )
        if self.rare_bits and n_images >= _MIN_FOR_RARE:
            faults.append(
                f"{len(self.rare_bits)} of {self.n_bits} bits are nearly constant, the same in "
                f"{1 - _RARE:.0%} or more of {n_images:,} images ({_listed(self.rare_bits)}), so "
                "they carry little information"
            )
        return tuple(faults)

    def early_faults(self) -> tuple[str, ...]:
        """The part of `bit_faults` that too many images of one kind in a sample cannot cause."""
        n_images = self._n_finite
        of_images = f"all {n_images:,} images"
        if self.n_codes == 1 and n_images >= _MIN_FOR_CODES:
            logits = f"logits of {self.smallest_logit:.3g} to {self.largest_logit:.3g}"
            what = f"{of_images} have the same code, so they cannot be told apart ({logits})"
            return (f"{what}: {self._reason()}",)
        faults: list[str] = []
        if n_images < _MIN_FOR_BITS:
            return ()
        if self.constant_bits:
            faults.append(
                f"{len(self.constant_bits)} of {self.n_bits} bits are constant on {of_images} "
                f"({_listed(self.constant_bits)}), so they carry no information"
            )
        if self.equal_bits:
            faults.append(
                f"{len(self.equal_bits)} of {self.n_bits} bits have the logits of an earlier bit, "
                f"or their opposite, on {of_images} ({_listed(self.equal_bits)}), so they carry no "
                "information of their own"
            )
        return tuple(faults)

    @property
    def _n_finite(self) -> int:
        return self.n_images - self.n_not_finite

    def _reason(self) -> str:
        largest = max(abs(self.smallest_logit), abs(self.largest_logit))
        if self.largest_deviation <= _LEAST_DEVIATION * largest:
            return (
                f"no logit deviates by more than {self.largest_deviation:.1g} between images; "
                "check the weights, the input's scale and the normalisation"
            )
        return "the logits must lie on both sides of 0, before any sigmoid, ReLU or softmax"

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
        lists = ("constant_bits", "rare_bits", "equal_bits")
        changed = {name: list(getattr(self, name)) for name in lists}
        return dataclasses.asdict(self) | changed | {"faults": list(self.faults())}


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
    constant_by_definition
        Bits that count neither as constant nor as nearly constant.
    """

    def __init__(
        self, n_most: int, n_bits: int, constant_by_definition: Collection[int] = ()
    ) -> None:
        self._n_most = n_most
        self._n_bits = n_bits
        self._is_judged = ~np.isin(np.arange(n_bits), list(constant_by_definition))
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
        group = np.empty(0, np.int64)
        if columns.size:
            group = np.unique(columns, axis=1, return_inverse=True)[1].ravel()
        deviation = finite.std(axis=0) if len(finite) else np.zeros(1)
        codes, sizes = np.unique(np.packbits(bits, axis=1), axis=0, return_counts=True)
        is_rare = np.minimum(ones, len(bits) - ones) <= _RARE * len(bits)
        return BitHealth(
            n_images=len(logits),
            n_bits=self._n_bits,
            n_codes=len(codes),
            largest_group=int(sizes.max(initial=0)),
            constant_bits=tuple(np.flatnonzero(constant & self._is_judged).tolist()),
            rare_bits=tuple(np.flatnonzero(is_rare & ~constant & self._is_judged).tolist()),
            equal_bits=_equal_logits(finite, np.flatnonzero(~constant), group),
            n_repeated_bits=columns.shape[1] - len(np.unique(group)),
            largest_mean=float(np.abs(finite.mean(axis=0)).max()) if len(finite) else 0.0,
            smallest_deviation=float(deviation.min()),
            largest_deviation=float(deviation.max()),
            smallest_logit=float(finite.min(initial=np.inf)) if finite.size else 0.0,
            largest_logit=float(finite.max(initial=-np.inf)) if finite.size else 0.0,
            n_not_finite=len(logits) - len(finite),
        )


def _equal_logits(
    logits: NDArray[np.float64], numbers: NDArray[np.int64], group: NDArray[np.int64]
) -> tuple[int, ...]:
    """Bits whose logits are those of an earlier bit in the same group, up to factor and shift.

    Parameters
    ----------
    logits
        float64 [m, n_bits].
    numbers, group
        int64 [n], bits that are not constant, and the number of the group of each: bits with the
        same or opposite values.
    """
    equal: list[int] = []
    for number in np.flatnonzero(np.bincount(group) > 1) if len(group) else ():
        members = numbers[group == number][:_MOST_ALIKE]
        values = logits[:, members]
        sizes = np.abs(values)
        # Logits behind a saturated tanh have only two values, and are equal wherever bits are.
        is_graded = sizes.std(axis=0) > _LEAST_DEVIATION * sizes.mean(axis=0)
        members, values = members[is_graded], values[:, is_graded]
        values = (values - values.mean(axis=0)) / values.std(axis=0)
        correlation = np.abs(values.T @ values) / len(values)
        has_earlier = np.triu(correlation > 1 - _CORRELATION_SLACK, 1).any(axis=0)
        equal += members[has_earlier].tolist()
    return tuple(sorted(equal))


def _listed(bits: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, bits[:_N_LISTED]))
    more = len(bits) - _N_LISTED
    return f"{'bit' if len(bits) == 1 else 'bits'} {shown}" + (
        f" and {more} more" if more > 0 else ""
    )
