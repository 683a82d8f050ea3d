"""A model and photographs in files, some of which cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pipeline_samples import (
    BAD,
    N_IMAGES,
)
from small_models import linear_model, photographs

from hashkit.datasets.imageset import ImageSet
from hashkit.runtimes.encoder import Encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.load(linear_model(tmp_path_factory.mktemp("model") / "m.onnx"), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Photographs of several sizes and formats, in files; four cannot be used."""
    root = tmp_path_factory.mktemp("images")
    names = []
    for row, pixels in enumerate(photographs(N_IMAGES, 24, 31)):
        name = f"{'temple' if row % 2 == 0 else 'flower'}/{row:03d}.{('jpg', 'png')[row % 2]}"
        names.append(name)
        path = root / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[: 12 + row % 12]).save(path)
        if BAD.get(row) == "broken":
            path.write_bytes(b"no image at all")
        elif BAD.get(row) == "truncated":
            path.write_bytes(path.read_bytes()[:-200])
        elif BAD.get(row) == "missing":
            path.unlink()
    labels = np.arange(N_IMAGES) % 2
    return ImageSet("photos", names, root=root, labels=labels, class_names=("temple", "flower"))
