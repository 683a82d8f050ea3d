from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from precision_samples import (
    CHANNELS,
    LAYERS,
    constants,
    images,
    run,
    stack_model,
    weights,
    with_outliers,
)
from small_models import linear_model

from hashkit.codes import binarize
from hashkit.errors import ConfigError, ModelError
from hashkit.exporters.int8 import to_int8

ALL = 1e6
"""A limit that nothing exceeds."""


@pytest.fixture(scope="module")
def source() -> onnx.ModelProto:
    return stack_model()


def relative_error(model: onnx.ModelProto, source: onnx.ModelProto) -> float:
    pixels = images(40)
    expected = run(source, pixels)[1]
    return float(np.sqrt(((run(model, pixels)[1] - expected) ** 2).mean() / (expected**2).mean()))


def test_inner_convolutions_are_int8_per_channel_and_outer_layers_are_float(
    source: onnx.ModelProto, capfd: pytest.CaptureFixture[str]
) -> None:
    before = source.SerializeToString()
    found = to_int8(source, images(40), flipped_per_million=ALL)
    assert source.SerializeToString() == before
    assert capfd.readouterr() == ("", "")

    assert found.quantised == tuple(LAYERS[1:])
    assert found.kept == (LAYERS[0],)
    onnx.checker.check_model(found.model, full_check=True)
    makers = {name: node for node in found.model.graph.node for name in node.output}
    nodes = {node.name: node for node in found.model.graph.node}
    values = constants(found.model)
    for name in LAYERS[1:]:
        data, weight = (makers[nodes[name].input[place]] for place in (0, 1))
        assert data.op_type == weight.op_type == "DequantizeLinear"
        quantised, scale, zero = (values[one] for one in weight.input)
        assert quantised.dtype == np.int8
        assert scale.shape == (CHANNELS,), "expected one scale per channel"
        assert not zero.any(), "weights are symmetric"
        assert values[data.input[2]].dtype == np.int8, "activations must be signed"
        np.testing.assert_allclose(
            quantised * scale.reshape(-1, 1, 1, 1),
            constants(source)[f"{name}.weight"],
            atol=float(scale.max()) * 0.51,
        )
    assert values[nodes[LAYERS[0]].input[1]].dtype == np.float32
    assert values[nodes["head"].input[1]].dtype == np.float32
    assert makers[nodes[LAYERS[0]].input[0]].op_type == "Div", "pixels are not quantised"


def test_outputs_are_close_to_the_source(source: onnx.ModelProto) -> None:
    model = to_int8(source, images(40), flipped_per_million=ALL).model
    assert 1e-4 < relative_error(model, source) < 0.1
    codes, logits = run(model, images(7))
    np.testing.assert_array_equal(codes, binarize(logits))


def test_the_same_images_give_the_same_file(source: onnx.ModelProto) -> None:
    once, again = (
        to_int8(source, images(10), flipped_per_million=ALL).model.SerializeToString()
        for _ in range(2)
    )
    assert once == again


@pytest.mark.end_to_end
def test_only_the_layers_with_the_largest_errors_stay_float() -> None:
    values = with_outliers(weights())
    source = stack_model(values)
    pixels = images(160)
    steps: list[str] = []
    everything = to_int8(source, pixels, flipped_per_million=ALL)
    limit = 20_000

    found = to_int8(source, pixels, flipped_per_million=limit, progress=steps.append)

    assert set(found.quantised) == {"conv3", "conv4"}
    assert found.kept == ("conv0", "conv1", "conv2")
    assert relative_error(found.model, source) < 0.1 * relative_error(everything.model, source)
    flipped = (run(found.model, pixels[1::2])[1] > 0) != (run(source, pixels[1::2])[1] > 0)
    assert 1e6 * flipped.mean() <= limit
    assert steps[0] == "calibrating on 80 images"
    assert any("alone" in line for line in steps)


def test_all_layers_are_quantised_if_no_choice_meets_the_limit(source: onnx.ModelProto) -> None:
    found = to_int8(source, images(40), flipped_per_million=-1)
    assert found.quantised == tuple(LAYERS[1:])


def test_ranges_come_from_every_other_image(source: onnx.ModelProto) -> None:
    """The other images are used to count flipped bits and must not affect the ranges."""
    pixels = images(20)
    other = pixels.copy()
    other[1::2] = 255
    models = [
        to_int8(source, one, flipped_per_million=ALL).model.SerializeToString()
        for one in (pixels, other, pixels[::-1])
    ]
    assert models[0] == models[1] != models[2]


def test_error_for_nothing_to_quantise_is_one_line(tmp_path: Path, source: onnx.ModelProto) -> None:
    linear = onnx.load(linear_model(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="nothing to quantise") as caught:
        to_int8(linear, np.zeros((4, 4, 5, 3), np.uint8), flipped_per_million=ALL)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="at least two calibration images, found 1"):
        to_int8(source, images(1), flipped_per_million=ALL)


def test_unnamed_nodes_are_quantised(source: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    for node in model.graph.node:
        node.name = ""
    found = to_int8(model, images(10), flipped_per_million=ALL)
    assert len(found.quantised) == len(LAYERS) - 1
    types = {one.data_type for one in found.model.graph.initializer}
    assert TensorProto.INT8 in types
