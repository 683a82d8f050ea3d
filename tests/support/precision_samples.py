"""A small convolutional model of the contract, made only with onnx, for tests of precisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from packed_graph import BIT_VALUES
from small_models import photographs

from hashkit.manifest import Manifest

N_BITS, SIDE, CHANNELS = 24, 16, 8
MANIFEST = Manifest(N_BITS, SIDE, SIDE, network="stack", class_names=("temple", "flower"), seed=3)
LAYERS = [f"conv{number}" for number in range(5)]


def images(n_images: int) -> NDArray[np.uint8]:
    """Crops of photographs at the model's size: temples in even rows, flowers in odd rows."""
    return photographs(n_images, SIDE, SIDE)


def weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights of `stack_model` by name."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, name in enumerate(LAYERS):
        n_inputs = CHANNELS if number else 3
        values = rng.normal(0, (2 / (9 * n_inputs)) ** 0.5, (CHANNELS, n_inputs, 3, 3))
        found[f"{name}.weight"] = values
        found[f"{name}.bias"] = rng.normal(0, 0.1, CHANNELS)
    found["head.weight"] = rng.normal(0, 1, (CHANNELS * 16, N_BITS))
    found["head.bias"] = np.zeros(N_BITS)
    return {name: values.astype(np.float32) for name, values in found.items()}


def with_outliers(values: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The same function, but one channel of conv1 has a 300 times larger range, undone in conv2.

    In 8 bits, a common range for all channels leaves almost no precision for the others.
    """
    changed = {name: array.copy() for name, array in values.items()}
    changed["conv1.weight"][0] *= 300
    changed["conv1.bias"][0] *= 300
    changed["conv2.weight"][:, 0] /= 300
    return changed


def stack_model(values: dict[str, NDArray[np.float32]] | None = None) -> onnx.ModelProto:
    """Five 3x3 convolutions with ReLU, two max pools and a linear head; mean logits are 0."""
    values = dict(weights() if values is None else values)
    values["head.bias"] = values["head.bias"] - run(_build(values), images(64))[1].mean(axis=0)
    return _build(values)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model file."""
    onnx.save_model(model, str(path))
    return path


def run(
    model: onnx.ModelProto, pixels: NDArray[np.uint8], outputs: tuple[str, ...] = ("code", "logit")
) -> list[NDArray]:
    """Outputs of a model, computed with ONNX Runtime directly, without hashkit."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(outputs), {"image": pixels})


def constants(model: onnx.ModelProto) -> dict[str, NDArray]:
    """Initializers of a model by name."""
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, from shape inference."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _build(values: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    fixed = {
        "mean": np.full((3, 1, 1), 117.3, np.float32),
        "std": np.full((3, 1, 1), 61.7, np.float32),
        "zero": np.float32(0),
        "byte_shape": np.array([-1, N_BITS // 8, 8], np.int64),
        "bit_values": np.array(BIT_VALUES, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normal"]),
    ]
    last = "normal"
    for number, name in enumerate(LAYERS):
        inputs = [last, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [name], name=name, pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        last = f"{name}.relu"
        if number in (1, 3):
            shape = {"kernel_shape": [2, 2], "strides": [2, 2]}
            nodes.append(helper.make_node("MaxPool", [last], [f"{name}.pool"], **shape))
            last = f"{name}.pool"
    nodes += [
        helper.make_node("Flatten", [last], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logit"], name="head"),
        helper.make_node("Greater", ["logit", "zero"], ["is_set"]),
        helper.make_node("Cast", ["is_set"], ["bits"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["bits", "byte_shape"], ["bytes"]),
        helper.make_node("MatMul", ["bytes", "bit_values"], ["values"]),
        helper.make_node("Cast", ["values"], ["code"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("code", TensorProto.UINT8, ["N", N_BITS // 8]),
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", N_BITS]),
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in (values | fixed).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, MANIFEST.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    return model
