from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign_graphs import (
    FILTERS,
    IMAGENET,
    node,
    patches,
    pooled_network,
    refused,
    saved,
    token_network,
    two_towers,
)
from looped import looped
from onnx import TensorProto, helper, numpy_helper

from hashkit.errors import ModelError
from hashkit.features.foreign.onnx_embedder import wrap_onnx
from hashkit.features.foreign.trial import pictures
from hashkit.runs.embedder_settings import EmbedderSettings

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
IMAGES = pictures((16, 16))


def features(embedder, images=IMAGES):
    """Features of an embedder's graph by itself, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(embedder.graph, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    assert (value.name, value.type) == ("image", "tensor(uint8)")
    assert value.shape == ["N", embedder.height, embedder.width, 3]
    (value,) = session.get_outputs()
    assert (value.name, value.type) == ("feature", "tensor(float)")
    assert value.shape == ["N", embedder.n_features]
    (found,) = session.run(None, {"image": images})
    return found


# What fits


def test_the_features_are_those_of_normalised_pixels(tmp_path):
    embedder = wrap_onnx(saved(pooled_network(), tmp_path), IMAGENET, None)
    assert (embedder.name, embedder.height, embedder.width) == ("foreign.onnx", 16, 16)
    assert (embedder.resize, embedder.n_features) == ("crop-bilinear", 5)
    expected = patches(IMAGES).mean((2, 3))
    np.testing.assert_allclose(features(embedder), expected, rtol=1e-5, atol=1e-5)


def test_the_graph_is_valid_and_holds_nothing_else(tmp_path):
    model = pooled_network()
    model.graph.node[0].doc_string = 'File "/opt/somewhere/model.py", line 3'
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(9), "unused"))
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    graph = onnx.load_model_from_string(embedder.graph)
    onnx.checker.check_model(graph, full_check=True)
    assert (graph.producer_name, graph.doc_string, len(graph.metadata_props)) == ("hashkit", "", 0)
    assert not any(node.doc_string for node in graph.graph.node)
    assert [tensor.name for tensor in graph.graph.initializer] == ["embedder/weights"]


def test_the_same_file_gives_the_same_bytes(tmp_path):
    first = wrap_onnx(saved(pooled_network(), tmp_path), IMAGENET, None)
    second = wrap_onnx(saved(pooled_network(), tmp_path, "other.onnx"), IMAGENET, None)
    assert first.graph == second.graph


def test_facts_say_where_it_is_from_and_what_was_done(tmp_path):
    path = saved(pooled_network(), tmp_path)
    facts = wrap_onnx(path, IMAGENET, None).facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["source"] == "foreign.onnx"
    assert str(tmp_path) not in json.dumps(facts)
    assert (facts["layout"], facts["precision"], facts["pooling"]) == ("nchw", "fp32", "none")
    assert (facts["output"], facts["fixed_batch"], facts["producer"]) == ("feature", None, "else")
    assert facts["preprocessing"] == "preset imagenet"
    np.testing.assert_allclose(facts["pixel_mean"], [123.675, 116.28, 103.53])


def test_channels_last(tmp_path):
    model = pooled_network(("N", 16, 16, 3))
    planes = node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])
    model.graph.node.insert(0, planes)
    model.graph.node[1].input[0] = "planes"
    for settings in (IMAGENET, EmbedderSettings(preprocessing="imagenet", layout="nhwc")):
        embedder = wrap_onnx(saved(model, tmp_path), settings, None)
        assert embedder.facts["layout"] == "nhwc"
        expected = patches(IMAGES).mean((2, 3))
        np.testing.assert_allclose(features(embedder), expected, rtol=1e-5, atol=1e-5)


def test_float16(tmp_path):
    model = pooled_network(kind=HALF)
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    assert embedder.facts["precision"] == "fp16"
    expected = patches(IMAGES).mean((2, 3))
    np.testing.assert_allclose(features(embedder), expected, rtol=1e-2, atol=1e-2)


def test_sides_that_are_dynamic_come_from_the_preset_or_the_size(tmp_path):
    path = saved(pooled_network(("N", 3, "H", "W")), tmp_path)
    assert wrap_onnx(path, IMAGENET, None).height == 224
    embedder = wrap_onnx(path, IMAGENET, (12, 20))
    assert (embedder.height, embedder.width) == (12, 20)
    images = pictures((12, 20))
    expected = patches(images).mean((2, 3))
    np.testing.assert_allclose(features(embedder, images), expected, rtol=1e-5, atol=1e-5)


def test_a_layout_that_no_shape_shows_is_tried(tmp_path):
    path = saved(pooled_network(("N", "C", "H", "W")), tmp_path)
    assert wrap_onnx(path, IMAGENET, (16, 16)).facts["layout"] == "nchw"


def test_a_size_that_the_graph_has_may_be_given(tmp_path):
    assert wrap_onnx(saved(pooled_network(), tmp_path), IMAGENET, (16, 16)).size == (16, 16)


def test_feature_maps_are_averaged(tmp_path):
    model = pooled_network()
    del model.graph.node[2:]
    model.graph.output[0].name = "active"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    assert embedder.facts["pooling"] == "mean over positions [N, C, h, w]"
    np.testing.assert_allclose(
        features(embedder), patches(IMAGES).mean((2, 3)), rtol=1e-5, atol=1e-5
    )
    last = node("Transpose", ["active"], ["last"], perm=[0, 2, 3, 1])
    model.graph.node.append(last)
    model.graph.output[0].name = "last"
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    assert embedder.facts["pooling"] == "mean over positions [N, h, w, C]"
    np.testing.assert_allclose(
        features(embedder), patches(IMAGES).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


def expected_tokens(images=IMAGES):
    rows = patches(images).reshape(len(images), 5, 16).transpose(0, 2, 1)
    return np.concatenate([rows.mean(1, keepdims=True) + 0.5, rows], axis=1)


@pytest.mark.parametrize("pooling", ["class-token", "mean"])
def test_tokens_are_pooled_as_asked(tmp_path, pooling):
    settings = EmbedderSettings(preprocessing="imagenet", pooling=pooling)
    embedder = wrap_onnx(saved(token_network(), tmp_path), settings, None)
    tokens = expected_tokens()
    expected = tokens[:, 0] if pooling == "class-token" else tokens.mean(1)
    np.testing.assert_allclose(features(embedder), expected, rtol=1e-5, atol=1e-5)


def test_the_output_may_be_any_tensor(tmp_path):
    settings = EmbedderSettings(preprocessing="imagenet", output="active")
    embedder = wrap_onnx(saved(pooled_network(), tmp_path), settings, None)
    graph = onnx.load_model_from_string(embedder.graph).graph
    assert "embedder/means" not in {name for node in graph.node for name in node.output}
    np.testing.assert_allclose(
        features(embedder), patches(IMAGES).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


def test_the_image_part_of_a_model_of_images_and_text(tmp_path):
    settings = EmbedderSettings(preprocessing="imagenet", output="feature")
    embedder = wrap_onnx(saved(two_towers(), tmp_path), settings, None)
    graph = onnx.load_model_from_string(embedder.graph).graph
    assert [tensor.name for tensor in graph.initializer] == ["embedder/weights"]
    assert embedder.n_features == 5


def test_names_of_the_file_do_not_collide_with_ours(tmp_path):
    model = pooled_network()
    names = {"maps": "pixels/float", "active": "image", "means": "pooling/output", "image": "x"}
    for part in model.graph.node:
        part.input[:] = [names.get(name, name) for name in part.input]
        part.output[:] = [names.get(name, name) for name in part.output]
    model.graph.input[0].name = "x"
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    np.testing.assert_allclose(
        features(embedder), patches(IMAGES).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


def test_a_branch_keeps_what_it_takes_from_outside(tmp_path):
    """Nested graphs use tensors of the graph around them by name."""
    scaled = helper.make_graph(
        [node("Mul", ["feature", "factor"], ["twice"])],
        "then",
        [],
        [helper.make_tensor_value_info("twice", FLOAT, None)],
    )
    same = helper.make_graph(
        [node("Identity", ["feature"], ["once"])],
        "else",
        [],
        [helper.make_tensor_value_info("once", FLOAT, None)],
    )
    model = pooled_network()
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "factor"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "is_set"))
    branch = node("If", ["is_set"], ["result"], then_branch=scaled, else_branch=same)
    model.graph.node.append(branch)
    model.graph.output[0].name = "result"
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    np.testing.assert_allclose(
        features(embedder), 2 * patches(IMAGES).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


def test_weights_listed_as_inputs(tmp_path):
    """As exporters did before IR version 4."""
    model = pooled_network()
    model.ir_version = 3
    model.opset_import[0].version = 9
    weights = helper.make_tensor_value_info("weights", FLOAT, FILTERS.shape)
    model.graph.input.append(weights)
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    assert len(onnx.load_model_from_string(embedder.graph).graph.input) == 1


# A fixed number of images


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_made_dynamic(tmp_path, batch):
    embedder = wrap_onnx(saved(pooled_network((batch, 3, 16, 16)), tmp_path), IMAGENET, None)
    assert embedder.facts["fixed_batch"] == batch
    expected = patches(IMAGES).mean((2, 3))
    np.testing.assert_allclose(features(embedder), expected, rtol=1e-5, atol=1e-5)


def test_a_fixed_batch_of_tokens_is_made_dynamic(tmp_path):
    """The class token is a constant for one image, and the shape of Reshape begins with 1."""
    settings = EmbedderSettings(preprocessing="imagenet", pooling="mean")
    embedder = wrap_onnx(saved(token_network(1), tmp_path), settings, None)
    tokens = expected_tokens()
    tokens[:, 0] = 0.5
    np.testing.assert_allclose(features(embedder), tokens.mean(1), rtol=1e-5, atol=1e-5)


@looped(
    ("added", "reason"),
    [
        (node("Squeeze", ["means", "axis"], ["feature"]), "it fails on 2 images"),
        (node("Reshape", ["means", "flat"], ["feature"]), "10"),
        (node("ReduceSum", ["pooled", "axis"], ["feature"], keepdims=1), "[1, 5]"),
        (node("Add", ["pooled", "sum"], ["feature"]), "features change by"),
    ],
)
def test_a_batch_that_cannot_be_made_dynamic(tmp_path, added, reason):
    model = pooled_network((1, 3, 16, 16))
    constants = {"axis": np.array([0]), "flat": np.array([5])}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    del model.graph.node[3:]
    model.graph.node.extend(
        [
            node("Flatten", ["means"], ["pooled"]),
            node("ReduceSum", ["pooled", "axis"], ["sum"], keepdims=1),
            added,
        ]
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    text = refused(ModelError, model, tmp_path)
    assert "fixed batch of 1 that cannot be made dynamic" in text
    assert reason in text
    assert "torch.onnx.export(" in text


def test_a_fixed_batch_that_is_too_large_to_try(tmp_path):
    text = refused(ModelError, pooled_network((10**9, 3, 16, 16)), tmp_path)
    assert "its fixed batch has 256,000,000,000 pixels" in text
    assert "dynamic first axis" in text


def test_a_dynamic_batch_that_the_shapes_contradict(tmp_path):
    """As written by an exporter that saw two images and took their number for a constant."""
    model = pooled_network()
    model.graph.node[3].CopyFrom(node("Reshape", ["means", "two"], ["feature"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 5]), "two"))
    text = refused(ModelError, model, tmp_path)
    assert "found one whose shapes hold a fixed number (it fails on 1 of them)" in text
    assert "torch.onnx.export(" in text
