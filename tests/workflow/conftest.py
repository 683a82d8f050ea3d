"""An album of five drawn images and its bank; a run that was only created."""

from __future__ import annotations

from pathlib import Path

import pytest
from albums import draw
from linear_models import linear_model

import hashkit
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run_config import RunConfig
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


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """A run that was only just created, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return hashkit.Run.create(Path("runs"), "made", RunConfig(data=DataSpec()))
