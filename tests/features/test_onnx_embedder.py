from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign_graphs import FILTERS, foreign_graph, node, patches, pooled_network, saved
from onnx import TensorProto, helper, numpy_helper

from hashkit.errors import ConfigError, ModelError
from hashkit.features.onnx_embedder import wrap_onnx
from hashkit.features.trial import pictures
from hashkit.runs.embedder_settings import EmbedderSettings

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
IMAGENET = EmbedderSettings(preprocessing="imagenet")
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


def refused(error, model, folder, settings=IMAGENET, size=None):
    """The one line of the error that a model gives."""
    path = model if isinstance(model, type(folder)) else saved(model, folder)
    with pytest.raises(error) as caught:
        wrap_onnx(path, settings, size)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(folder)) or error is ConfigError or "preprocessor_config" in text
    return text.replace(str(folder), "FOLDER")


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


def token_network(batch="N"):
    """Patches as tokens [N, 17, 5] behind a class token, as a vision transformer has them."""
    nodes = [
        node("Conv", ["image", "weights"], ["maps"], strides=[4, 4]),
        node("Relu", ["maps"], ["active"]),
        node("Reshape", ["active", "shape"], ["rows"]),
        node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
    ]
    weights = {"weights": FILTERS, "class": np.full((1, 1, 5), 0.5, np.float32)}
    if batch == "N":
        weights["shape"] = np.array([0, 5, 16])
        nodes += [
            node("ReduceMean", ["patches"], ["token"], axes=[1], keepdims=1),
            node("Add", ["token", "class"], ["first"]),
        ]
    else:
        weights["shape"] = np.array([batch, 5, -1])
        nodes.append(node("Identity", ["class"], ["first"]))
    nodes.append(node("Concat", ["first", "patches"], ["tokens"], axis=1))
    return foreign_graph(
        nodes,
        weights,
        {"image": (FLOAT, [batch, 3, 16, 16])},
        {"tokens": (FLOAT, [batch, 17, 5])},
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


def two_towers():
    """Images and text to one output each, as CLIP is exported."""
    model = pooled_network()
    model.graph.input.append(helper.make_tensor_value_info("input_ids", INT64, ["N", 7]))
    model.graph.node.extend(
        [
            node("Cast", ["input_ids"], ["floats"], to=FLOAT),
            node("MatMul", ["floats", "words"], ["text"]),
            node("MatMul", ["text", "feature"], ["both"]),
        ]
    )
    words = np.ones((7, 5), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(words, "words"))
    model.graph.output.append(helper.make_tensor_value_info("text", FLOAT, ["N", 5]))
    return model


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


@pytest.mark.parametrize(
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
    """As exporters write it that saw two images, and took their number for a constant."""
    model = pooled_network()
    model.graph.node[3].CopyFrom(node("Reshape", ["means", "two"], ["feature"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 5]), "two"))
    text = refused(ModelError, model, tmp_path)
    assert "found one whose shapes hold a fixed number (it fails on 1 of them)" in text
    assert "torch.onnx.export(" in text


# What nearly fits


def with_input(kind, shape):
    model = pooled_network()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))
    return model


@pytest.mark.parametrize(
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
def test_an_input_that_takes_no_pictures(tmp_path, kind, shape, words):
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
    assert "such as feature" in text
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
    assert f"for `pooling={pooling!r}`" in text
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
    assert "found no preprocessor_config.json beside the ONNX file" in text
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


def test_operators_that_nobody_knows(tmp_path):
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


@pytest.mark.parametrize(
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
def test_files_that_are_no_model(tmp_path, data, words):
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
