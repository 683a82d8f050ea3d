from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from precision_samples import (
    LAYERS,
    constants,
    element_types,
    images,
    run,
    stack_model,
    weights,
    with_outliers,
)
from small_models import linear_model, linear_weights

from hashkit.codes import binarize
from hashkit.errors import ModelError
from hashkit.exporters.fp16 import round_as_fp16, to_fp16


@pytest.fixture(scope="module")
def source() -> onnx.ModelProto:
    return stack_model()


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model, full_check=True)
    return model


def node_of(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if output in node.output)


def test_the_network_is_float16_and_the_rest_is_unchanged(source: onnx.ModelProto) -> None:
    before = source.SerializeToString()
    model = checked(to_fp16(source))
    assert source.SerializeToString() == before

    types, values = element_types(model), constants(model)
    for name in LAYERS:
        node = next(node for node in model.graph.node if node.name == name)
        assert types[node.input[0]] == types[node.output[0]] == TensorProto.FLOAT16
        assert values[node.input[1]].dtype == values[node.input[2]].dtype == np.float16
        expected = constants(source)[f"{name}.weight"].astype(np.float16)
        np.testing.assert_array_equal(values[node.input[1]], expected)
    for output in ("centred", "normal", "logit", "bits", "values"):
        assert types[output] == TensorProto.FLOAT, output
    assert node_of(model, "is_set").input[0] == "logit"
    assert node_of(model, "logit").op_type == "Cast"
    # Only nodes outside the network have float32 constants, and no constant exists twice.
    floats = {name for name, array in values.items() if array.dtype == np.float32}
    assert floats == {"mean", "std", "zero", "bit_values"}
    assert sum(node.op_type == "Cast" for node in model.graph.node) == 3 + 2


def test_outputs_differ_only_by_rounding(source: onnx.ModelProto) -> None:
    pixels = images(50)
    expected = run(source, pixels)[1]
    codes, logits = run(to_fp16(source), pixels)
    np.testing.assert_array_equal(codes, binarize(logits))
    assert logits.dtype == np.float32
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    assert 0 < difference < 2**-8


def test_the_stand_in_rounds_like_the_reference_implementation(source: onnx.ModelProto) -> None:
    """ONNX's reference implementation computes each operator of a float16 model in float16."""
    pixels = images(6)
    half = to_fp16(source)
    codes, logits = run(checked(round_as_fp16(half)), pixels)
    expected = ReferenceEvaluator(half).run(["logit"], {"image": pixels})[0]
    largest = np.abs(expected).max()
    assert np.abs(logits - expected).max() < 2**-8 * largest
    np.testing.assert_array_equal(codes, binarize(logits))
    np.testing.assert_array_equal(logits, logits.astype(np.float16))
    assert not np.array_equal(logits, run(half, pixels)[1]), "the CPU needs no stand-in"


def test_the_stand_in_overflows_like_float16() -> None:
    values = {name: array.copy() for name, array in weights().items()}
    values["conv1.weight"] *= 60_000
    values["conv2.weight"] /= 60_000
    half = to_fp16(stack_model(values))
    pixels = images(6)
    assert np.isfinite(run(half, pixels)[1]).all()
    assert not np.isfinite(run(round_as_fp16(half), pixels)[1]).all()


def test_a_linear_model_gives_the_rounded_product(tmp_path: Path) -> None:
    """Weights and centred pixels are exact in float16, so only the sums are rounded."""
    path = linear_model(tmp_path / "m.onnx", n_bits=12, height=4, width=5)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 5, 3)).astype(np.uint8)
    exact = (pixels.reshape(30, -1) - np.float32(127.5)) @ linear_weights(60, 12)
    _, logits = run(to_fp16(onnx.load(path)), pixels)
    np.testing.assert_allclose(logits, exact, rtol=2**-10, atol=0.5)


def test_outputs_and_inputs_that_must_be_float32_stay_float32(source: onnx.ModelProto) -> None:
    """An additional output inside the network, and the scales of a Resize, are float32 in ONNX."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    graph = model.graph
    at = next(i for i, node in enumerate(graph.node) if node.name == "conv2")
    scales = numpy_helper.from_array(np.ones(4, np.float32), "scales")
    resize = helper.make_node("Resize", ["conv1.pool", "", "scales"], ["same"], mode="nearest")
    graph.initializer.append(scales)
    graph.node.insert(at, resize)
    next(node for node in graph.node if node.name == "conv2").input[0] = "same"
    graph.output.append(helper.make_tensor_value_info("same", TensorProto.FLOAT, ["N", 8, 8, 8]))

    half = checked(to_fp16(model))

    assert constants(half)["scales"].dtype == np.float32
    types = element_types(half)
    assert types["same"] == TensorProto.FLOAT
    assert types[next(n for n in half.graph.node if n.name == "conv2").input[0]] == (
        TensorProto.FLOAT16
    )
    pixels = images(4)
    logits, same = run(half, pixels, ("logit", "same"))
    reference, reference_same = run(model, pixels, ("logit", "same"))
    np.testing.assert_allclose(logits, reference, atol=0.02 * np.abs(reference).max())
    np.testing.assert_allclose(same, reference_same, atol=0.01 * np.abs(reference_same).max())


def test_constant_nodes_are_converted_like_weights(source: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    weight = next(one for one in model.graph.initializer if one.name == "conv1.weight")
    node = helper.make_node("Constant", [], ["conv1.weight"], value=weight)
    model.graph.node.insert(0, node)
    model.graph.initializer.remove(weight)
    assert len(checked(to_fp16(model)).SerializeToString()) == pytest.approx(
        len(to_fp16(source).SerializeToString()), abs=100
    )


def test_weights_beyond_the_range_of_float16_are_refused() -> None:
    values = with_outliers(weights())
    values["conv1.weight"][0] *= 1e4
    with pytest.raises(ModelError, match=r"conv1.weight has values up to .*float16 ends at 65,504"):
        to_fp16(stack_model(values))


def test_control_flow_and_graphs_without_layers_are_refused(source: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["logit"], ["x"])],
        "branch",
        [],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
    )
    model = onnx.ModelProto()
    model.CopyFrom(source)
    condition = numpy_helper.from_array(np.array(True), "condition")
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    )
    with pytest.raises(ModelError, match=r"control flow \(operator If\)"):
        to_fp16(model)
    bare = onnx.ModelProto()
    bare.CopyFrom(source)
    next(node for node in bare.graph.node if node.name == "head").output[0] = "elsewhere"
    kept = [node for node in bare.graph.node if node.op_type not in ("Conv", "Relu", "MaxPool")]
    del bare.graph.node[:]
    bare.graph.node.extend(node for node in kept if node.op_type not in ("Flatten", "Gemm"))
    with pytest.raises(ModelError, match="no layer before its output logit"):
        to_fp16(bare)
