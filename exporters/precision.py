"""Convert a verified float32 model file to another precision, within a tolerance."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.errors import ConfigError, ModelError, ParityError
from hashkit.exporters.agreement import (
    Agreement,
    Progress,
    Sample,
    Tolerance,
    compare,
)
from hashkit.exporters.fp16 import round_as_fp16, to_fp16
from hashkit.exporters.int8 import to_int8
from hashkit.exporters.onnx_files import check_and_save, describe, make_folder, written_model
from hashkit.exporters.relative_speed import relative_speed
from hashkit.files.private import private_folder
from hashkit.inputs.opening import read_file
from hashkit.runtimes.answers import answers_of
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.onnx_file import read_onnx_file

__all__ = ["CONVERSIONS", "TOLERANCES", "PrecisionReport", "export_precision"]

TOLERANCES: Final = {
    "fp16": Tolerance(flipped_per_million=2_500, map_lost=0.005, neighbours_lost=0.1),
    "int8": Tolerance(flipped_per_million=20_000, map_lost=0.01, neighbours_lost=0.3),
}
"""Largest acceptable loss of each precision; docs/precisions.md gives the reasons."""

_N_RUN: Final = 64
"""Images on which a file itself is run if a stand-in was compared."""

_TRAINING_SHARE: Final = 0.7
"""Share of the allowed flipped bits that int8 may use on training images, whose logits are farther
from 0 than those of new images."""


@dataclasses.dataclass(frozen=True)
class PrecisionReport:
    """The result of a conversion.

    Attributes
    ----------
    path
        The ONNX file.
    precision
        ``fp16`` or ``int8``.
    n_bytes, n_bytes_source
        Size of the file, and of the float32 file it was made from.
    model_sha256, source_sha256
        SHA-256 of both files, hexadecimal.
    quantised, kept
        For int8: the convolutions in int8 and in float32; otherwise empty.
    agreement
        Comparison of its outputs with those of the float32 file.
    tolerance
        Largest acceptable loss.
    excesses
        Losses that exceed the tolerance, as texts; only if this was allowed.
    speed
        Throughput on this CPU relative to the float32 file.
    seconds
        Time for conversion and comparison.
    """

    path: Path
    precision: str
    n_bytes: int
    n_bytes_source: int
    model_sha256: str
    source_sha256: str
    quantised: tuple[str, ...]
    kept: tuple[str, ...]
    agreement: Agreement
    tolerance: Tolerance
    excesses: tuple[str, ...]
    speed: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "path": str(self.path),
            "quantised": list(self.quantised),
            "kept": list(self.kept),
            "agreement": self.agreement.to_dict(),
            "tolerance": dataclasses.asdict(self.tolerance),
            "excesses": list(self.excesses),
        }


@dataclasses.dataclass(frozen=True)
class _Converted:
    """A converted graph, and a stand-in to compare if the CPU computes the graph differently."""

    model: onnx.ModelProto
    stand_in: onnx.ModelProto | None = None
    quantised: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class _Convert(Protocol):
    def __call__(
        self,
        source: onnx.ModelProto,
        calibration: NDArray[np.uint8],
        tolerance: Tolerance,
        say: Callable[[str], None],
    ) -> _Converted: ...


def _fp16(
    source: onnx.ModelProto,
    calibration: NDArray[np.uint8],  # noqa: ARG001 - rounding needs no ranges
    tolerance: Tolerance,  # noqa: ARG001
    say: Callable[[str], None],
) -> _Converted:
    say("converting the network to float16")
    half = to_fp16(source)
    return _Converted(half, stand_in=round_as_fp16(half))


def _int8(
    source: onnx.ModelProto,
    calibration: NDArray[np.uint8],
    tolerance: Tolerance,
    say: Callable[[str], None],
) -> _Converted:
    allowed = _TRAINING_SHARE * tolerance.flipped_per_million
    found = to_int8(source, calibration, flipped_per_million=allowed, progress=say)
    return _Converted(found.model, quantised=found.quantised, kept=found.kept)


CONVERSIONS: Final[dict[str, _Convert]] = {"fp16": _fp16, "int8": _int8}
"""Precisions to which a float32 file can be converted; to add one, add an entry."""


def export_precision(
    source: Path,
    path: str | Path,
    precision: str,
    *,
    calibration: NDArray[np.uint8],
    sample: Sample,
    tolerance: Tolerance | None = None,
    allow_loss: bool = False,
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> PrecisionReport:
    """Write a model in another precision, after measuring the loss on real images.

    Torch is not needed. The file gets its name only after it has passed; an existing file is kept
    until then.

    Parameters
    ----------
    source
        A float32 model that follows the model contract, as written by `export_onnx`.
    path
        Name of the file; missing folders are created.
    precision
        A name in `CONVERSIONS`.
    calibration
        uint8 [n, H, W, 3]: training images, none of them in the sample; int8 needs at least two.
    sample
        Images on which source and result are compared.
    tolerance
        Largest acceptable loss; by default the entry of `TOLERANCES`.
    allow_loss
        Write the file even if the loss exceeds the tolerance, as long as its logits are finite and
        its codes match its logits.
    say
        Called with a short text before each step.
    progress
        Called as ``progress(done, total)``, counted in images, during the comparison.

    Raises
    ------
    ConfigError
        If the precision is unknown, or there are too few images.
    ModelError
        If the source is not a float32 model of the contract, or cannot be converted.
    ParityError
        If the loss exceeds the tolerance; no file is written.
    """
    started = time.perf_counter()
    say = say or (lambda _: None)
    target = Path(path)
    if precision not in CONVERSIONS:
        known = ", ".join(CONVERSIONS)
        raise ConfigError(f"unknown precision {precision!r}; known: {known}")
    tolerance = tolerance or TOLERANCES[precision]
    data = _read_source(source)
    make_folder(target)
    model = onnx.load_model_from_string(data)
    converted = CONVERSIONS[precision](model, calibration, tolerance, say)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    describe(converted.model, metadata, precision)
    with written_model(target) as temporary:
        check_and_save(converted.model, temporary)
        say(f"comparing with {source} on {len(sample.queries) + len(sample.database):,} images")
        agreement = _compare(source, temporary, target, converted.stand_in, sample, progress)
        excesses = tolerance.excesses(agreement)
        _refuse(target, agreement, excesses, allow_loss)
        say(f"timing it beside {source}")
        speed = relative_speed(source, temporary, sample.queries)
        written = temporary.read_bytes()
    return PrecisionReport(
        path=target,
        precision=precision,
        n_bytes=len(written),
        n_bytes_source=len(data),
        model_sha256=hashlib.sha256(written).hexdigest(),
        source_sha256=hashlib.sha256(data).hexdigest(),
        quantised=converted.quantised,
        kept=converted.kept,
        agreement=agreement,
        tolerance=tolerance,
        excesses=tuple(excesses),
        speed=speed,
        seconds=time.perf_counter() - started,
    )


def _read_source(source: Path) -> bytes:
    found = read_onnx_file(source).precision
    if found != "fp32":
        raise ModelError(
            f"{source} is {found}: convert the fp32 model instead, so that losses do not add up"
        )
    return read_file(source, "model_bytes")


def _compare(
    source: Path,
    model: Path,
    target: Path,
    stand_in: onnx.ModelProto | None,
    sample: Sample,
    progress: Progress | None,
) -> Agreement:
    if stand_in is None:
        return compare(source, model, sample, progress=progress)
    with private_folder(target) as folder:
        other = folder / "stand-in.onnx"
        onnx.save_model(stand_in, str(other))
        found = compare(source, other, sample, progress=progress)
    # The file itself must also run and follow the contract.
    own = answers_of(OnnxRuntimeSession(model, "cpu").run, [sample.queries[:_N_RUN]])
    return dataclasses.replace(
        found,
        n_packing_errors=found.n_packing_errors + int((own.codes != binarize(own.logits)).sum()),
        n_not_finite=found.n_not_finite + int((~np.isfinite(own.logits)).sum()),
    )


def _refuse(target: Path, found: Agreement, excesses: list[str], allow_loss: bool) -> None:
    if found.n_not_finite or found.n_packing_errors:
        raise ParityError(
            f"{target} was not written: the model does not work in this precision: "
            f"{found.n_not_finite} logits are NaN or infinite, {found.n_packing_errors} code bytes "
            "do not match the logits"
        )
    if excesses and not allow_loss:
        raise ParityError(
            f"{target} was not written: the loss exceeds the tolerance: {'; '.join(excesses)}. "
            "`allow_loss=True` writes it anyway"
        )
