"""A folder of large photographs, which take a while to encode."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_photos"]


def write_photos(folder: Path, n_images: int, height: int = 1200, width: int = 1600) -> None:
    """Write JPEG files, some of which cannot be used; eight pictures, each under many names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(8):
        rough = rng.integers(0, 256, (12, 16, 3), np.uint8)
        picture = folder / f"picture-{number}.jpg"
        Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(picture)
        pictures.append(picture)
    for number in range(n_images - len(pictures)):
        path = folder / f"photo-{number:04d}.jpg"
        if number % 50 == 17:
            path.write_bytes(b"no image")
        else:
            os.link(pictures[number % len(pictures)], path)
