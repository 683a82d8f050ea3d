"""Changed views of photographs, for losses that compare two views of an image.

The features of a frozen network are computed once, so the views are too: a few of each image, from
its decoded pixels.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["VIEW_RULE", "views_of"]

VIEW_RULE: Final = "views 1"
"""Name of the changes below; features that were computed with others are computed again."""

_STREAM: Final = 5_731
"""Seed of all views. The run's seed is not used, so runs with other seeds share the features."""

_AREA: Final = (0.6, 1.0)
_MAX_LOG_RATIO: Final = math.log(4 / 3)
_FACTORS: Final = (0.6, 1.4)
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def views_of(pixels: NDArray[np.uint8], rows: NDArray[np.int64], n_views: int) -> NDArray[np.uint8]:
    """Several views of each image, the first of which is the image itself.

    The others are a random window of 60 to 100 % of the area, with a ratio of its sides between
    3/4 and 4/3 times that of the image, resized to the full size; mirrored in half of the cases;
    with brightness and contrast changed by factors from 0.6 to 1.4. A view depends on the image,
    its row and the number of the view alone.

    Parameters
    ----------
    pixels
        uint8 [n, height, width, 3].
    rows
        int64 [n], rows of the images in their set.
    n_views
        Views per image.

    Returns
    -------
    NDArray
        uint8 [n, n_views, height, width, 3].
    """
    views = np.empty((len(pixels), n_views, *pixels.shape[1:]), dtype=np.uint8)
    views[:, 0] = pixels
    for image, row, image_views in zip(pixels, rows.tolist(), views, strict=True):
        for view in range(1, n_views):
            image_views[view] = _random_view(image, np.random.default_rng([_STREAM, row, view]))
    return views


def _random_view(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    cropped = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BILINEAR, box=_window(height, width, rng)
    )
    values = np.asarray(cropped, dtype=np.float32)
    if rng.random() < 0.5:
        values = values[:, ::-1]
    brightness, contrast = rng.uniform(*_FACTORS, size=2).astype(np.float32)
    values = values * brightness
    grey = (values @ _LUMA).mean(dtype=np.float64).astype(np.float32)
    values = (values - grey) * contrast + grey
    changed: NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
    return changed


def _window(height: int, width: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A random part of an image, as (left, top, right, bottom)."""
    area = rng.uniform(*_AREA)
    root_of_ratio = math.exp(rng.uniform(-_MAX_LOG_RATIO, _MAX_LOG_RATIO) / 2)
    # A window that would be longer than the image takes its whole side, and as much of the other.
    across = min(1.0, max(area, math.sqrt(area) * root_of_ratio))
    down = min(1.0, area / across)
    left = rng.uniform(0, 1 - across) * width
    top = rng.uniform(0, 1 - down) * height
    return left, top, min(left + across * width, width), min(top + down * height, height)
