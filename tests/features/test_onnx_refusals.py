"""ONNX files that nearly fit as embedders, each with its error."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_graphs import (
    IMAGENET,
    foreign_graph,
    node,
    pooled_network,
    refused,
    saved,
    token_network,
    two_towers,
)
from looped import looped
from onnx import TensorProto, helper, numpy_helper

from hashkit.errors import ConfigError, ModelError
from hashkit.features.foreign.onnx_embedder import wrap_onnx
from hashkit.runs.embedder_settings import EmbedderSettings

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


# Inputs


def with_input(kind, shape):
    model = pooled_network()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))
    return model


@looped(
    ("kind", "shape", "words"),
    [
        (INT64, ["N", 3, 16, 16], "found image (int64 [N, 3, 16, 16])"),
        (TensorProto.UINT8, ["N", 3, 16, 16], "without its own normalisation"),
        (TensorProto.DOUBLE, ["N", 3, 16, 16], "float32 or float16"),
        (FLOAT, ["N", 3, 16], "4 axes"),
        (FLOAT, ["N", 3, 16, 16, 16], "4 axes"),
        (FLOAT, ["N", 1, 16, 16], "3 channels"),
        (FLOAT, ["N", 4, "H", "W"], "3 channels"),
        (FLOAT, ["N", 16, 16, 4], "3 channels"),
    ],
)
def test_an_input_that_does_not_take_pictures(tmp_path, kind, shape, words):
    model = with_input(kind, shape)
    # The checker compares shapes; these networks would be valid with another convolution.
    model.graph.node[0].op_type = "Identity"
    del model.graph.node[0].attribute[:], model.graph.node[0].input[1:]
    text = refused(ModelError, model, tmp_path)
    assert words in text


def test_layouts_that_contradict_the_shape(tmp_path):
    settings = EmbedderSettings(preprocessing="imagenet", layout="nhwc")
    text = refused(ModelError, pooled_network(), tmp_path, settings)
    assert "expected RGB images [N, H, W, 3], found image (float [N, 3, 16, 16])" in text


def test_a_layout_that_cannot_be_told(tmp_path):
    nodes = [
        node("ReduceMean", ["image"], ["means"], axes=[2], keepdims=0),
        node("Flatten", ["means"], ["feature"]),
    ]
    shape = ["N", "a", "b", "c"]
    model = foreign_graph(nodes, {}, {"image": (FLOAT, shape)}, {"feature": (FLOAT, None)})
    text = refused(ModelError, model, tmp_path, size=(16, 16))
    assert "set `layout` to nchw or nhwc" in text


def test_two_inputs(tmp_path):
    model = two_towers()
    model.graph.output[0].CopyFrom(model.graph.output[1])
    del model.graph.output[1:]
    model.graph.output[0].name = "both"
    text = refused(ModelError, model, tmp_path)
    assert "found 2: image (float [N, 3, 16, 16]), input_ids (int64 [N, 7])" in text


def test_text_alone(tmp_path):
    settings = EmbedderSettings(preprocessing="imagenet", output="text")
    text = refused(ModelError, two_towers(), tmp_path, settings)
    assert "found input_ids (int64 [N, 7])" in text


def test_several_outputs_need_a_choice(tmp_path):
    text = refused(ConfigError, two_towers(), tmp_path)
    assert "found 2: feature (float [N, 5]), text (float [N, 5])" in text
    assert "`output`" in text


def test_an_output_that_is_not_there(tmp_path):
    settings = EmbedderSettings(preprocessing="imagenet", output="pooler_output")
    text = refused(ConfigError, pooled_network(), tmp_path, settings)
    assert "found no tensor pooler_output; its outputs are feature (float [N, 5])" in text


def test_probabilities_are_no_features(tmp_path):
    model = pooled_network()
    model.graph.node.append(node("Softmax", ["feature"], ["probabilities"]))
    model.graph.output[0].name = "probabilities"
    text = refused(ConfigError, model, tmp_path)
    assert "found probabilities" in text
    assert 'such as `output="feature"`' in text
    named = EmbedderSettings(preprocessing="imagenet", output="probabilities")
    assert wrap_onnx(saved(model, tmp_path), named, None).n_features == 5


def test_outputs_of_another_type_or_shape(tmp_path):
    model = pooled_network()
    model.graph.node.append(node("ArgMax", ["feature"], ["best"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("best", INT64, None))
    assert "found the output best of tensor(int64)" in refused(ModelError, model, tmp_path)
    model = pooled_network()
    model.graph.node.append(node("ReduceSum", ["feature", "axis"], ["total"], keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("total", FLOAT, None))
    assert "found the output total of [] per image" in refused(ModelError, model, tmp_path)


def test_tokens_need_a_choice(tmp_path):
    text = refused(ConfigError, token_network(), tmp_path)
    assert "found the output tokens of [17, 5] per image" in text
    assert '`pooling="class-token"`' in text
    assert '`pooling="mean"`' in text
    settings = EmbedderSettings(preprocessing="imagenet", pooling="none")
    assert "class-token" in refused(ConfigError, token_network(), tmp_path, settings)


@pytest.mark.parametrize("pooling", ["class-token", "mean"])
def test_pooling_of_vectors(tmp_path, pooling):
    settings = EmbedderSettings(preprocessing="imagenet", pooling=pooling)
    text = refused(ConfigError, pooled_network(), tmp_path, settings)
    assert f'for `pooling="{pooling}"`' in text
    assert "leave `pooling` out" in text


def test_sizes_that_are_missing_or_contradict_the_graph(tmp_path):
    own = EmbedderSettings(pixel_mean=(0, 0, 0), pixel_std=(255, 255, 255))
    text = refused(ConfigError, pooled_network(("N", 3, "H", "W")), tmp_path, own)
    assert "set `size`" in text
    text = refused(ConfigError, pooled_network(), tmp_path, size=(32, 16))
    assert "16 x 16 pixels, found 32 x 16" in text
    text = refused(ConfigError, pooled_network(("N", 3, 10**6, 16)), tmp_path)
    assert "`height` must be between 1 and 65536" in text


def test_a_size_that_the_network_does_not_take(tmp_path):
    text = refused(ModelError, pooled_network(("N", 3, "H", "W")), tmp_path, size=(2, 2))
    assert "an input [2, 2, 2, 3]" in text


def test_without_preprocessing(tmp_path):
    text = refused(ModelError, pooled_network(), tmp_path, EmbedderSettings())
    assert "found no preprocessor_config.json beside it" in text
    assert "imagenet, clip, siglip, dinov2" in text
    assert "`pixel_mean`" in text


# Features that cannot be used


def with_weights(model, change):
    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    change(values)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "weights"))
    return model


def test_collapsed_features(tmp_path):
    model = with_weights(pooled_network(), lambda values: values.fill(0))
    assert "found the same for 5 different ones" in refused(ModelError, model, tmp_path)


def test_features_that_are_not_finite(tmp_path):
    model = with_weights(pooled_network(), lambda values: values.put(0, np.nan))
    text = refused(ModelError, model, tmp_path)
    assert "found NaN or infinite ones (5 of 25 on pictures)" in text


def test_features_of_a_whole_batch(tmp_path):
    model = pooled_network()
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axis"))
    model.graph.node.extend(
        [
            node("ReduceMean", ["feature"], ["mean"], axes=[0], keepdims=1),
            node("Sub", ["feature", "mean"], ["centred"]),
            node("Add", ["centred", "feature"], ["result"]),
        ]
    )
    model.graph.output[0].name = "result"
    text = refused(ModelError, model, tmp_path)
    assert "features change by" in text
    assert "evaluation mode" in text


def test_random_features(tmp_path):
    model = pooled_network()
    model.graph.node.extend(
        [
            node("RandomNormalLike", ["feature"], ["noise"]),
            node("Add", ["feature", "noise"], ["result"]),
        ]
    )
    model.graph.output[0].name = "result"
    assert "RandomNormalLike" in refused(ModelError, model, tmp_path)


def test_operators_of_one_runtime_are_named(tmp_path):
    model = pooled_network()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Gelu", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    embedder = wrap_onnx(saved(model, tmp_path), IMAGENET, None)
    assert embedder.facts["other_operators"] == ["com.microsoft"]
    facts = wrap_onnx(saved(pooled_network(), tmp_path), IMAGENET, None).facts
    assert facts["other_operators"] == []


def test_unknown_operators(tmp_path):
    model = pooled_network()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Activate", "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    text = refused(ModelError, model, tmp_path)
    assert "ONNX Runtime" in text
    assert "Activate" in text


def test_early_operators(tmp_path):
    model = pooled_network()
    model.opset_import[0].version = 7
    assert "opset 9 or newer, found 7" in refused(ModelError, model, tmp_path)


# Files


@looped(
    ("data", "words"),
    [
        (b"", "found other data"),
        (b"\x89PNG\r\n\x1a\n", "found other data"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (pooled_network().SerializeToString()[:-30], "cut off"),
        (pooled_network().SerializeToString()[:100], "cut off"),
        (pooled_network().SerializeToString().replace(b"feature", b"featur\xff"), "other data"),
    ],
    ids=["empty", "a picture", "a pointer", "cut at the end", "cut early", "not UTF-8"],
)
def test_files_that_are_not_models(tmp_path, data, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert words in refused(ModelError, path, tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    assert "no such file" in refused(ModelError, tmp_path / "none.onnx", tmp_path)
    assert "found a folder" in refused(ModelError, tmp_path, tmp_path)


def test_a_graph_that_is_not_valid(tmp_path):
    model = pooled_network()
    model.graph.node[1].input[0] = "nowhere"
    text = refused(ModelError, model, tmp_path)
    assert "expected a valid ONNX model" in text
