"""Write rows of a bank for the page: codes, names, labels and thumbnails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.codesets import label_names
from hashkit.datasets.imageset import spread_rows
from hashkit.errors import BankError
from hashkit.exporters.web.page_folder import thumbnail_name
from hashkit.preprocess import ImageSource, decode_usable

__all__ = ["THUMBNAIL_SIDE", "ImageFinder", "live_rows", "write_images"]

ImageFinder: TypeAlias = Callable[[int], ImageSource | None]
"""Returns the image of a row of the bank; None if it is not available."""

THUMBNAIL_SIDE: Final = 96
"""Largest length of a thumbnail's longer side, pixels; smaller images keep their size."""

_QUALITY: Final = 88


def live_rows(bank: Bank, n_images: int) -> NDArray[np.int64]:
    """Up to ``n_images`` live rows of a bank, evenly spaced: int64, sorted.

    Raises
    ------
    BankError
        If the bank has no live rows.
    """
    rows = np.arange(len(bank)) if bank.deleted is None else np.flatnonzero(~bank.deleted)
    if not len(rows):
        raise BankError(f"{bank.path}: has no rows to show on a page")
    return rows[spread_rows(len(rows), n_images)]


def write_images(
    folder: Path,
    bank: Bank,
    rows: NDArray[np.int64],
    image_of: ImageFinder,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write rows of a bank into a new folder; returns how many have a thumbnail.

    ::

        codes.bin              packed codes, row after row: uint8 [n, ceil(n_bits / 8)]
        images.json            rows (of the bank), names, labels, thumbnails; one entry per image
        thumbnails/<row>.jpg

    Parameters
    ----------
    image_of
        Returns the image of a row; images that are not found or cannot be read have no thumbnail.
    progress
        Called as ``progress(done, total)``, counted in images.
    """
    (folder / "thumbnails").mkdir(parents=True)
    (folder / "codes.bin").write_bytes(np.ascontiguousarray(bank.codes[rows]).tobytes())
    thumbnails = []
    for n_done, row in enumerate(map(int, rows), 1):
        thumbnails.append(_write_thumbnail(image_of(row), folder, thumbnail_name(row)))
        if progress is not None:
            progress(n_done, len(rows))
    document: dict[str, Any] = {
        "rows": rows.tolist(),
        "names": [bank.names[row] or f"row {row}" for row in rows.tolist()],
        "labels": [label_names(bank, row) for row in rows.tolist()],
        "thumbnails": thumbnails,
    }
    (folder / "images.json").write_text(json.dumps(document), encoding="ascii")
    return sum(name is not None for name in thumbnails)


def _write_thumbnail(source: ImageSource | None, folder: Path, name: str) -> str | None:
    image = decode_usable(source)
    if image is None:
        return None
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    image.info = {}  # drop EXIF and profiles, so that only the pixels are published
    image.save(folder / name, "JPEG", quality=_QUALITY, subsampling=0)
    return name
