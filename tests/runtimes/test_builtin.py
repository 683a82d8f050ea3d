"""Models by name: what a name means, and that a file of that name is not taken by mistake."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from small_models import linear_model

from hashkit.errors import ModelError
from hashkit.model_names import BUILTIN_SHA256, builtin_name
from hashkit.runtimes.builtin import (
    BUILTIN_MODELS,
    constant_bits_of,
    model_path,
    no_such_model,
    shown_model,
)
from hashkit.runtimes.encoder import Encoder


def test_the_names_of_models_are_those_that_messages_know():
    assert {name: model.sha256 for name, model in BUILTIN_MODELS.items()} == BUILTIN_SHA256


def test_a_name_is_the_file_of_the_package_or_one_that_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path))
    for name in ("phash", "phash-256", "lite0"):
        model = BUILTIN_MODELS[name]
        path = model_path(name)
        assert (path.name, path.is_file()) == (model.file, True)
        assert path.is_relative_to(tmp_path) is bool(model.weights)
        assert (shown_model(path), builtin_name(model.sha256)) == (name, name)
        assert Encoder.load(name, "cpu").model_sha256 == model.sha256


def test_anything_else_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("./phash", "phash.onnx", "PHASH", "models/phash", ""):
        assert model_path(text) == Path(text)
    assert model_path(Path("phash")) == Path("phash")
    assert "for the built-in model, give the name phash alone" in no_such_model(Path("phash"))
    assert "did you mean lite0?" in no_such_model(Path("lite1"))
    assert shown_model(Path("phash")) == "phash"
    assert builtin_name("") is None


def test_a_file_of_that_name_is_reported_and_can_be_named(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        model_path("phash")
        assert not caplog.records
        linear_model(tmp_path / "phash", n_bits=12)
        assert Encoder.load("phash", "cpu").n_bits == 64
    assert "using the built-in model phash; for the file" in caplog.text
    assert Encoder.load("./phash", "cpu").n_bits == 12
    assert Encoder.load(Path("phash"), "cpu").n_bits == 12


def test_an_unknown_name_lists_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"^phahs: .*: phash, phash-256, lite0, lite0-256; did you mean phash\?$",
    ):
        Encoder.load("phahs", "cpu")


def test_a_bit_that_is_constant_by_definition_gives_no_warning(caplog):
    encoder = Encoder.load("phash", "cpu")
    assert constant_bits_of(encoder.model_sha256) == {0}
    assert constant_bits_of("0" * 64) == frozenset()
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        codes = encoder.encode(images)
        assert (codes[:, 0] >= 128).all()
        assert not caplog.records
        encoder.encode(np.arange(1, 65, dtype=np.uint8).repeat(32 * 32 * 3).reshape(-1, 32, 32, 3))
    (record,) = caplog.records
    assert "have the same code" in record.getMessage()
