"""Notices image files that have changed since they were encoded."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ImageError
from hashkit.imaging.content import read_image_file

__all__ = ["changed_images"]


def changed_images(images: ImageSet, known: NDArray[np.int64], bank: Bank) -> list[tuple[int, int]]:
    """Rows whose files differ from those that were encoded.

    A file with the same size and time counts as unchanged; otherwise its digest decides.

    Parameters
    ----------
    known
        int64 [n, 2], rows of the set and of the bank that have the same name.

    Returns
    -------
    list
        The pairs of ``known`` whose files differ.
    """
    files, root = bank.files, images.root
    if files is None or root is None:
        return []
    changed = []
    for at, row in known.tolist():
        path = root / images.names[at]
        size, time = int(files.sizes[row]), int(files.mtimes_ns[row])
        digest = files.digests[row].tobytes()
        if not any(digest):
            continue
        try:
            status = os.stat(path)  # noqa: PTH116 - faster, for many files
            if (status.st_size, status.st_mtime_ns) == (size, time):
                continue
            same_size = status.st_size == size
            if same_size and read_image_file(path).digest()[: len(digest)] == digest:
                continue
        except (OSError, ImageError):
            continue  # gone, which is not a change of the image
        changed.append((at, row))
    return changed
