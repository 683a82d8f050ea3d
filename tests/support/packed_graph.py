"""Small ONNX graphs that follow the model contract, built from the nodes for the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["BIT_VALUES", "packed_graph"]

BIT_VALUES = (128, 64, 32, 16, 8, 4, 2, 1)


def packed_graph(
    name: str,
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Any],
    size: tuple[int, int],
    n_bits: int,
    bit_values: Sequence[int] = BIT_VALUES,
) -> onnx.ModelProto:
    """A model with ``nodes`` from "pixels" [N, H, W, 3] to "logit" [N, n_bits], both float32.

    The cast of the uint8 "image", the threshold and the packing into "code" are added.
    """
    n_bytes = (n_bits + 7) // 8
    packing = {
        "zero": np.float32(0),
        "pads": np.array([0, 0, 0, n_bytes * 8 - n_bits], np.int64),
        "byte_shape": np.array([-1, n_bytes, 8], np.int64),
        "bit_values": np.array(bit_values, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            *nodes,
            helper.make_node("Greater", ["logit", "zero"], ["is_set"]),
            helper.make_node("Cast", ["is_set"], ["bits"], to=TensorProto.FLOAT),
            helper.make_node("Pad", ["bits", "pads"], ["padded"]),
            helper.make_node("Reshape", ["padded", "byte_shape"], ["bytes"]),
            helper.make_node("MatMul", ["bytes", "bit_values"], ["values"]),
            helper.make_node("Cast", ["values"], ["code"], to=TensorProto.UINT8),
        ],
        name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *size, 3])],
        [
            helper.make_tensor_value_info("code", TensorProto.UINT8, ["N", n_bytes]),
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", n_bits]),
        ],
        [
            numpy_helper.from_array(np.asarray(value), key)
            for key, value in {**constants, **packing}.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
