"""Opens one slice of a planned list as an image set."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.slices.entries import Listed, blocks_of, labels_of, parse_lines
from hashkit.datasets.slices.plan import PLAN_NAME, Plan
from hashkit.errors import DatasetError
from hashkit.inputs.opening import read_file

__all__ = ["open_slice"]


def open_slice(folder: Path, plan: Plan, number: int) -> ImageSet:
    """Open a slice, counted from 0, as an image set named after the list.

    Raises
    ------
    DatasetError
        If its file is missing, damaged, or not the one that was planned.
    """
    entries = _entries(folder, plan, number)
    where = str(folder / plan.slices[number].file)
    return ImageSet(
        name=Path(plan.images).stem if plan.kind == "list" else Path(plan.images).name,
        names=[entry.name for entry in entries],
        root=None if plan.root is None else Path(plan.root),
        labels=labels_of(entries, plan.label_kind, len(plan.class_names), where),
        class_names=plan.class_names,
    )


def _entries(folder: Path, plan: Plan, number: int) -> list[Listed]:
    planned = plan.slices[number]
    path = folder / planned.file
    remedy = f"remove {folder / PLAN_NAME}, and the same command plans again"
    try:
        data = read_file(path, "text_bytes")
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"{path}: cannot be read ({reason}): {remedy}") from None
    if hashlib.sha256(data).hexdigest() != planned.sha256:
        raise DatasetError(
            f"{path}: expected the slice that was planned, with the SHA-256 {planned.sha256}, "
            f"found other bytes: {remedy}"
        )
    entries = []
    for block in blocks_of(data.splitlines(keepends=True)):
        entries += parse_lines(block, str(path))
    if len(entries) != len(planned):
        raise DatasetError(
            f"{path}: expected {len(planned)} images, found {len(entries)}: {remedy}"
        )
    return entries
