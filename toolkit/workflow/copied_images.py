"""Notices images that a bank already has under another name or from another folder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import BankMismatchError, ImageError
from hashkit.imaging.content import read_image_file
from hashkit.workflow.reporter import Reporter, plural

__all__ = ["check_copies", "copied_images", "report_copies"]


def check_copies(images: ImageSet, bank: Bank, reporter: Reporter) -> None:
    """Refuse a folder whose images are all in a bank of another folder; warn if some are.

    Raises
    ------
    BankMismatchError
        If all are: the folder was renamed or copied, and the bank would have each image twice.
    """
    if images.root is None:
        return
    if bank.files is None:
        reporter.note(
            f"{bank.path} does not keep digests of its images' files, so that images which it has "
            "already are not noticed"
        )
        return
    copies = copied_images(images, np.arange(len(images)), bank)
    if copies and len(copies) == len(images):
        raise BankMismatchError(
            f"{bank.path}: expected images that the bank does not have, found that it has "
            f"{_found(images, copies)}: if the folder was renamed, make the bank again with "
            "`overwrite=True`; for a second copy of the images, make another bank"
        )
    _warn(images, copies, bank, reporter)


def report_copies(
    images: ImageSet, rows: NDArray[np.int64], bank: Bank, reporter: Reporter
) -> None:
    """Warn of images that are about to be added to a bank and are in it under other names.

    Parameters
    ----------
    rows
        int64 [n], rows of the set.
    """
    _warn(images, copied_images(images, rows, bank), bank, reporter)


def copied_images(images: ImageSet, rows: NDArray[np.int64], bank: Bank) -> list[tuple[int, int]]:
    """Images whose file has the digest of a row of a bank that is not deleted.

    Only files of a size that the bank has are read.

    Parameters
    ----------
    rows
        int64 [n], rows of the set to compare.

    Returns
    -------
    list
        Pairs of a row of the set and the first such row of the bank; empty if the bank keeps no
        digests.
    """
    files, root = bank.files, images.root
    if files is None or root is None:
        return []
    is_known = files.digests.any(axis=1)
    if bank.deleted is not None:
        is_known &= ~bank.deleted
    known = np.flatnonzero(is_known)[::-1].tolist()  # so that the first row of several stays
    row_of = {files.digests[row].tobytes(): row for row in known}
    sizes = set(files.sizes[is_known].tolist())
    copies = []
    for at in rows.tolist():
        path = root / images.names[at]
        try:
            if path.stat().st_size not in sizes:
                continue
            row = row_of.get(read_image_file(path).digest())
        except (OSError, ImageError):
            continue  # it cannot be encoded either, and that is reported
        if row is not None:
            copies.append((at, row))
    return copies


def _warn(images: ImageSet, copies: list[tuple[int, int]], bank: Bank, reporter: Reporter) -> None:
    if copies:
        reporter.note(
            f"warning: {bank.path} has {_found(images, copies)}, and now gets a second row for "
            "each: hashkit delete removes rows, and Ctrl-C stops"
        )


def _found(images: ImageSet, copies: list[tuple[int, int]]) -> str:
    at, row = copies[0]
    number = f"{len(copies):,} of" if len(copies) < len(images) else "all"
    return (
        f"{number} {plural(len(images), 'image')} of {images.root} already, by their content (for "
        f"example {images.names[at]} in row {row:,})"
    )
