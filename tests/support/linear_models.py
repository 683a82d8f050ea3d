"""A model with known outputs, made only with onnx, so that torch is not imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from packed_graph import BIT_VALUES, packed_graph


def linear_model(
    path: Path,
    *,
    n_bits: int = 12,
    height: int = 4,
    width: int = 5,
    seed: int = 0,
    metadata: dict[str, str] | None = None,
    bit_values: list[int] | None = None,
) -> Path:
    """Write a model that follows the contract, made only with onnx, as other programs would.

    Its logits are a linear function of the pixels minus 127.5, with random weights from ``seed``.
    """
    n_pixels = height * width * 3
    constants = {
        "flat_shape": np.array([-1, n_pixels], np.int64),
        "middle": np.float32(127.5),
        "weights": linear_weights(n_pixels, n_bits, seed),
    }
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat_shape"], ["flat"]),
        helper.make_node("Sub", ["flat", "middle"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["logit"]),
    ]
    size = (height, width)
    model = packed_graph("linear", nodes, constants, size, n_bits, bit_values or BIT_VALUES)
    if metadata:
        helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))
    return path


def linear_weights(n_pixels: int, n_bits: int, seed: int = 0) -> NDArray[np.float32]:
    """Weights of `linear_model`, float32 [n_pixels, n_bits]: multiples of 1/64, exact in sums."""
    values = np.random.default_rng(seed).integers(-64, 65, (n_pixels, n_bits))
    return (values / 64).astype(np.float32)
