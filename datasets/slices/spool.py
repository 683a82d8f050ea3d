"""An image list that was read once, kept in a file, with facts about the whole list."""

from __future__ import annotations

import array
import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from hashkit.bank.header import LabelKind
from hashkit.bank.names import ListDigest
from hashkit.datasets.slices.entries import (
    Label,
    Listed,
    blocks_of,
    labels_of,
    lines_of,
    parse_lines,
)
from hashkit.datasets.slices.listings import Listing
from hashkit.errors import DatasetError
from hashkit.inputs.text import shown

__all__ = ["Spool", "spooled"]

_UNKNOWN_CLASS = "-1"
"""Stands for an unknown label among names of classes."""


@contextlib.contextmanager
def spooled(listing: Listing, folder: Path, *, with_labels: bool = True) -> Iterator[Spool]:
    """Read a list into a file without a name in ``folder``, which is removed at the end.

    Per image, 8 bytes of memory are used, to notice names that are listed twice.

    Parameters
    ----------
    with_labels
        Whether the labels of the list are kept.

    Raises
    ------
    DatasetError
        If the list cannot be read, is malformed, mixed, or repeats a name.
    BankError
        If a name cannot be stored in a bank.
    OSError
        If the file cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        spool = Spool(listing, file, with_labels=with_labels)
        spool.read()
        yield spool


class Spool:
    """A list that was read; made by `spooled`.

    Attributes
    ----------
    n_images
        Images of the list.
    label_kind, class_names
        Labels of all images.
    digest
        `hashkit.bank.names.hash_names` of the list; known when `blocks` is exhausted.
    """

    def __init__(self, listing: Listing, file: IO[bytes], *, with_labels: bool) -> None:
        self._listing, self._file, self._with_labels = listing, file, with_labels
        self._digest = ListDigest()
        self._hashes = array.array("q")
        self._kinds: set[type] = set()
        self._words: set[str] = set()
        self._highest = -1
        self._has_unknown = False
        self.n_images = 0
        self.label_kind: LabelKind = "none"
        self.class_names: tuple[str, ...] = ()
        self.digest = ""

    def read(self) -> None:
        """Read the list; see `spooled`."""
        for block in blocks_of(self._listing.entries()):
            names = [entry.name for entry in block]
            self._digest.add_names(names)
            self._hashes.extend(map(hash, names))
            if self._with_labels:
                self._note_labels(block)
            else:
                block = [entry._replace(label=None) for entry in block]
            self._file.writelines(lines_of(block))
            self.n_images += len(block)
        if len(self._kinds) > 1:  # an image without a label has an unknown one
            self._has_unknown = type(None) in self._kinds
            self._kinds.discard(type(None))
        if len(self._kinds) > 1:
            raise DatasetError(
                f"{self._listing.images}: expected labels of one kind for all images, found "
                "several kinds: give each image one number, or each one name, or none at all"
            )
        self._refuse_repeated()
        self._settle_classes()

    def blocks(self) -> Iterator[list[bytes]]:
        """The lines of the list, with numbers for labels, in blocks; may be called once."""
        n_classes = len(self.class_names)
        is_labelled = self.label_kind != "none"
        shape = [self.n_images] if self.label_kind == "single" else [self.n_images, n_classes]
        self._digest.begin_labels(shape if is_labelled else None)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        is_rewritten = bool(self._words) or self._has_unknown
        self._file.seek(0)
        for lines in blocks_of(self._file):
            if not is_labelled:
                yield lines
                continue
            where = str(self._listing.images)
            entries = parse_lines(lines, where)
            if is_rewritten:
                entries = [self._numbered(entry, numbers) for entry in entries]
            labels = labels_of(entries, self.label_kind, n_classes, where)
            assert labels is not None  # noqa: S101 - the list is labelled
            self._digest.add_labels(labels)
            yield lines_of(entries) if is_rewritten else lines
        self.digest = self._digest.hexdigest()

    def _numbered(self, entry: Listed, numbers: dict[str, int]) -> Listed:
        """The entry with the number of its class; unknown where it has no label."""
        if isinstance(entry.label, str):
            return entry._replace(label=numbers.get(entry.label, -1))
        unknown: Label = () if self.label_kind == "multi" else -1
        return entry._replace(label=unknown) if entry.label is None else entry

    def _note_labels(self, block: Sequence[Listed]) -> None:
        for label in (entry.label for entry in block):
            self._kinds.add(type(label))
            if isinstance(label, int):
                self._highest = max(self._highest, label)
            elif isinstance(label, str):
                self._words.add(label)

    def _settle_classes(self) -> None:
        names, n_columns = self._listing.class_names, self._listing.n_columns
        if not self._with_labels:
            return
        if n_columns:
            self.label_kind = "multi"
            names = names or tuple(map(str, range(n_columns)))
        elif self._words:
            self.label_kind = "single"
            names = tuple(sorted(self._words - {_UNKNOWN_CLASS}))
        elif self._kinds == {int}:
            self.label_kind = "single"
            names = names or tuple(map(str, range(self._highest + 1)))
        self.class_names = names if self.label_kind != "none" else ()

    def _refuse_repeated(self) -> None:
        hashes = np.sort(np.frombuffer(self._hashes, np.int64))
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        self._hashes = array.array("q")
        if not suspects:
            return
        seen: set[str] = set()
        for name in _names(self._file):
            if hash(name) in suspects:
                if name in seen:
                    raise DatasetError(
                        f"{self._listing.images}: expected each image once, found {shown(name)} "
                        "twice: remove one of them"
                    )
                seen.add(name)


def _names(file: IO[bytes]) -> Iterator[str]:
    file.seek(0)
    lines: Iterable[bytes] = file
    for block in blocks_of(lines):
        yield from (entry.name for entry in parse_lines(block, "the list"))
