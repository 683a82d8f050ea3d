"""List files, as published splits use them: one image per line, with its labels."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.list_lines import N_PROBED, ListParser
from hashkit.datasets.split import Split
from hashkit.errors import DatasetError
from hashkit.inputs.paths import is_file
from hashkit.inputs.text import read_numbered_lines, shown

__all__ = [
    "NOT_TEXT",
    "check_some_exist",
    "is_listed_file",
    "open_list",
    "open_list_split",
    "read_lines",
    "relative_name",
]

NOT_TEXT: Final = (
    "save the list as UTF-8; to open an archive, give the name of the set and the archive's folder "
    "as the root"
)


@dataclasses.dataclass(frozen=True)
class _Listing:
    """A parsed list: names, labels int64 [n], uint8 [n, n_classes] or None, and class names."""

    path: Path
    names: list[str]
    labels: NDArray[Any] | None
    class_names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of the labels, in words."""
        if self.labels is None:
            return "no labels"
        return "one label" if self.labels.ndim == 1 else f"{self.labels.shape[1]} columns of 0 or 1"


def open_list(path: Path, root: Path | None = None) -> ImageSet:
    """Open a list file as an image set of files, named after the list.

    A line is ``path``, ``path 3`` (one label from 0, or -1 where it is unknown) or ``path 0 1 0
    ...`` (two or more columns of 0 or 1, one per class); all lines have the same form. The labels
    are the integers at the end of the line, so a path may contain spaces. A table with commas,
    semicolons or tabs, a heading and quotes is read too. Spaces around a path belong to it if such
    a file exists. Blank lines and lines that begin with ``#`` are skipped.

    Parameters
    ----------
    path
        The list, UTF-8 text.
    root
        The folder that relative paths start from; by default the list's own.

    Raises
    ------
    DatasetError
        If the list is missing, empty, malformed or mixed (with the line number), repeats a path,
        or none of its first files exists.
    """
    root = (path.parent if root is None else root).absolute()
    listing = _parse_list(path, root)
    check_some_exist(listing.names, root, path)
    return ImageSet(
        name=path.stem,
        names=listing.names,
        root=root,
        labels=listing.labels,
        class_names=listing.class_names or _class_names(listing.labels),
    )


