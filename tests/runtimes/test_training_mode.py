"""A model exported in training mode is refused: its codes depend on chance or on the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from linear_models import linear_model
from looped import looped
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from hashkit.errors import ModelError
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.onnx_file import read_onnx_file

Change = Callable[[ModelProto], None]


def constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.array(value), name)


def packed(name: str, *, value: bool) -> TensorProto:
    """A bool as onnx.helper writes it: as an integer, not as raw bytes."""
    return helper.make_tensor(name, TensorProto.BOOL, [], [value])


def node(operator: str, inputs: list[str], n_outputs: int = 1, **attributes: object) -> NodeProto:
    outputs = [f"out{at}" for at in range(n_outputs)]
    return helper.make_node(operator, inputs, outputs, name="the_node", **attributes)


def with_nodes(*nodes: NodeProto, tensors: tuple[TensorProto, ...] = (), opset: int = 17) -> Change:
    def change(model: ModelProto) -> None:
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(tensors)
        model.opset_import[0].version = opset

    return change


def dropout(*tensors: TensorProto, ratio: str = "", mode: str = "mode") -> Change:
    return with_nodes(node("Dropout", ["pixels", ratio, mode]), tensors=tensors)


def in_function(model: ModelProto) -> None:
    """The mode is a parameter of the function, and a constant of that name means something else."""
    opsets = [helper.make_opsetid("", 17)]
    body = [node("Dropout", ["x", "", "mode"])]
    model.functions.append(
        helper.make_function("own", "drop", ["x", "mode"], ["out0"], body, opsets)
    )
    model.graph.initializer.append(constant("mode", False))


def in_subgraph(model: ModelProto) -> None:
    drop = node("Dropout", ["pixels", "", "mode"])
    inner = helper.make_graph([drop], "inner", [], [], [constant("mode", True)])
    model.graph.node.append(node("If", ["condition"], then_branch=inner, else_branch=inner))


def mode_as_input(model: ModelProto) -> None:
    dropout()(model)
    model.graph.input.append(helper.make_tensor_value_info("mode", TensorProto.BOOL, []))


def constant_node(value: bool) -> NodeProto:
    return helper.make_node("Constant", [], ["mode"], value=constant("", value))


BATCH_NORM = ["pixels", "scale", "bias", "mean", "variance"]

TRAINING: dict[str, Change] = {
    "constant": dropout(constant("mode", True)),
    "constant, packed": dropout(packed("mode", value=True)),
    "constant node": with_nodes(constant_node(True), node("Dropout", ["pixels", "", "mode"])),
    "with a ratio": dropout(constant("mode", True), constant("r", np.float32(0.5)), ratio="r"),
    "ratio is computed": dropout(constant("mode", True), ratio="flat"),
    "mode is computed": with_nodes(
        helper.make_node("Not", ["other"], ["mode"]),
        node("Dropout", ["pixels", "", "mode"]),
        tensors=(constant("other", True),),
    ),
    "mode is an input": mode_as_input,
    "constant of another scope": in_function,
    "subgraph": in_subgraph,
    "opset 6": with_nodes(node("Dropout", ["pixels"], is_test=0), opset=6),
    "opset 6, by default": with_nodes(node("Dropout", ["pixels"]), opset=6),
    "fused": with_nodes(
        node("BiasDropout", ["pixels", "b", "", "", "mode"], domain="com.microsoft"),
        tensors=(constant("mode", True),),
    ),
}

BY_BATCH: dict[str, Change] = {
    "attribute": with_nodes(node("BatchNormalization", BATCH_NORM, 3, training_mode=1)),
    "outputs": with_nodes(node("BatchNormalization", BATCH_NORM, 5), opset=9),
    "opset 6": with_nodes(node("BatchNormalization", BATCH_NORM), opset=6),
    "axes by default": with_nodes(node("MeanVarianceNormalization", ["pixels"])),
    "axes": with_nodes(node("MeanVarianceNormalization", ["pixels"], axes=[0, 1])),
}

EVALUATION: dict[str, Change] = {
    "no mode": with_nodes(node("Dropout", ["pixels"])),
    "ratio alone": with_nodes(
        node("Dropout", ["pixels", "r"]), tensors=(constant("r", np.float32(0.5)),)
    ),
    "constant": dropout(constant("mode", False)),
    "constant, packed": dropout(packed("mode", value=False)),
    "constant node": with_nodes(constant_node(False), node("Dropout", ["pixels", "", "mode"])),
    "drops nothing": dropout(constant("mode", True), constant("r", np.float32(0)), ratio="r"),
    "opset 6": with_nodes(
        node("Dropout", ["pixels"], is_test=1),
        node("BatchNormalization", BATCH_NORM, is_test=1),
        opset=6,
    ),
    "opset 9": with_nodes(
        node("Dropout", ["pixels"], 2, ratio=0.5), node("BatchNormalization", BATCH_NORM), opset=9
    ),
    "batch norm": with_nodes(node("BatchNormalization", BATCH_NORM, training_mode=0)),
    "within an image": with_nodes(node("MeanVarianceNormalization", ["pixels"], axes=[2, 3])),
}


def changed(path: Path, change: Change) -> Path:
    model = onnx.load(linear_model(path))
    change(model)
    onnx.save(model, path)
    return path


@looped("case", TRAINING)
def test_dropout_in_training_mode_is_refused(case: str, tmp_path: Path) -> None:
    expected = r"Dropout \(the_node\), which draws random numbers: export .* in evaluation mode$"
    with pytest.raises(ModelError, match=expected):
        read_onnx_file(changed(tmp_path / "m.onnx", TRAINING[case]))


@looped("case", BY_BATCH)
def test_a_normalisation_over_the_batch_is_refused(case: str, tmp_path: Path) -> None:
    expected = r"Normalization \(the_node\), which normalises an image by the others of its batch"
    with pytest.raises(ModelError, match=expected):
        read_onnx_file(changed(tmp_path / "m.onnx", BY_BATCH[case]))


@looped("case", EVALUATION)
def test_evaluation_mode_is_accepted(case: str, tmp_path: Path) -> None:
    read_onnx_file(changed(tmp_path / "m.onnx", EVALUATION[case]))


def test_a_repeated_operator_is_found(tmp_path: Path) -> None:
    """Libraries take the last value of a repeated field."""
    data = node("Relu", ["pixels"]).SerializeToString() + b"\x22\x07Dropout"
    assert NodeProto.FromString(data).op_type == "Dropout"
    path = linear_model(tmp_path / "m.onnx")
    drawn = b"\x22\x09Bernoulli"
    hidden = node("Relu", ["pixels"]).SerializeToString() + drawn
    field = bytes([0x0A, len(hidden)]) + hidden
    path.write_bytes(path.read_bytes() + bytes([0x3A, len(field)]) + field)
    with pytest.raises(ModelError, match="draws random numbers"):
        read_onnx_file(path)


def test_a_network_that_would_draw_is_refused_when_loaded(tmp_path: Path) -> None:
    """The model runs, and without the check would give an image another code each time."""
    path = linear_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    for each in model.graph.node:
        each.input[:] = ["dropped" if name == "flat" else name for name in each.input]
    at = next(i for i, each in enumerate(model.graph.node) if "flat" in each.output)
    drop = helper.make_node("Dropout", ["flat", "", "mode"], ["dropped"])
    model.graph.node.insert(at + 1, drop)
    model.graph.initializer.append(constant("mode", True))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    with pytest.raises(ModelError, match="Dropout, which draws random numbers"):
        Encoder.load(path, "cpu")
