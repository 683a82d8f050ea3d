from __future__ import annotations

import builtins
import hashlib
import itertools
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from looped import looped
from sklearn.datasets import load_sample_images

from hashkit.errors import ConfigError, MissingExtraError
from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite
from hashkit.features.lite.graph import _same_padding
from hashkit.preprocess import load
from hashkit.runtimes.lite_weights import LITE_VARIANTS, lite_weights

NAMES = [
    "efficientnet-lite0",
    pytest.param("efficientnet-lite1", marks=pytest.mark.end_to_end),
    pytest.param("efficientnet-lite2", marks=pytest.mark.end_to_end),
]
# Classes of ImageNet. The flower is a dahlia, which has none: EfficientNet-Lite2 finds its centre
# most like a honeycomb.
PALACE, DAISY, HONEYCOMB = 698, 985, 599

# The same on every machine; another version of onnx may write other bytes for the same graph.
SHA256_ONNX_1_23 = "ce401344678779600e81d3517ba27f6d36ca6fdcdc9ec6dc53c748036a329bf8"


def images(embedder):
    """A palace and a flower, prepared for an embedder: uint8 [2, H, W, 3]."""
    china, flower = load_sample_images().images
    return np.stack([load(image, embedder.size, embedder.resize) for image in (china, flower)])


def features_of(embedder, pixels):
    session = onnxruntime.InferenceSession(embedder.graph, providers=["CPUExecutionProvider"])
    (features,) = session.run(["feature"], {"image": pixels})
    return features


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_finds_a_palace_and_a_flower(name):
    embedder = build_efficientnet_lite(name)
    variant = LITE_VARIANTS[name]
    assert embedder.size == (variant.size, variant.size)
    features = features_of(embedder, images(embedder))
    assert (features.dtype, features.shape) == (np.float32, (2, embedder.n_features))
    weights = lite_weights(variant, "lite")
    classes = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    palace, flower = classes.argsort(axis=1)[:, ::-1]
    assert palace[0] == PALACE
    assert flower[0] == (HONEYCOMB if name == "efficientnet-lite2" else DAISY)


def test_the_graph_has_the_form_of_an_embedder():
    embedder = build_efficientnet_lite("efficientnet-lite0", (40, 56))
    model = onnx.load_from_string(embedder.graph)
    onnx.checker.check_model(model, full_check=True)
    (image,), (feature,) = model.graph.input, model.graph.output
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == [
        "N",
        40,
        56,
        3,
    ]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert (image.name, feature.name) == ("image", "feature")
    assert [d.dim_param or d.dim_value for d in feature.type.tensor_type.shape.dim] == ["N", 1280]
    assert {node.op_type for node in model.graph.node} == {
        "Add", "Cast", "Clip", "Conv", "Flatten", "GlobalAveragePool", "Sub", "Transpose",
    }  # fmt: skip
    pixels = images(embedder)
    alone = np.concatenate([features_of(embedder, one[None]) for one in pixels])
    np.testing.assert_allclose(features_of(embedder, pixels), alone, rtol=0, atol=1e-4)


def test_the_same_network_has_the_same_bytes():
    first, again = (build_efficientnet_lite("efficientnet-lite0") for _ in range(2))
    assert first.graph == again.graph
    assert first.sha256 == hashlib.sha256(first.graph).hexdigest()
    if onnx.__version__.startswith("1.23."):
        assert first.sha256 == SHA256_ONNX_1_23


def test_facts_have_origin_and_licence_as_json():
    embedder = build_efficientnet_lite("efficientnet-lite0", (32, 32))
    facts = json.loads(json.dumps(embedder.facts))
    assert facts == embedder.facts
    assert facts["source_sha256"] == LITE_VARIANTS["efficientnet-lite0"].sha256
    assert facts["licence"] == "Apache-2.0"
    assert "ImageNet" in facts["origin"]
    assert (facts["pixel_mean"], facts["pixel_std"]) == ([127.0] * 3, [128.0] * 3)


def test_padding_is_that_of_tensorflow():
    """Each output is centred as TensorFlow centres it, and no other padding gives their number."""
    for height, width, kernel, stride in itertools.product(
        range(1, 34), range(30, 34), (1, 3, 5), (1, 2)
    ):
        pads, size = _same_padding((height, width), [kernel, kernel], stride)
        assert size == (-(-height // stride), -(-width // stride))
        for n, n_out, before, after in zip((height, width), size, pads[:2], pads[2:], strict=True):
            assert 0 <= after - before <= 1
            reach = (n_out - 1) * stride + kernel
            assert before + n + after == max(reach, n)


@looped("size", [(7, 64), (64, 4097), (0, 0), (64.5, 64)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ConfigError, match=r"^`size` must be (between 8 and 4096|a whole)"):
        build_efficientnet_lite("efficientnet-lite0", size)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="known: efficientnet-lite0, efficientnet-lite1, "):
        build_efficientnet_lite("efficientnet-lite3")


def test_without_onnx_a_one_line_error_has_the_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "hashkit.features.lite.graph", raising=False)
    real_import = builtins.__import__

    def without_onnx(module, *rest, **options):
        if module.split(".")[0] == "onnx":
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real_import(module, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    message = (
        r"^the embedder efficientnet-lite0 needs onnx, which is not installed: pip install '\."
    )
    with pytest.raises(MissingExtraError, match=message + r"\[lite\]' \(in a clone of hashkit\)$"):
        build_efficientnet_lite("efficientnet-lite0")


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "size"), [(name, (65, 80)) for name in LITE_VARIANTS] + [("efficientnet-lite0", None)]
)
def test_features_are_those_of_the_network_in_torch(name, size):
    import torch

    from hashkit.training.networks import build_network

    embedder = build_efficientnet_lite(name, size)
    pixels = images(embedder)
    network = build_network(name, dropout=0.0, pretrained=True).eval().double()
    with torch.inference_mode():
        normalised = (torch.from_numpy(pixels).permute(0, 3, 1, 2).double() - 127) / 128
        expected = network(normalised).numpy()
    features = features_of(embedder, pixels)
    assert np.abs(features - expected).max() < 1e-5 * np.abs(expected).max()
