"""Images as files in memory, and the reason that one cannot be used."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from hashkit.errors import ImageError
from hashkit.preprocess import load


def saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    """An image as a file of a suffix."""
    buffer = io.BytesIO()
    image.save(buffer, Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def reason_of(source: object) -> str:
    """The reason that an image cannot be used."""
    with pytest.raises(ImageError) as info:
        load(source, (4, 4), "crop-bilinear")
    assert "\n" not in str(info.value)
    return info.value.reason
