"""The images of the check: opened, decoded once, and written as files."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from gpucheck.images import image_files, open_images, real_pixels
from gpucheck.plan import STAGES
from gpucheck.settings import Settings


def settings_of(folder: Path, data: dict[str, str | None]) -> Settings:
    """Settings of a check whose stage ``prepare`` has left these images."""
    settings = Settings(device="cpu", out=str(folder / "out"), work=str(folder))
    environment = {"paths": [], "data": data, "weights": "missing", "wheels": []}
    settings.environment_path.write_text(json.dumps(environment))
    return settings


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_images_at_hand_are_opened_decoded_and_written(tmp_path, name):
    settings = settings_of(tmp_path, {"set": name, "root": None})
    images, split = open_images(settings)
    assert images.name == name
    assert len(split.training)
    assert len(split.queries)
    side = images.pixels.shape[1]
    pixels = real_pixels(settings, 20, (side, side), "crop-bilinear")
    assert pixels.shape == (20, side, side, 3)
    np.testing.assert_array_equal(real_pixels(settings, 20, (side, side), "crop-bilinear"), pixels)
    files = image_files(settings, 20)
    with Image.open(files.source(7)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[7])


def test_cifar_is_opened_by_the_protocol_of_the_readme(tmp_path, monkeypatch):
    from gpucheck import images as module

    opened = []
    monkeypatch.setattr(module, "open_spec", lambda spec: opened.append(spec) or (None, None))
    open_images(settings_of(tmp_path, {"set": "cifar10", "root": "/any"}))
    (spec,) = opened
    assert (spec.data, spec.root, spec.protocol) == ("cifar10", "/any", "cifar10-59k")


def test_every_stage_can_be_imported():
    """Every name that a stage imports from hashkit exists."""
    for stage in STAGES:
        assert callable(importlib.import_module(stage.module).run), stage.name
