"""Export a torch hash model as one ONNX file that follows the contract, verified before use."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.codes import code_size
from hashkit.exporters.onnx_files import (
    describe,
    make_folder,
)
from hashkit.exporters.parity import ABSOLUTE_TOLERANCE
from hashkit.exporters.source_checks import check_source
from hashkit.exporters.torch_model import ModuleSource
from hashkit.exporters.tracing import traced
from hashkit.exporters.verified import ExportReport, write_verified
from hashkit.manifest import Manifest

__all__ = ["OPSET", "export_onnx"]

OPSET: Final = 20
"""Operator set of the files, which ONNX Runtime reads from version 1.18 on."""

_BIT_VALUES: Final = (128.0, 64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0)


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
    return write_verified(
        graph,
        ModuleSource(source),
        target,
        images,
        what="torch",
        opset=opset,
        tolerance=tolerance,
        started=started,
        progress=say,
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
    return traced(model, (manifest.height, manifest.width), opset, ["code", "logit"])
