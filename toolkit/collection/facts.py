"""Facts about an image file, to find its duplicates and to choose which of them to keep."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from PIL import Image

from hashkit.imaging.capture_time import has_capture_time
from hashkit.imaging.content import read_image_file
from hashkit.imaging.opening import open_image
from hashkit.preprocess import decode

__all__ = ["ImageFacts", "has_changed", "read_facts"]


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """An image file, or what a bank knows about one that is missing.

    Attributes
    ----------
    name
        Its name in the folder or the bank.
    path
        The file; None if it is missing.
    n_bytes, mtime_ns
        Size, and time of the last change in nanoseconds since 1970; 0 if unknown.
    width, height
        Pixels of the upright image; 0 if unknown.
    file_digest
        BLAKE2b of the file, of 16 bytes; empty if unknown.
    pixel_digest
        BLAKE2b of the upright RGB pixels, their size, and their opacity if any is transparent;
        empty if unknown.
    is_dated
        Whether the metadata say when the picture was taken.
    is_link
        Whether the name is a link to a file.
    file_id
        Device and inode of the file, the same for all its names; None if it is missing.
    """

    name: str
    path: Path | None = None
    n_bytes: int = 0
    mtime_ns: int = 0
    width: int = 0
    height: int = 0
    file_digest: bytes = b""
    pixel_digest: bytes = b""
    is_dated: bool = False
    is_link: bool = False
    file_id: tuple[int, int] | None = None


def read_facts(name: str, path: Path) -> tuple[ImageFacts, Image.Image]:
    """Read a file once: its facts, and the decoded image.

    Raises
    ------
    ImageError
        If the image cannot be used.
    OSError
        If the file vanishes in the meantime.
    """
    content = read_image_file(path)
    image = decode(content)
    status = path.stat()
    with open_image(content.data, content.name, _any_size) as stored:
        is_dated, opacity = has_capture_time(stored), _opacity(stored)
    facts = ImageFacts(
        name,
        path,
        len(content.data),
        content.mtime_ns,
        image.width,
        image.height,
        content.digest(),
        _pixel_digest(image, opacity),
        is_dated,
        path.is_symlink(),
        (status.st_dev, status.st_ino),
    )
    return facts, image


def _pixel_digest(image: Image.Image, opacity: bytes) -> bytes:
    """BLAKE2b, of 16 bytes, of an RGB image's size and pixels, and of its opacity."""
    digest = hashlib.blake2b(f"{image.width} {image.height} ".encode(), digest_size=16)
    digest.update(image.tobytes())
    digest.update(opacity)
    return digest.digest()


def _opacity(stored: Image.Image) -> bytes:
    """The opacity of every pixel of a file that was decoded; empty if all are opaque.

    In RGB, transparent parts are white, so white shapes of any kind would be equal.
    """
    if not stored.has_transparency_data or stored.mode.startswith("I;16"):
        return b""
    if stored.mode == "La":  # Pillow can convert it only through LA
        stored = stored.convert("LA")
    alpha = stored.convert("RGBA").getchannel("A")
    return b"" if alpha.getextrema() == (255, 255) else alpha.tobytes()


def _any_size(size: tuple[int, int], name: str) -> None:
    """Accept an image: its size was checked when it was decoded."""


def has_changed(image: ImageFacts) -> bool:
    """Whether a file is no longer there, or has another size or time."""
    if image.path is None:
        return True
    try:
        status = os.stat(image.path)  # noqa: PTH116 - follows links, as it was read
    except OSError:
        return True
    return (status.st_size, status.st_mtime_ns) != (image.n_bytes, image.mtime_ns)
