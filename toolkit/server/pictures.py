"""The pictures of rows, for the page: thumbnails, and the files themselves."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.bank.reader import Bank
from hashkit.errors import ImageError
from hashkit.imaging.content import FileContent, read_image_file
from hashkit.imaging.formats import format_of
from hashkit.imaging.stripping import without_metadata
from hashkit.inputs.opening import check_file
from hashkit.preprocess import ImageSource, shrunk
from hashkit.workflow.row_images import RowImages, sources_of

__all__ = ["Picture", "Pictures"]

THUMBNAIL_SIDE: Final = 256
IMAGE_SIDE: Final = 2048

_TYPES: Final = {
    "GIF": "image/gif",
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
}
"""Types of the formats whose metadata is removed; browsers show all of them."""

_CACHE_BYTES: Final = 64_000_000
_QUALITY: Final = 85


@dataclasses.dataclass(frozen=True)
class Picture:
    """Bytes of an image file, their type, and a tag that changes with them."""

    data: bytes
    media_type: str
    tag: str


class Pictures:
    """Finds the images of rows, and makes thumbnails, of which it keeps the latest.

    Only images are sent, without metadata, and only files inside the folders that the bank was made
    from. If a name, or a link in such a folder, leads to a file elsewhere, the file is sent only if
    its content is what was encoded.

    Parameters
    ----------
    find
        Finds the image of a row.
    """

    def __init__(self, find: RowImages) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[tuple[int, str], Picture] = collections.OrderedDict()
        self._kept_bytes = 0

    def source(self, bank: Bank, row: int) -> ImageSource:
        """The image of a row.

        Raises
        ------
        ImageError
            If it is not available.
        """
        return self._read(bank, row, self._found(bank, row))

    def thumbnail(self, bank: Bank, row: int, known: str) -> Picture | None:
        """A JPEG file of at most `THUMBNAIL_SIDE` pixels; None if its tag is ``known``.

        Raises
        ------
        ImageError
            If the image is not available, or cannot be decoded.
        """
        found = self._found(bank, row)
        key = (row, _tag(found))
        if key[1] == known:
            return None
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        picture = _as_jpeg(self._read(bank, row, found), THUMBNAIL_SIDE, key[1])
        self._keep(key, picture)
        return picture

    def image(self, bank: Bank, row: int, known: str) -> Picture | None:
        """The file without its metadata; None if its tag is ``known``.

        If the metadata of its format is not removed, or no browser shows the format, it is a JPEG
        file of at most `IMAGE_SIDE` pixels.

        Raises
        ------
        ImageError
            If the image is not available, or cannot be decoded.
        """
        found = self._found(bank, row)
        tag = _tag(found)
        if tag == known:
            return None
        source = self._read(bank, row, found)
        bare = without_metadata(source.data) if isinstance(source, FileContent) else None
        if bare is None:
            return _as_jpeg(source, IMAGE_SIDE, tag)
        return Picture(bare, _TYPES[format_of(bare) or ""], tag)

    def _found(self, bank: Bank, row: int) -> ImageSource:
        found = self._find(bank, row)
        if found is None:
            raise ImageError(f"row {row}: its image is not there", "missing")
        return found

    def _read(self, bank: Bank, row: int, found: ImageSource) -> ImageSource:
        if not isinstance(found, str | os.PathLike):
            return found
        content = read_image_file(found)
        if not self._may_be_read(bank, row, Path(found), content):
            raise ImageError(f"row {row}: its image is outside the bank's folders", "missing")
        return content

    def _may_be_read(self, bank: Bank, row: int, path: Path, content: FileContent) -> bool:
        is_inside = next(self._find.names_of(bank, path), None) is not None
        if is_inside and any(source.root is not None for source in sources_of(bank)):
            return True
        files = bank.files
        return files is not None and files.digests[row].tobytes() == content.digest()

    def _keep(self, key: tuple[int, str], picture: Picture) -> None:
        with self._lock:
            if key in self._kept:  # two clients asked for it at the same time
                return
            self._kept[key] = picture
            self._kept_bytes += len(picture.data)
            while self._kept_bytes > _CACHE_BYTES:
                _, dropped = self._kept.popitem(last=False)
                self._kept_bytes -= len(dropped.data)


def _as_jpeg(source: ImageSource, side: int, tag: str) -> Picture:
    image = shrunk(source, side)
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=_QUALITY)
        return Picture(file.getvalue(), "image/jpeg", tag)


def _tag(found: ImageSource) -> str:
    """A text that changes with a file, or with the pixels of an image in memory."""
    if isinstance(found, str | os.PathLike):
        status = check_file(found)
        parts = (os.fsencode(found), status.st_size, status.st_mtime_ns, status.st_ino)
        data = repr(parts).encode()
    else:
        data = np.ascontiguousarray(found).tobytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()
