"""Statistics of normalisation layers, computed from training images with the weights as they are.

In training, a layer normalises a batch by the statistics of that batch. The running averages that
it keeps for later lag behind the weights: after a few steps they are mostly their initial values,
later those of earlier weights, and the errors of several layers multiply. The statistics are
therefore computed again before a model is scored or saved. Training never reads them, so they do
not change its course.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hashkit.training.model import HashModel

__all__ = ["LAYER_IMAGES", "refresh_layers", "refresh_standardisation"]

LAYER_IMAGES = 1024
"""Images from which the layers of the network take their statistics."""

_BATCH_SIZE = 128

Outputs = Callable[[NDArray[np.int64]], list[Tensor]]
"""What the heads compute from the images of rows, one tensor per head: float [n, n_bits] each."""


@torch.inference_mode()
def refresh_layers(model: HashModel, outputs_of: Outputs, rows: NDArray[np.int64]) -> None:
    """Set the running statistics of the network's and the heads' layers to those of some images.

    Layers of frozen stages keep theirs, and so do layers that the network keeps in evaluation mode
    while it trains, and layers that it does not use. Dropout is off. The model is left in
    evaluation mode.

    Parameters
    ----------
    model
        Gets the statistics.
    outputs_of
        Runs the model on rows.
    rows
        int64 [n], n > 1: the rows of the images.
    """
    model.train()
    kept = {id(layer) for layer in model.standardise}
    layers = [layer for layer in model.modules() if id(layer) not in kept and _averages(layer)]
    model.eval()
    if not layers:
        return
    before = [(layer.momentum, _copy(layer)) for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches, each with the same weight
            layer.training = True
        for part in _batches(rows):
            outputs_of(part)
    finally:
        for layer, (momentum, state) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.training = False
            if layer.num_batches_tracked is not None and not int(layer.num_batches_tracked):
                layer.load_state_dict(state)


@torch.inference_mode()
def refresh_standardisation(
    model: HashModel, outputs_of: Outputs, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Give standardised logits mean 0 and variance 1 over some images, in evaluation mode.

    Parameters
    ----------
    model
        In evaluation mode; its layers have their statistics already.
    outputs_of
        Runs the model on rows, up to its last step.
    rows
        int64 [n], n > 1: the rows of the images.

    Returns
    -------
    NDArray
        float32 [n, n_bits], the logits of these images.
    """
    outputs = [outputs_of(part) for part in _in_order(rows)]
    heads = [torch.cat(values).float() for values in zip(*outputs, strict=True)]
    for head, layer in zip(heads, model.standardise, strict=True):
        if not isinstance(layer, nn.BatchNorm1d):
            continue
        assert layer.running_mean is not None  # noqa: S101 - these layers track statistics
        assert layer.running_var is not None  # noqa: S101
        values = head.double()
        layer.running_mean.copy_(values.mean(0))
        # The layer adds eps to the variance, which would shrink logits that are small before it.
        layer.running_var.copy_((values.var(0, correction=0) - layer.eps).clamp(min=0))
    logits: NDArray[np.float32] = model.standardised(heads).cpu().numpy()
    return logits


def _copy(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.state_dict().items()}


def _averages(module: nn.Module) -> TypeGuard[_NormBase]:
    """Whether a layer updates running averages while it trains."""
    return (
        isinstance(module, _NormBase)
        and module.training
        and module.track_running_stats
        and module.running_mean is not None
    )


def _batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows in batches of about the same size, mixed: images of a class often lie together."""
    mixed = np.random.default_rng(0).permutation(rows)
    yield from np.array_split(mixed, -(-len(rows) // _BATCH_SIZE))


def _in_order(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), _BATCH_SIZE):
        yield rows[start : start + _BATCH_SIZE]
