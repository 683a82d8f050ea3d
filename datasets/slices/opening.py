"""Opens images in containers as an image set, and one slice of any planned list."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.datasets.imageset import Contents, ImageSet
from hashkit.datasets.slices.containers import Places, check_unchanged
from hashkit.datasets.slices.entries import REMEDY, Listed, blocks_of, labels_of, parse_lines
from hashkit.datasets.slices.listings import Listing
from hashkit.datasets.slices.parquets import ParquetContents
from hashkit.datasets.slices.plan import ListKind, Plan, SourceFile
from hashkit.datasets.slices.spool import spooled
from hashkit.datasets.slices.tars import TarContents
from hashkit.errors import DatasetError
from hashkit.inputs.opening import read_file

__all__ = ["open_contained", "open_slice"]

_LARGEST: Final = 2**63


def open_slice(folder: Path, plan: Plan, number: int) -> ImageSet:
    """Open a slice, counted from 0, as an image set named after the list.

    Raises
    ------
    DatasetError
        If its file is missing, damaged, or not the one that was planned.
    """
    entries = _entries(folder, plan, number)
    where = str(folder / plan.slices[number].file)
    contents = None
    if plan.kind in ("parquet", "tar"):
        column = plan.settings.get("image_column", "")
        contents = _contents(plan.kind, plan.files, entries, column, where)
    return ImageSet(
        name=Path(plan.images).stem if plan.kind == "list" else Path(plan.images).name,
        names=[entry.name for entry in entries],
        root=Path(plan.root or "") if contents is None else None,
        labels=labels_of(entries, plan.label_kind, len(plan.class_names), where),
        class_names=plan.class_names,
        contents=contents,
    )


def open_contained(listing: Listing, image_column: str, *, with_labels: bool) -> ImageSet:
    """Open all images of Parquet files or tars, whose names and places are held in memory.

    Raises
    ------
    DatasetError
        If the files cannot be read, or their labels are of several kinds.
    """
    files, where = listing.files(), str(listing.images)
    with spooled(listing, Path(tempfile.gettempdir()), with_labels=with_labels) as spool:
        entries = [entry for lines in spool.blocks() for entry in parse_lines(lines, where)]
    return ImageSet(
        name=listing.images.name,
        names=[entry.name for entry in entries],
        labels=labels_of(entries, spool.label_kind, len(spool.class_names), where),
        class_names=spool.class_names,
        contents=_contents(listing.kind, files, entries, image_column, where),
    )


def _contents(
    kind: ListKind,
    files: tuple[SourceFile, ...],
    entries: Sequence[Listed],
    image_column: str,
    where: str,
) -> Contents:
    """The images of entries in their containers, which must be those that were listed."""
    rows = [entry.place for entry in entries]
    n_files = len(files)
    are_valid = all(
        row is not None and row[0] < n_files and all(0 <= part < _LARGEST for part in row)
        for row in rows
    )
    if not are_valid:
        raise DatasetError(
            f"{where}: expected the place of each image in one of {n_files} files, found another "
            f"value: {REMEDY}"
        )
    places = np.array(rows, np.int64).reshape(-1, 3)
    for number in np.unique(places[:, 0]).tolist():
        check_unchanged(files[number])
    found = Places(files, [entry.name for entry in entries], places)
    return TarContents(found) if kind == "tar" else ParquetContents(found, image_column)


def _entries(folder: Path, plan: Plan, number: int) -> list[Listed]:
    planned = plan.slices[number]
    path = folder / planned.file
    try:
        data = read_file(path, "text_bytes")
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"{path}: cannot be read ({reason}): {REMEDY}") from None
    if hashlib.sha256(data).hexdigest() != planned.sha256:
        raise DatasetError(
            f"{path}: expected the slice that was planned, with the SHA-256 {planned.sha256}, "
            f"found other bytes: {REMEDY}"
        )
    entries = []
    for block in blocks_of(data.splitlines(keepends=True)):
        entries += parse_lines(block, str(path))
    if len(entries) != len(planned):
        raise DatasetError(
            f"{path}: expected {len(planned)} images, found {len(entries)}: {REMEDY}"
        )
    return entries
