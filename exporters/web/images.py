"""Write rows of a bank for the page: codes, names, labels and pictures in two sizes."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashkit.bank_set.joined import AnyBank, codes_of
from hashkit.codesets import kept_rows, label_names
from hashkit.datasets.imageset import spread_rows
from hashkit.errors import BankError
from hashkit.exporters.web.page_folder import picture_name, thumbnail_name
from hashkit.preprocess import ImageSource, decode_usable
from hashkit.threads import run_parallel

__all__ = ["PICTURE_SIDE", "THUMBNAIL_SIDE", "ImageFinder", "live_rows", "write_images"]

ImageFinder: TypeAlias = Callable[[int], ImageSource | None]
"""Returns the image of a row of the bank; None if it is not available."""

THUMBNAIL_SIDE: Final = 192
"""Largest length of a thumbnail's longer side, pixels; smaller images keep their size."""

PICTURE_SIDE: Final = 640
"""The same for the pictures of the larger view: about 40 kB per photograph."""

_QUALITY: Final = 82
_BATCH_IMAGES: Final = 32  # images that are decoded together
_FINE_BELOW: Final = 96  # small pictures are enlarged, so their colours keep the full resolution


def live_rows(bank: AnyBank, n_images: int) -> NDArray[np.int64]:
    """Up to ``n_images`` live rows of a bank, evenly spaced: int64, sorted.

    Raises
    ------
    BankError
        If the bank has no live rows.
    """
    rows = kept_rows(bank)
    if not len(rows):
        raise BankError(f"{bank.path}: has no rows to show on a page")
    return rows[spread_rows(len(rows), n_images)]


def write_images(
    folder: Path,
    bank: AnyBank,
    rows: NDArray[np.int64],
    image_of: ImageFinder,
    progress: Callable[[int, int], None] | None = None,
    *,
    picture_side: int = PICTURE_SIDE,
) -> int:
    """Write rows of a bank into a new folder; returns how many have a thumbnail.

    ::

        codes.bin              packed codes, row after row: uint8 [n, ceil(n_bits / 8)]
        images.json            rows (of the bank), names, labels, thumbnails, pictures, and sizes of
                               the images [width, height]; one entry per image
        thumbnails/<row>.jpg
        pictures/<row>.jpg     for images that are larger than their thumbnail

    Parameters
    ----------
    image_of
        Returns the image of a row; images that are not found or cannot be read have no thumbnail.
    progress
        Called as ``progress(done, total)``, counted in images.
    picture_side
        Length of the longer side of the larger pictures, pixels; 0 for none.
    """
    folder.mkdir()
    (folder / "codes.bin").write_bytes(np.ascontiguousarray(codes_of(bank, rows)).tobytes())
    written: list[_Written] = []
    for start in range(0, len(rows), _BATCH_IMAGES):
        chunk = rows[start : start + _BATCH_IMAGES].tolist()
        write = functools.partial(_write_pictures, folder=folder, side=picture_side)
        sources = [(row, image_of(row)) for row in chunk]
        written += run_parallel([functools.partial(write, *one) for one in sources])
        if progress is not None:
            progress(len(written), len(rows))
    document: dict[str, Any] = {
        "rows": rows.tolist(),
        "names": [bank.names[row] or f"row {row}" for row in rows.tolist()],
        "labels": [label_names(bank, row) for row in rows.tolist()],
        "thumbnails": [image.thumbnail for image in written],
        "pictures": [image.picture for image in written],
        "sizes": [image.size for image in written],
    }
    (folder / "images.json").write_text(json.dumps(document), encoding="ascii")
    return sum(image.thumbnail is not None for image in written)


@dataclasses.dataclass(frozen=True)
class _Written:
    """Names of the pictures of a row, and the size of its image; None for what it lacks."""

    thumbnail: str | None = None
    picture: str | None = None
    size: tuple[int, int] | None = None


def _write_pictures(row: int, source: ImageSource | None, *, folder: Path, side: int) -> _Written:
    image = decode_usable(source)
    if image is None:
        return _Written()
    size = image.size
    picture = None
    if max(size) > THUMBNAIL_SIDE < side:
        picture = picture_name(row)
        _save(image, side, folder / picture)
    _save(image, THUMBNAIL_SIDE, folder / thumbnail_name(row))
    return _Written(thumbnail_name(row), picture, size)


def _save(image: Image.Image, side: int, path: Path) -> None:
    """Shrink an image in place and save it, with its pixels only: no EXIF, no colour profile."""
    image.thumbnail((side, side))
    image.info = {}
    path.parent.mkdir(exist_ok=True)
    subsampling = "4:4:4" if max(image.size) < _FINE_BELOW else "4:2:0"
    image.save(path, "JPEG", quality=_QUALITY, subsampling=subsampling)
