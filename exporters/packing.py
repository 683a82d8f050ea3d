"""The nodes at the end of a graph that turn logits into packed codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hashkit.codes import code_size

__all__ = ["contract_outputs", "packing_constants", "packing_nodes"]

_BIT_VALUES: Final = (128, 64, 32, 16, 8, 4, 2, 1)


def packing_nodes() -> Sequence[onnx.NodeProto]:
    """Nodes from ``logit``, float32 [N, n_bits], to ``code``, for opset 13 or later.

    A product with 128 .. 1 is exact in every float format, and CUDA has no BitShift.
    """
    return (
        helper.make_node("Greater", ["logit", "code_zero"], ["code_is_set"]),
        helper.make_node("Cast", ["code_is_set"], ["code_bits"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["code_bits", "code_pads"], ["code_padded"]),
        helper.make_node("Reshape", ["code_padded", "code_shape"], ["code_bytes"]),
        helper.make_node("MatMul", ["code_bytes", "code_bit_values"], ["code_values"]),
        helper.make_node("Cast", ["code_values"], ["code"], to=TensorProto.UINT8),
    )


def packing_constants(n_bits: int) -> Mapping[str, NDArray[Any]]:
    """The constants that `packing_nodes` names."""
    n_bytes = code_size(n_bits)
    return {
        "code_zero": np.array(0, np.float32),
        "code_pads": np.array([0, 0, 0, n_bytes * 8 - n_bits], np.int64),
        "code_shape": np.array([-1, n_bytes, 8], np.int64),
        "code_bit_values": np.array(_BIT_VALUES, np.float32),
    }


def contract_outputs(n_bits: int) -> Sequence[onnx.ValueInfoProto]:
    """The outputs ``code`` and ``logit`` of the model contract."""
    return (
        helper.make_tensor_value_info("code", TensorProto.UINT8, ["N", code_size(n_bits)]),
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", n_bits]),
    )
