from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hashkit
from hashkit.errors import ConfigError, ModelError
from hashkit.exporters import torch_embedder
from hashkit.exporters.torch_embedder import embedder_of_network
from hashkit.features.embedder import Embedder
from hashkit.features.head_checkpoint import read_head
from hashkit.features.session import EmbedderSession
from hashkit.training.devices import seeded
from hashkit.training.networks import build_network

NAME = "timm:test_resnet"
SIZE = (40, 32)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)


def untrained(name: str, **_: object) -> torch.nn.Module:
    """A network with random weights, the same each time."""
    with seeded(3):
        return build_network(name, dropout=0.0, pretrained=False)


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_embedder, "build_network", untrained)


@pytest.mark.end_to_end
@pytest.mark.slow  # test_a_method_is_fitted_to_a_network_of_timm exports one too
def test_features_are_those_of_torch_and_the_file_is_the_same_each_time() -> None:
    embedder = embedder_of_network(NAME, SIZE)
    network = untrained(NAME).eval()
    mean = std = 127.5  # what timm has for this network
    pixels = torch.from_numpy(((IMAGES - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        expected = network(pixels).numpy()
    found = EmbedderSession(embedder, "cpu").run(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert embedder.n_features == expected.shape[1]
    assert (embedder.size, embedder.facts["source"]) == (SIZE, NAME)
    assert b"site-packages" not in embedder.graph
    assert embedder_of_network(NAME, SIZE).sha256 == embedder.sha256


@pytest.mark.end_to_end
def test_a_method_is_fitted_to_a_network_of_timm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for row in range(40):
        pixels = np.random.default_rng(row).integers(0, 5 * row + 20, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{row:02}.png")
    run = hashkit.train(
        "photos", name="a", network=NAME, loss="itq", bits=8, size=32,
        n_queries=4, device="cpu", should_stop=lambda: True,
    )  # fmt: skip
    assert "network onnx:timm:test_resnet: frozen, as an embedder in ONNX" in caplog.text
    assert not run.is_trained
    monkeypatch.setattr(torch_embedder, "embedder_of_network", None)  # the run has its own
    model = hashkit.export(hashkit.resume(run))
    trained = read_head(run.checkpoint_path())
    assert trained.manifest.network == "onnx:timm:test_resnet"
    codes = hashkit.Encoder.load(model, device="cpu").encode(sorted(Path("photos").iterdir()))
    assert len(np.unique(codes)) > 5


def test_a_graph_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))

    pictures = torch_embedder.pictures(SIZE)
    with torch.inference_mode():
        model = torch_embedder._Features(Linear(), (0.0,) * 3, (1.0,) * 3)
        expected = model(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(expected, pictures.mean(axis=(1, 2)), rtol=1e-4)
    monkeypatch.setattr(torch_embedder, "open_graph", lambda *_: None)
    monkeypatch.setattr(torch_embedder, "check_features", lambda *_: None)
    monkeypatch.setattr(torch_embedder, "run_graph", lambda *_: [expected + 0.2])
    embedder = Embedder(
        name=NAME, graph=b"", height=40, width=32, resize="crop-bilinear", n_features=3, facts={}
    )
    torch_embedder._compare(embedder, expected + 0.2)
    with pytest.raises(
        ModelError, match=r"timm:test_resnet: .* found features that differ by 0\.2"
    ):
        torch_embedder._compare(embedder, expected)


@pytest.mark.end_to_end  # timm takes seconds to import
def test_names_and_sizes_that_do_not_fit_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_embedder, "traced", None)
    with pytest.raises(ConfigError, match="timm has no model"):
        embedder_of_network("timm:resnet99999")
    with pytest.raises(ModelError, match=r"cannot take images of 3x3: choose another `size=...`"):
        torch_embedder._run(torch.nn.Conv2d(3, 4, 9), (3, 3), NAME)
