"""When two files count as equal by their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hashkit.collection.facts import read_facts


def digest(path: Path) -> bytes:
    return read_facts(path.name, path)[0].pixel_digest


def white_shape(alpha: np.ndarray) -> Image.Image:
    """A white picture of this opacity; over white paper, it is blank at any opacity."""
    picture = np.full((*alpha.shape, 4), 255, np.uint8)
    picture[..., 3] = alpha
    return Image.fromarray(picture)


def test_white_shapes_are_equal_only_where_their_opacity_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 8, 9), dtype=np.uint8)
    white_shape(first).save(tmp_path / "first.png")
    white_shape(first).save(tmp_path / "again.webp", lossless=True, exact=True)
    white_shape(second).save(tmp_path / "second.png")
    white_shape(first).convert("LA").save(tmp_path / "grey.png")
    Image.new("RGB", (9, 8), "white").save(tmp_path / "blank.png")
    digests = {name: digest(tmp_path / name) for name in ("first.png", "second.png", "blank.png")}
    assert len(set(digests.values())) == 3
    assert digest(tmp_path / "again.webp") == digest(tmp_path / "grey.png") == digests["first.png"]


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))
    pixels.save(tmp_path / "plain.png")
    pixels.convert("RGBA").save(tmp_path / "opaque.png")
    assert digest(tmp_path / "plain.png") == digest(tmp_path / "opaque.png")
