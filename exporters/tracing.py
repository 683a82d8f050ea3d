"""Torch modules as ONNX graphs, by torch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import torch
from torch import nn

from hashkit.errors import ModelError
from hashkit.exporters.trace_failures import why_not_traced

__all__ = ["traced"]


def traced(
    model: nn.Module, size: tuple[int, int], opset: int, outputs: Sequence[str]
) -> onnx.ModelProto:
    """The graph of a module that takes images, in evaluation mode, for any number of them.

    Parameters
    ----------
    model
        Takes ``image``, uint8 [n, height, width, 3].
    size
        (height, width), pixels.
    opset
        Operator set of the graph.
    outputs
        Names of the module's outputs.

    Raises
    ------
    ModelError
        If the module cannot be expressed in ONNX.
    """
    # A batch of 2: with 1, the exporter would treat the batch size as a constant.
    example = torch.zeros((2, *size, 3), dtype=torch.uint8)
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                model.eval(),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["image"],
                output_names=list(outputs),
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
