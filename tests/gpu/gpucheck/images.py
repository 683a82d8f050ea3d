"""The images that the stages use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpucheck.product import (
    DataSpec,
    ImageSet,
    Split,
    load_pixels,
    make_split,
    open_spec,
    spread_rows,
)
from gpucheck.settings import Settings

__all__ = ["image_files", "open_images", "real_pixels"]

_N_CLASSES = 10
_PER_CLASS = 60
_SIDE = 16


def open_images(settings: Settings) -> tuple[ImageSet, Split]:
    """The image set and its split into queries, training images and database."""
    data = settings.environment()["data"]
    if data["set"] == "cifar10":
        return open_spec(DataSpec("cifar10", data["root"], "cifar10-59k"))
    if data["set"] == "digits":
        return open_spec(DataSpec("digits"))
    images = _synthetic()
    return images, make_split(images, "per-class")


def real_pixels(
    settings: Settings, n_images: int, size: tuple[int, int], resize: str
) -> NDArray[np.uint8]:
    """Evenly spaced images of the database as model input; decoded once for all stages."""
    data = settings.environment()["data"]["set"]
    path = settings.work_path / f"pixels-{data}-{n_images}-{size[0]}x{size[1]}-{resize}.npy"
    if not path.is_file():
        images, split = open_images(settings)
        database = images.subset(split.database)
        few = database.subset(spread_rows(len(database), n_images))
        part = path.with_suffix(".part.npy")
        np.save(part, load_pixels(few, size, resize).pixels)
        part.replace(path)
    pixels: NDArray[np.uint8] = np.load(path)
    return pixels


def image_files(settings: Settings, n_images: int) -> ImageSet:
    """Images of the database as files; images in memory are written as PNG files."""
    images, split = open_images(settings)
    rows = split.database[spread_rows(len(split.database), n_images)]
    if images.root is not None:
        return images.subset(rows)
    from PIL import Image

    assert images.pixels is not None  # as there are no files
    folder = settings.work_path / "images" / images.name
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{row:05d}.png" for row in rows]
    for row, name in zip(rows, names, strict=True):
        if not (folder / name).is_file():
            Image.fromarray(images.pixels[row]).save(folder / name)
    return ImageSet(name=images.name, names=names, root=Path(folder))


def _synthetic() -> ImageSet:
    """Synthetic images that need no files: one colour per class, with noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(_N_CLASSES), _PER_CLASS)
    colours = rng.integers(40, 216, (_N_CLASSES, 1, 1, 3))
    noise = rng.normal(0, 25, (len(labels), _SIDE, _SIDE, 3))
    pixels = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
    names = [f"synthetic/{row:05d}" for row in range(len(labels))]
    classes = tuple(map(str, range(_N_CLASSES)))
    return ImageSet("synthetic", names, pixels=pixels, labels=labels, class_names=classes)
