"""Writes a model's graph after it has been verified against its source."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hashkit.errors import ModelError, ParityError
from hashkit.exporters.onnx_files import check_and_save, written_model
from hashkit.exporters.parity import (
    ABSOLUTE_TOLERANCE,
    BATCH_SIZES,
    ParityReport,
    Source,
    verify,
)

__all__ = ["ExportReport", "write_verified"]


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes
    ----------
    path
        The ONNX file.
    n_bytes
        Size of the file.
    model_sha256
        SHA-256 of the file, hexadecimal; code banks identify their model by it.
    opset
        Operator set of the graph.
    seconds
        Time for export and verification.
    parity
        Comparison of its outputs with torch's, and the health of its bits on the same images.
    """

    path: Path
    n_bytes: int
    model_sha256: str
    opset: int
    seconds: float
    parity: ParityReport

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"path": str(self.path), "parity": self.parity.to_dict()}


def write_verified(
    graph: onnx.ModelProto,
    source: Source,
    target: Path,
    images: NDArray[np.uint8],
    *,
    what: str,
    opset: int,
    tolerance: float = ABSOLUTE_TOLERANCE,
    started: float,
    progress: Callable[[str], None],
) -> ExportReport:
    """Write a graph that gives the same outputs as its source; an existing file is kept until then.

    Parameters
    ----------
    source, what
        What the graph was made from, and its name for the progress.
    images
        uint8 [m, H, W, 3], m > 0: real images.
    tolerance
        Largest logit difference for logits of scale 1; see `hashkit.exporters.parity`.
    started
        `time.perf_counter` at the start of the export.

    Raises
    ------
    ModelError
        If the graph is not valid.
    ParityError
        If the outputs differ; no file is written.
    """
    with written_model(target) as temporary:
        progress("checking the graph")
        check_and_save(graph, temporary)
        progress(f"comparing with {what} on {max(len(images), *BATCH_SIZES)} images")
        try:
            parity = verify(source, temporary, images, absolute_tolerance=tolerance)
        except ModelError as error:
            raise ModelError(str(error).replace(str(temporary), str(target))) from None
        if not parity.passed:
            raise ParityError(
                f"{target} was not written: its outputs differ from the model's: "
                f"{parity.differences()}"
            )
        data = temporary.read_bytes()
    return ExportReport(
        path=target,
        n_bytes=len(data),
        model_sha256=hashlib.sha256(data).hexdigest(),
        opset=opset,
        seconds=time.perf_counter() - started,
        parity=parity,
    )
