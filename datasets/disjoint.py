"""Finds queries that also occur among the training images or in the database.

Parts that share no row may still contain the same image under two names.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Rows, Split
from hashkit.errors import ProtocolError
from hashkit.files.writing import file_digest
from hashkit.messages.counts import plural

__all__ = ["DisjointReport", "Overlap", "check_disjoint", "copies_of"]

_MAX_EXAMPLES: Final = 5
_NOUNS: Final = {
    "queries": ("query", "queries"),
    "training": ("training image", "training images"),
    "database": ("database image", "database images"),
}


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Images of one part that also occur in another part.

    Attributes
    ----------
    part, other
        Names of the two parts.
    n_images
        Number of images of ``part`` that occur in ``other``.
    examples
        Up to five pairs of names, from ``part`` and from ``other``.
    """

    part: str
    other: str
    n_images: int
    examples: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class DisjointReport:
    """Images that occur in two parts of a split.

    Attributes
    ----------
    overlaps
        The overlaps found.
    n_unreadable
        Images that were not compared because their files cannot be read.
    """

    overlaps: tuple[Overlap, ...]
    n_unreadable: int

    @property
    def is_disjoint(self) -> bool:
        """Whether no overlap was found."""
        return not self.overlaps

    def summary(self) -> str:
        """One line for a person."""
        if self.is_disjoint:
            text = "no image is in two parts of the split"
        else:
            text = "; ".join(
                f"{plural(found.n_images, *_NOUNS[found.part])} "
                f"{'is' if found.n_images == 1 else 'are'} also among the {_NOUNS[found.other][1]} "
                f"(for example {found.examples[0][0]} = {found.examples[0][1]})"
                for found in self.overlaps
            )
        return text + (f"; {self.n_unreadable} unreadable" if self.n_unreadable else "")


def check_disjoint(image_set: ImageSet, split: Split, *, strict: bool = False) -> DisjointReport:
    """Check by row and by content that no image is in two parts of a split.

    Queries must not be training images or in the database. Training images may be in the database
    if the protocol allows it. Contents are compared by the SHA-256 of the pixels for sets in
    memory, and of the bytes for files; only files of equal size are read.

    Parameters
    ----------
    strict
        Whether shared contents are an error; shared rows always are.

    Raises
    ------
    ProtocolError
        If parts share rows; with ``strict``, if they share contents.
    """
    pairs = [("queries", "training"), ("queries", "database")]
    if not split.training_in_database:
        pairs.append(("training", "database"))
    rows = {"queries": split.queries, "training": split.training, "database": split.database}
    for part, other in pairs:
        _check_rows(image_set, split.protocol, (part, rows[part]), (other, rows[other]))
    content, n_unreadable = _content_ids(image_set, split.part("all"))
    found = (
        _find_overlap(image_set, content, (part, rows[part]), (other, rows[other]))
        for part, other in pairs
    )
    report = DisjointReport(tuple(one for one in found if one is not None), n_unreadable)
    if strict and not report.is_disjoint:
        raise ProtocolError(
            f"{split.protocol}: {report.summary()}; remove the copies, or set `strict=False`"
        )
    return report


def copies_of(images: ImageSet, rows: Rows, others: Iterable[tuple[ImageSet, Rows]]) -> Rows:
    """Those of ``rows`` whose content is also that of an image of ``others``: int64, sorted.

    Contents are compared as in `check_disjoint`; images in memory are never copies of files.
    """
    by_size: dict[int, set[bytes]] = {}
    sizes = {row: size for row in rows.tolist() if (size := _size(images, row)) is not None}
    wanted = set(sizes.values())
    for other, other_rows in others:
        for row in other_rows.tolist():
            if (size := _size(other, row)) in wanted and (digest := _digest(other, row)):
                by_size.setdefault(size, set()).add(digest)
    found = [row for row, size in sizes.items() if _digest_in(images, row, by_size.get(size))]
    return np.array(sorted(found), dtype=np.int64)


def _digest_in(images: ImageSet, row: int, digests: set[bytes] | None) -> bool:
    return digests is not None and _digest(images, row) in digests


def _size(images: ImageSet, row: int) -> int | None:
    """Bytes of an image; None if its file cannot be read."""
    if images.pixels is not None:
        return int(images.pixels[row].nbytes)
    try:
        return _path(images, row).stat().st_size
    except OSError:
        return None


def _digest(images: ImageSet, row: int) -> bytes | None:
    """SHA-256 of an image's content; None if its file cannot be read."""
    if images.pixels is not None:
        return hashlib.sha256(images.pixels[row].tobytes()).digest()
    try:
        return bytes.fromhex(file_digest(_path(images, row), "sha256"))
    except OSError:
        return None


_Part = tuple[str, Rows]


def _check_rows(image_set: ImageSet, protocol: str, part: _Part, other: _Part) -> None:
    shared = np.intersect1d(part[1], other[1], assume_unique=True)
    if shared.size:
        raise ProtocolError(
            f"{protocol}: expected no image in both {part[0]} and {other[0]}, found {shared.size} "
            f"(for example {image_set.names[shared[0]]}); remove them from one of the two"
        )


def _find_overlap(
    image_set: ImageSet, content: dict[int, bytes], part: _Part, other: _Part
) -> Overlap | None:
    row_of: dict[bytes, int] = {}
    for row in other[1].tolist():
        if row in content:
            row_of.setdefault(content[row], row)
    shared = [
        (row, row_of[content[row]])
        for row in part[1].tolist()
        if row in content and content[row] in row_of
    ]
    if not shared:
        return None
    examples = tuple(
        (image_set.names[row], image_set.names[other_row])
        for row, other_row in shared[:_MAX_EXAMPLES]
    )
    return Overlap(part[0], other[0], len(shared), examples)


def _content_ids(image_set: ImageSet, rows: Rows) -> tuple[dict[int, bytes], int]:
    """Digest by row, for rows that may have a copy; and the number of unreadable files."""
    if image_set.pixels is not None:
        pixels = image_set.pixels
        return {row: hashlib.sha256(pixels[row].tobytes()).digest() for row in rows.tolist()}, 0
    rows_by_size: dict[int, list[int]] = {}
    n_unreadable = 0
    for row in rows.tolist():
        try:
            rows_by_size.setdefault(_path(image_set, row).stat().st_size, []).append(row)
        except OSError:
            n_unreadable += 1
    content: dict[int, bytes] = {}
    for same_size in rows_by_size.values():
        for row in same_size if len(same_size) > 1 else ():
            try:
                content[row] = bytes.fromhex(file_digest(_path(image_set, row), "sha256"))
            except OSError:
                n_unreadable += 1
    return content, n_unreadable


def _path(image_set: ImageSet, row: int) -> Path:
    return (image_set.root or Path()) / image_set.names[row]
