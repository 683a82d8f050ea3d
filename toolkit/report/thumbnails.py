"""Thumbnails within a page."""

from __future__ import annotations

import base64
import io
from typing import Final

from hashkit.preprocess import ImageSource, decode_usable

__all__ = ["thumbnail_address"]

_SIDE: Final = 112
_JPEG_QUALITY: Final = 85


def thumbnail_address(source: ImageSource | None, side: int = _SIDE) -> str | None:
    """An image of at most ``side`` pixels as a ``data:`` URL; None if it is not available."""
    image = decode_usable(source)
    if image is None:
        return None
    image.thumbnail((side, side))  # smaller images are kept: the page enlarges them
    files = []
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        image.save(file, kind, quality=_JPEG_QUALITY, optimize=True)
        files.append((len(file.getvalue()), kind.lower(), file.getvalue()))
    _, kind, data = min(files)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
