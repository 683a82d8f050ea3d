from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from kept_reporter import Kept
from PIL import Image
from tiny_embedder import tiny_embedder

from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import MissingExtraError
from hashkit.features.session import EmbedderSession
from hashkit.runs.config import TrainConfig
from hashkit.workflow import class_check
from hashkit.workflow.recipe_choice import chosen_settings


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """Folders ``dark`` and ``light``; a damaged file, and one of a third class."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 120)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(low, low + 120, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    (tmp_path / "set/dark/0.png").write_bytes(b"no image")
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(class_check, "configured", lambda *_: (TrainConfig(), tiny_embedder()))
    return open_image_folder(tmp_path / "set")


def _notes(images: ImageSet, settings: dict[str, str] | None = None) -> str:
    notes = Kept()
    chosen_settings(settings or {}, images, notes, training=np.arange(len(images)))
    return notes.text


def test_classes_that_images_show_give_a_note_with_the_recipe_that_fits(images: ImageSet) -> None:
    text = _notes(images)
    assert re.fullmatch(
        r"set: a frozen network finds the class of \.[89]\d of 23 images \(\.[45]\d by chance\); "
        r'`recipe="features"` learns from such features in minutes\n',
        text,
    )


def test_classes_that_images_do_not_show_are_a_warning(images: ImageSet) -> None:
    mixed = dataclasses.replace(images, labels=np.arange(len(images)) % 2)
    text = _notes(mixed)
    assert text.startswith("warning: set: the images do not show the classes; a frozen network")
    assert text.endswith('use `recipe="unlabelled"`\n')
    odd = dataclasses.replace(mixed, class_names=("2021", "backup"))
    text = _notes(odd)
    assert "2 folders of 2 do not look like classes (2021, backup)" in text
    assert "of 23 images" in text


@pytest.mark.parametrize("settings", [{"recipe": "best"}, {"loss": "csq"}, {"network": "dnnh"}])
def test_classes_are_not_checked_if_recipe_loss_or_network_is_given(
    images: ImageSet, settings: dict[str, str]
) -> None:
    assert _notes(images, settings) == ""


def test_features_are_kept_and_are_not_needed(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _notes(images)
    monkeypatch.setattr(EmbedderSession, "run", None)
    assert _notes(images) == text

    def missing(*_: object) -> None:
        raise MissingExtraError("onnx", "lite", "the embedder")

    monkeypatch.setattr(class_check, "configured", missing)
    assert _notes(images) == ""
    odd = dataclasses.replace(images, class_names=("2021", "backup"))
    assert "do not look like classes (2021, backup), and codes learn" in _notes(odd)
