"""Holes in formats other than JPEG: parts of a file that are zeros."""

from __future__ import annotations

import io

import numpy as np
import pytest
from looped import looped
from PIL import Image

from hashkit.errors import ImageError
from hashkit.preprocess import decode

PIXELS = np.random.default_rng(2).normal(128, 20, (120, 160, 3)).clip(0, 255).astype(np.uint8)


def saved(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(out, kind, **options)
    return out.getvalue()


@looped(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("AVIF", {"quality": 90, "speed": 10}),
        ("AVIF", {"quality": 90, "speed": 10, "exif": b"Exif\0\0II*\0\x08\0\0\0" + bytes(9)}),
    ],
    ids=["PNG", "GIF", "deflated TIFF", "LZW TIFF", "JPEG in TIFF", "AVIF", "AVIF with EXIF"],
)
@looped("share", [0.2, 0.5, 0.8])
def test_a_hole_is_noticed(kind, options, share):
    data = saved(kind, **options)
    decode(data)
    at = int(share * len(data))
    with pytest.raises(ImageError) as info:
        decode(data[:at] + bytes(1024) + data[at + 1024 :])
    assert info.value.reason in ("broken", "truncated")


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw", "jpeg"])
def test_flat_areas_of_a_tiff_are_not_holes(compression):
    blank = Image.new("RGB", (700, 900), "white")
    options = {"compression": compression}
    assert decode(saved("TIFF", blank, **options)).getpixel((5, 5)) == (255, 255, 255)
    # Zeros in metadata and after the picture.
    data = saved("TIFF", blank, description="\0" * 500, **options) + bytes(500)
    assert decode(data).size == (700, 900)


def test_flat_areas_and_metadata_of_an_avif_are_not_holes():
    blank = Image.new("RGB", (700, 900), "white")
    assert decode(saved("AVIF", blank, quality=100, speed=10)).size == (700, 900)
    padded = {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(2000)}
    assert decode(saved("AVIF", blank, speed=10, **padded) + bytes(600)).size == (700, 900)
