from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_embedder import N_FEATURES, SIZE, tiny_embedder, tiny_features

from hashkit.errors import HashkitError, ModelError
from hashkit.features.embedder import Embedder, read_embedder, write_embedder
from hashkit.features.session import EmbedderSession

EMBEDDER = tiny_embedder()
IMAGES = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_embedder(tmp_path / "e.onnx", EMBEDDER)
    return tmp_path / "e.onnx"


def why_refused(path: Path) -> str:
    try:
        read_embedder(path)
    except HashkitError as error:
        return str(error)
    return ""


def fields(embedder: Embedder) -> dict[str, object]:
    return {name: getattr(embedder, name) for name in embedder.__dataclass_fields__}


def test_an_embedder_comes_back_from_its_file(path: Path) -> None:
    assert fields(read_embedder(path)) == fields(EMBEDDER)
    assert read_embedder(path).sha256 == EMBEDDER.sha256


def test_its_file_is_an_onnx_model(path: Path) -> None:
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.key for entry in model.metadata_props] == ["hashkit.embedder"]


def test_features_are_those_of_its_graph() -> None:
    session = EmbedderSession(EMBEDDER, "cpu")
    np.testing.assert_allclose(session.run(IMAGES), tiny_features(IMAGES), rtol=1e-4, atol=1e-4)
    assert session.run(IMAGES[:0]).shape == (0, N_FEATURES)
    assert session.provider == "CPUExecutionProvider"


def test_a_graph_of_another_shape_is_an_error() -> None:
    import dataclasses

    session = EmbedderSession(dataclasses.replace(EMBEDDER, n_features=7), "cpu")
    with pytest.raises(ModelError, match=r"expected features float32 \[70, 7\], found .*\[70, 20"):
        session.run(IMAGES)
    with pytest.raises(ModelError, match="ONNX Runtime cannot run this embedder"):
        EmbedderSession(dataclasses.replace(EMBEDDER, graph=b"no graph"), "cpu")


def test_any_damage_is_a_one_line_error_or_harmless(path: Path) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(broken[: rng.integers(1, len(data) + 1)]))
        message = why_refused(path)
        assert "\n" not in message
        refused += bool(message)
    assert refused > 100


def test_files_and_models_that_are_not_embedders_are_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such embedder"):
        read_embedder(tmp_path / "missing.onnx")
    path.write_bytes(EMBEDDER.graph)
    with pytest.raises(ModelError, match=r"e\.onnx: expected an embedder, found an ONNX model"):
        read_embedder(path)
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError, match="expected an ONNX model, found other data"):
        read_embedder(path)


def test_other_files_than_embedders_are_refused_by_name(tmp_path: Path) -> None:
    for content in (b"", b"root:x:0:0", bytes(range(256))):
        (tmp_path / "embedder.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"embedder\.onnx: expected an"):
            read_embedder(tmp_path / "embedder.onnx")


def test_a_flipped_bit_of_a_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "embedder.onnx"
    write_embedder(path, tiny_embedder())
    content = bytearray(path.read_bytes())
    at = content.index(onnx.load(path).graph.initializer[0].raw_data[:16])
    content[at + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged: expected a graph with the SHA-256"):
        read_embedder(path)