def open_list_split(
    *, queries: Path, database: Path, training: Path | None = None, root: Path | None = None
) -> tuple[ImageSet, Split]:
    """Open the lists of a published split as one image set and its split.

    Parameters
    ----------
    queries, database, training
        Lists as for `open_list`, all with the same kind of labels. An image in several lists is
        one image of the set. Without ``training``, the database is the training part.
    root
        The folder that relative paths start from; by default the database list's own.

    Returns
    -------
    tuple
        The set, named after the database list's folder, and a `Split` whose protocol is ``lists``.

    Raises
    ------
    DatasetError
        As for `open_list`; or if the lists have different kinds of labels, or give one image
        different labels.
    """
    root = (database.parent if root is None else root).absolute()
    paths = {"queries": queries, "database": database}
    if training is not None:
        paths["training"] = training
    listings = {part: _parse_list(path, root) for part, path in paths.items()}
    names, labels, rows = _merge(list(listings.values()))
    check_some_exist(names, root, database)
    images = ImageSet(
        name=database.absolute().parent.name,
        names=names,
        root=root,
        labels=labels,
        class_names=_common_names(list(listings.values())) or _class_names(labels),
    )
    by_part = dict(zip(listings, rows, strict=True))
    split = Split(
        protocol="lists",
        seed=0,
        queries=by_part["queries"],
        training=by_part.get("training", by_part["database"]),
        database=by_part["database"],
    )
    return images, split


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Line numbers, from 1, and text of the lines that are not blank or comments.

    Spaces at the beginning and end of a line are kept, as they may belong to a path.

    Raises
    ------
    DatasetError
        If the file is missing or is not UTF-8 text.
    """
    lines = read_numbered_lines(path, DatasetError, "a list", NOT_TEXT, keep_spaces=True)
    return [(number, line) for number, line in lines if line]


def is_listed_file(listed: str, root: Path) -> bool:
    """Whether a listed path is a file."""
    return is_file(root / relative_name(listed, root))


def relative_name(listed: str, root: Path) -> str:
    """Name of a listed path: relative to ``root`` if it is below it, otherwise unchanged."""
    if _is_plain(listed):  # pathlib would take a third of the time of a long list
        return listed
    path = Path(listed)
    if path.is_absolute() and path.is_relative_to(root):
        path = path.relative_to(root)
    return path.as_posix()


def _is_plain(listed: str) -> bool:
    """Whether a path is relative, and written as pathlib would write it."""
    return (
        os.name != "nt"
        and listed not in ("", ".")
        and not listed.startswith(("/", "./"))
        and not listed.endswith(("/", "/."))
        and "//" not in listed
        and "/./" not in listed
    )


def check_some_exist(names: list[str], root: Path, path: Path) -> None:
    """Check that a list is not empty and its root is not wrong.

    Raises
    ------
    DatasetError
        If the list is empty, or none of its first images is a file.
    """
    if not names:
        raise DatasetError(f"{path}: expected one image per line, found no lines")
    if not any(is_file(root / name) for name in names[:N_PROBED]):
        raise DatasetError(
            f"{path}: none of the first {len(names[:N_PROBED])} images exists below {root} (for "
            f"example {shown(names[0])}); set the root to the folder that the paths start from, "
            "and write a path and its labels in each line, `images/1.jpg 3`"
        )


def _parse_list(path: Path, root: Path) -> _Listing:
    lines = read_lines(path)
    parser = ListParser(path, lines, functools.partial(is_listed_file, root=root))
    entries = list(parser.entries(lines))
    line_of: dict[str, int] = {}
    for entry in entries:
        name = relative_name(entry.path, root)
        if name in line_of:
            raise DatasetError(
                f"{path}, line {entry.line}: {name} is listed twice, first in line "
                f"{line_of[name]}; remove one of them"
            )
        line_of[name] = entry.line
    labels = _to_labels([entry.labels for entry in entries], parser.n_columns)
    return _Listing(path, list(line_of), labels, parser.class_names)


def _to_labels(columns: Sequence[Sequence[str]], n_columns: int) -> NDArray[Any] | None:
    if n_columns == 0:
        return None
    if n_columns == 1:
        return np.array([int(labels[0]) for labels in columns], dtype=np.int64)
    # Converted at once: a list of 100,000 images and 100 classes has ten million digits.
    digits = "".join(map("".join, columns)).encode()
    bits = np.frombuffer(digits, dtype=np.uint8).reshape(-1, n_columns) - ord("0")
    return bits.astype(np.uint8)


def _common_names(listings: list[_Listing]) -> tuple[str, ...]:
    """Class names of the headings; empty if no list has a heading."""
    named = [listing for listing in listings if listing.class_names]
    for listing in named[1:]:
        if listing.class_names != named[0].class_names:
            raise DatasetError(
                f"{listing.path}: expected the classes of {named[0].path} in its heading, in the "
                "same order"
            )
    return named[0].class_names if named else ()


def _class_names(labels: NDArray[Any] | None) -> tuple[str, ...]:
    if labels is None:
        return ()
    n_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    return tuple(str(label) for label in range(n_classes))


def _merge(
    listings: list[_Listing],
) -> tuple[list[str], NDArray[Any] | None, list[NDArray[np.int64]]]:
    """Union of lists by name: names, labels, and the sorted rows of each list."""
    first = listings[0]
    for listing in listings[1:]:
        if listing.kind != first.kind:
            raise DatasetError(
                f"expected lists of one kind, found {first.kind} in {first.path} "
                f"and {listing.kind} in {listing.path}"
            )
    row_of: dict[str, int] = {}
    labels: list[Any] = []
    for listing in listings:
        for at, name in enumerate(listing.names):
            row = row_of.setdefault(name, len(row_of))
            label = None if listing.labels is None else listing.labels[at]
            if row == len(labels):
                labels.append(label)
            elif listing.labels is not None and np.any(labels[row] != label):
                raise DatasetError(
                    f"{listing.path}: {name} has different labels in another list of the split"
                )
    rows = [
        np.array(sorted(row_of[name] for name in listing.names), dtype=np.int64)
        for listing in listings
    ]
    merged = None if first.labels is None else np.array(labels, dtype=first.labels.dtype)
    return list(row_of), merged, rows
