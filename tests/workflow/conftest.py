"""An album of five drawn images, and its bank."""

from __future__ import annotations

from pathlib import Path

import pytest
from albums import draw
from linear_models import linear_model

import hashkit
from hashkit.runtimes.encoder import Encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    path = linear_model(tmp_path_factory.mktemp("model") / "m.onnx", height=8, width=8)
    return Encoder.load(path, device="cpu")


@pytest.fixture
def album(tmp_path) -> Path:
    for seed in range(5):
        draw(tmp_path / "album" / f"{seed}.png", seed)
    return tmp_path / "album"


@pytest.fixture
def bank(album, encoder) -> Path:
    path = album.parent / "bank.h5"
    hashkit.encode(album, encoder, path)
    return path
