"""Checks of a torch model before it is exported, which takes minutes for a large network."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.datasets.imageset import spread_rows
from hashkit.errors import ConfigError, ModelError
from hashkit.manifest import Manifest
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["check_source"]

_N_TRIED: Final = 16
"""Images on which the model is run; all of them are compared after the export."""

_MAX_BYTES: Final = 2**31 - 2**20
"""Size of weights that fit into one ONNX file, a message of protocol buffers, beside the graph."""

_N_NAMED: Final = 3


def check_source(model: nn.Module, manifest: Manifest, images: NDArray[np.uint8]) -> None:
    """Check that a model fits its manifest and gives finite logits.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    manifest
        Metadata of the model.
    images
        uint8 [m, H, W, 3], for the verification.

    Raises
    ------
    ConfigError
        If the images are not of the manifest's size.
    ModelError
        If weights or logits are NaN or infinite, the weights are too large for one file, or the
        model fails or gives other shapes.
    """
    shape = (manifest.height, manifest.width, 3)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ConfigError(
            f"images for verification must be uint8 [m, {manifest.height}, {manifest.width}, 3] "
            f"with m > 0, not {images.dtype} {list(images.shape)}"
        )
    _check_weights(model)
    tried = images[spread_rows(len(images), _N_TRIED)]
    _check_logits(_logits(model, tried), len(tried), manifest.n_bits)


def _check_weights(model: nn.Module) -> None:
    # A buffer may hold infinities that mean something, such as a mask.
    broken = [name for name, values in model.named_parameters() if not _is_finite(values)]
    broken += [name for name, values in model.named_buffers() if bool(values.isnan().any())]
    if broken:
        more = f" and {len(broken) - _N_NAMED} more" if len(broken) > _N_NAMED else ""
        raise ModelError(
            f"expected finite weights, found NaN or infinite values in "
            f"{', '.join(broken[:_N_NAMED])}{more}: export an earlier checkpoint, or train again "
            "with a lower learning rate"
        )
    n_bytes = sum(values.nbytes for values in (*model.parameters(), *model.buffers()))
    if n_bytes > _MAX_BYTES:
        raise ModelError(
            f"expected weights of at most {_MAX_BYTES:,} bytes, which one ONNX file can hold, "
            f"found {n_bytes:,}: use a smaller network"
        )


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _logits(model: nn.Module, images: NDArray[np.uint8]) -> object:
    try:
        with torch.inference_mode():
            return model(torch.from_numpy(np.ascontiguousarray(images)))
    except Exception as error:  # the network's own code may raise anything
        raise ModelError(
            f"the network must take images uint8 {list(images.shape)}; it failed: "
            f"{foreign_message(error)}"
        ) from error


def _check_logits(logits: object, n_images: int, n_bits: int) -> None:
    expected = [n_images, n_bits]
    found = type(logits).__name__
    if isinstance(logits, Tensor):
        found = f"{logits.dtype} {list(logits.shape)}"
    if (
        not isinstance(logits, Tensor)
        or list(logits.shape) != expected
        or logits.dtype != torch.float32
    ):
        raise ModelError(
            f"the manifest has {n_bits} bits, so {n_images} images must give logits "
            f"float32 {expected}, not {found}"
        )
    n_broken = sum(not _is_finite(of_image) for of_image in logits)
    if n_broken:
        raise ModelError(
            f"expected finite logits, found NaN or infinite ones for {n_broken} of {n_images} "
            "images: look for a division by 0, a logarithm or a power in the network"
        )
