from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from looped import looped
from tiny_embedder import N_FEATURES, SIZE, tiny_embedder, tiny_features

from hashkit.codes import binarize
from hashkit.errors import ModelError, ParityError
from hashkit.exporters import feature_model
from hashkit.exporters.feature_model import export_features, feature_graph
from hashkit.features.head import Affine, Cosine, Head, Relu
from hashkit.manifest import Manifest
from hashkit.runtimes.encoder import Encoder

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
EMBEDDER = tiny_embedder()


def affine(n_in: int, n_out: int) -> Affine:
    weight = RNG.standard_normal((n_in, n_out)).astype(np.float32) / 4
    return Affine(weight, RNG.standard_normal(n_out).astype(np.float32))


def manifest(n_bits: int) -> Manifest:
    return Manifest(n_bits, SIZE, SIZE, "stretch-bilinear", network="onnx:tiny")


@looped("n_bits", [1, 7, 8, 13, 64])
def test_a_model_gives_the_codes_of_its_parts(n_bits: int, tmp_path: Path) -> None:
    heads = (
        (affine(N_FEATURES, n_bits),),
        (affine(N_FEATURES, 9), Relu(), affine(9, n_bits)),
        (affine(N_FEATURES, n_bits), Cosine()),
    )
    for layers in heads:
        head = Head(layers)
        report = export_features(
            EMBEDDER, head, manifest(n_bits), tmp_path / "m.onnx", images=IMAGES
        )
        assert report.parity.passed
        encoder = Encoder.load(tmp_path / "m.onnx", device="cpu")
        codes, logits = encoder.run(IMAGES)
        expected = head(tiny_features(IMAGES))
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(codes, binarize(logits))
        assert encoder.manifest.network == "onnx:tiny"


def test_the_metadata_say_what_the_embedder_is(tmp_path: Path) -> None:
    head = Head((affine(N_FEATURES, 8),))
    export_features(EMBEDDER, head, manifest(8), tmp_path / "m.onnx", images=IMAGES)
    metadata = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(metadata["hashkit.embedder"]) == {"name": "tiny", **EMBEDDER.facts}


def test_the_same_parts_give_the_same_bytes() -> None:
    head = Head((affine(N_FEATURES, 8),))
    first, second = (feature_graph(EMBEDDER, head, manifest(8)) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    head = Head((affine(N_FEATURES + 1, 8),))
    with pytest.raises(ModelError, match="expected a head from 20 features to 8 bits, found one"):
        export_features(EMBEDDER, head, manifest(8), tmp_path / "m.onnx", images=IMAGES)
    with pytest.raises(ModelError, match="to 8 bits, found one from 20 to 9"):
        feature_graph(EMBEDDER, Head((affine(N_FEATURES, 9),)), manifest(8))


def test_a_model_that_differs_from_its_parts_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Head((affine(N_FEATURES, 8),))
    other = Head((dataclasses.replace(head.layers[0], bias=np.ones(8, np.float32)),))
    monkeypatch.setattr(
        feature_model, "feature_graph", lambda *_: feature_graph(EMBEDDER, other, manifest(8))
    )
    with pytest.raises(ParityError, match="was not written: its outputs differ"):
        export_features(EMBEDDER, head, manifest(8), tmp_path / "m.onnx", images=IMAGES)
    assert list(tmp_path.iterdir()) == []
