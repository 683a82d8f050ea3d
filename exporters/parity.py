"""Verify that an ONNX file gives the same outputs as its source, on real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.errors import ConfigError
from hashkit.exporters.agreement import finite_or_none
from hashkit.runtimes.answers import answers_of
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.bit_health import BitHealth, measure_bits

__all__ = [
    "ABSOLUTE_TOLERANCE",
    "BATCH_SIZES",
    "RELATIVE_TOLERANCE",
    "ParityReport",
    "Source",
    "allowed_difference",
    "verify",
]

BATCH_SIZES: Final = (1, 3, 64)
"""One image, an odd batch and a full batch: both libraries use different kernels for them."""

ABSOLUTE_TOLERANCE: Final = 1e-4
RELATIVE_TOLERANCE: Final = 1e-5
"""Error in float32 from reordering the sum of the 6,400 products of a 5x5x256 convolution."""

_ROUNDINGS: Final = 8.0
"""Factor on the source's rounding error: both round, and the graph up to 3 times as much."""

_MOST_ROUNDING: Final = 1e-3
"""Largest tolerance, for logits of scale 1, that a model's own rounding error can give."""

_N_ROUNDED: Final = 64
"""Images on which the rounding error is measured."""


class Source(Protocol):
    """What an ONNX file was made from: a torch model, or an embedder and a head."""

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of images, uint8 [n, H, W, 3]."""
        ...

    def exact(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Logits computed in float64; None if that is not possible."""
        ...


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Differences between an ONNX file and its source.

    Attributes
    ----------
    n_images, n_bits
        Number of images compared at every batch size, and code length.
    batch_sizes
        Batch sizes that were run in ONNX Runtime.
    largest_logit
        Largest absolute logit of the source, the scale of the outputs.
    largest_difference
        Largest absolute difference between a logit of the source and of ONNX Runtime.
    largest_batch_difference
        The same between ONNX Runtime's logits of one image at different batch sizes.
    rounding
        Largest absolute difference between logits of the source in float32 and in float64, on some
        of the images; 0 if it cannot compute in float64.
    tolerance
        Upper limit of both differences; `allowed_difference` of ``largest_logit``, or more if the
        network's own rounding error is large.
    n_flipped_bits
        Bits that differ between the source and ONNX Runtime, over all images and batch sizes.
    largest_flipped_logit
        Largest absolute logit of these bits in the source, which shows how close to 0 they are; 0
        if there are none.
    n_packing_errors
        Code bytes that differ from `hashkit.codes.binarize` of the graph's own logits.
    n_not_finite
        Logits of the source or of ONNX Runtime that are NaN or infinite.
    provider
        Execution provider of ONNX Runtime.
    bits
        Whether the bits tell the images apart.
    """

    n_images: int
    n_bits: int
    batch_sizes: tuple[int, ...]
    largest_logit: float
    largest_difference: float
    largest_batch_difference: float
    rounding: float
    tolerance: float
    n_flipped_bits: int
    largest_flipped_logit: float
    n_packing_errors: int
    n_not_finite: int
    provider: str
    bits: BitHealth

    @property
    def passed(self) -> bool:
        """Whether all differences are within the tolerance."""
        return (
            self.n_not_finite == 0
            and self.n_packing_errors == 0
            and self.largest_difference <= self.tolerance
            and self.largest_batch_difference <= self.tolerance
            and self.largest_flipped_logit <= self.tolerance
        )

    def to_dict(self) -> dict[str, Any]:
        """Fields and ``passed`` as JSON-ready values; numbers that are not finite are None."""
        changed = {
            "batch_sizes": list(self.batch_sizes),
            "passed": self.passed,
            "bits": self.bits.to_dict(),
        }
        return finite_or_none(dataclasses.asdict(self) | changed)

    def summary(self) -> str:
        """One line of text, with what is wrong with the bits."""
        return "; ".join([self.differences(), *self.bits.faults()])

    def differences(self) -> str:
        """One line of text about the differences."""
        if self.n_not_finite:
            return f"{self.n_not_finite} logits are NaN or infinite"
        text = (
            f"{self.n_images} images at batch {', '.join(map(str, self.batch_sizes))}: largest "
            f"logit difference {max(self.largest_difference, self.largest_batch_difference):.1e} "
            f"({self.tolerance:.1e} allowed), "
            f"{self.n_flipped_bits} bits flipped"
        )
        if self.n_flipped_bits:
            text += f" (all within {self.largest_flipped_logit:.1e} of 0)"
        if self.n_packing_errors:
            text += f", {self.n_packing_errors} code bytes that do not match the logits"
        return text


def allowed_difference(
    largest_logit: float,
    absolute: float = ABSOLUTE_TOLERANCE,
    relative: float = RELATIVE_TOLERANCE,
) -> float:
    """Largest logit difference that rounding can explain, for logits of up to ``largest_logit``.

    ``absolute * min(1, largest_logit) + relative * largest_logit``. The error of a float32 sum
    grows with the size of its terms, not of its result; hence the relative part depends on the
    largest logit. The absolute part shrinks for models with small logits: the logits of an
    untrained network are within 1e-4 of 0, and a fixed 1e-4 would accept any other such network.
    """
    return absolute * min(1.0, largest_logit) + relative * largest_logit


def verify(
    source: Source,
    onnx_path: Path,
    images: NDArray[np.uint8],
    batch_sizes: Sequence[int] = BATCH_SIZES,
    *,
    absolute_tolerance: float = ABSOLUTE_TOLERANCE,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    device: str = "cpu",
) -> ParityReport:
    """Compare a source with its ONNX file on images.

    Parameters
    ----------
    source
        What the file was made from.
    onnx_path
        A file that follows the model contract.
    images
        uint8 [m, H, W, 3], m > 0. Use real images: noise saturates most of a network. They are
        repeated in order if there are fewer than the largest batch size.
    batch_sizes
        Every image is run at each batch size.
    absolute_tolerance, relative_tolerance
        See `allowed_difference`.
    device
        Device for ONNX Runtime.

    Raises
    ------
    ConfigError
        If there are no images or no batch sizes.
    ModelError
        If the file cannot be opened or violates the contract. Different outputs do not raise;
        see `ParityReport.passed`.
    """
    if not len(images) or not batch_sizes or min(batch_sizes) < 1:
        raise ConfigError(
            f"verification needs images and positive batch sizes, found {len(images)} images and "
            f"batch sizes {list(batch_sizes)}"
        )
    n_images = len(images)
    if n_images < max(batch_sizes):
        images = images[np.arange(max(batch_sizes)) % len(images)]
    expected = answers_of(source.run, [images], max(batch_sizes)).logits
    session = OnnxRuntimeSession(onnx_path, device)
    answers = [answers_of(session.run, [images], size) for size in batch_sizes]
    logits = np.stack([one.logits for one in answers])
    flipped = (logits > 0) != (expected > 0)
    with np.errstate(invalid="ignore"):  # infinities are counted below, not subtracted
        differences = logits - expected
        batch_differences = logits - logits[0]
    largest_logit = _largest(expected)
    rounding = _rounding(source, images[:_N_ROUNDED], expected[:_N_ROUNDED])
    return ParityReport(
        n_images=n_images,
        n_bits=session.manifest.n_bits,
        batch_sizes=tuple(batch_sizes),
        largest_logit=largest_logit,
        largest_difference=_largest(differences),
        largest_batch_difference=_largest(batch_differences),
        rounding=rounding,
        tolerance=max(
            allowed_difference(largest_logit, absolute_tolerance, relative_tolerance),
            min(_ROUNDINGS * rounding, _MOST_ROUNDING * min(1.0, largest_logit)),
        ),
        n_flipped_bits=int(flipped.sum()),
        largest_flipped_logit=_largest(np.broadcast_to(expected, flipped.shape)[flipped]),
        n_packing_errors=sum(int((one.codes != binarize(one.logits)).sum()) for one in answers),
        n_not_finite=int((~np.isfinite(logits)).sum() + (~np.isfinite(expected)).sum()),
        provider=session.provider,
        bits=measure_bits(images[:n_images], logits[0, :n_images]),
    )


def _rounding(source: Source, images: NDArray[np.uint8], expected: NDArray[np.float32]) -> float:
    """Largest error of a source's float32 logits; 0 if it is not known.

    A layer that divides by a small deviation, as after a few steps of training, multiplies the
    error of those before it.
    """
    exact = source.exact(images)
    if exact is None:
        return 0.0
    with np.errstate(invalid="ignore"):  # infinities are counted by the caller
        difference = _largest(exact - expected)
    return difference if np.isfinite(difference) else 0.0


def _largest(values: NDArray[np.floating[Any]]) -> float:
    """Largest absolute value; 0 if there are no values, NaN if any is NaN."""
    return float(np.abs(values).max()) if values.size else 0.0
