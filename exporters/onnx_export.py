"""Export a torch hash model as one ONNX file that follows the contract, verified before use."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.codes import code_size
from hashkit.errors import ModelError, ParityError
from hashkit.exporters.onnx_files import (
    check_and_save,
    describe,
    make_folder,
    written_model,
)
from hashkit.exporters.parity import ABSOLUTE_TOLERANCE, BATCH_SIZES, ParityReport, verify
from hashkit.exporters.source_checks import check_source
from hashkit.exporters.trace_failures import why_not_traced
from hashkit.manifest import Manifest

__all__ = ["OPSET", "ExportReport", "export_onnx"]

OPSET: Final = 20
"""Operator set of the files, which ONNX Runtime reads from version 1.18 on."""

_BIT_VALUES: Final = (128.0, 64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0)


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


def export_onnx(
    model: nn.Module,
    manifest: Manifest,
    path: str | Path,
    *,
    images: NDArray[np.uint8],
    opset: int = OPSET,
    tolerance: float = ABSOLUTE_TOLERANCE,
    progress: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write a model as ONNX, after verifying that the file gives the same outputs as the model.

    The file gets its name only after it has passed; an existing file is kept until then. The model
    is not modified: a copy is put in evaluation mode.

    Parameters
    ----------
    model
        uint8 [n, H, W, 3] -> logits float32 [n, n_bits], normalisation included.
    manifest
        Metadata of the file; bits and size must match the model.
    path
        Name of the file; missing folders are created.
    images
        uint8 [m, H, W, 3], m > 0: real images for the verification; use 64 or more.
    opset
        Operator set of the graph.
    tolerance
        Largest logit difference for logits of scale 1; see `hashkit.exporters.parity`.
    progress
        Called with a short text before each step.

    Raises
    ------
    ModelError
        If the model does not match its manifest, has NaN or infinite weights or logits, or cannot
        be expressed in ONNX.
    ParityError
        If the outputs differ; no file is written.
    """
    started = time.perf_counter()
    say = progress or (lambda _: None)
    target = Path(path)
    source = copy.deepcopy(model).to("cpu").eval()
    check_source(source, manifest, images)
    make_folder(target)  # first, because tracing a large network takes minutes
    say("tracing the network")
    graph = _trace(_Contract(source, manifest.n_bits), manifest, opset)
    describe(graph, manifest.to_metadata(), "fp32")
    with written_model(target) as temporary:
        say("checking the graph")
        check_and_save(graph, temporary)
        say(f"comparing with torch on {max(len(images), *BATCH_SIZES)} images")
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


class _Contract(nn.Module):
    """A model followed by threshold and packing: image -> (code, logit)."""

    def __init__(self, model: nn.Module, n_bits: int) -> None:
        super().__init__()
        self.model = model
        self.size = code_size(n_bits)
        self.n_padding = self.size * 8 - n_bits
        # Not a buffer: the constant belongs to the contract, not to the model's weights.
        self.bit_values = torch.tensor(_BIT_VALUES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logit = self.model(image)
        # A product with 128 .. 1 is exact in every float format, and CUDA has no BitShift.
        bits = nn.functional.pad((logit > 0).to(torch.float32), (0, self.n_padding))
        code = bits.reshape(-1, self.size, 8) @ self.bit_values
        return code.to(torch.uint8), logit


def _trace(model: nn.Module, manifest: Manifest, opset: int) -> onnx.ModelProto:
    # A batch of 2: with 1, the exporter would treat the batch size as a constant.
    example = torch.zeros((2, manifest.height, manifest.width, 3), dtype=torch.uint8)
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                model.eval(),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["image"],
                output_names=["code", "logit"],
                dynamic_shapes={"image": {0: torch.export.Dim("N")}},
                external_data=False,
                optimize=True,
            )
        except Exception as error:
            raise ModelError(
                f"the network cannot be expressed in ONNX opset {opset}: {why_not_traced(error)}; "
                "replace this step of the network by others"
            ) from error
    if program is None:  # pragma: no cover - only with the exporter's older signature
        raise ModelError("torch's exporter returned no graph; update torch to 2.8 or later")
    return program.model_proto


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress what torch's exporter writes: deprecations, and graphs where it fails."""
    torch_logger = logging.getLogger("torch")
    level = torch_logger.level
    torch_logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch_logger.setLevel(level)
