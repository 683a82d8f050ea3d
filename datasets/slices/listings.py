"""Image lists that are read one image after another: what every kind of list gives."""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.list_lines import N_PROBED, ListParser
from hashkit.datasets.lists import NOT_TEXT, check_some_exist, is_listed_file, relative_name
from hashkit.datasets.slices.entries import Label, Listed
from hashkit.datasets.slices.plan import ListKind, SourceFile
from hashkit.errors import DatasetError
from hashkit.inputs.text import stream_numbered_lines

__all__ = ["FileListing", "FolderListing", "Listing"]


class Listing(abc.ABC):
    """An image list that is read from its beginning to its end, in constant memory.

    Attributes
    ----------
    kind
        Kind of the list.
    images
        Absolute path of the list.
    root
        The folder that names are relative to; None for images in containers.
    class_names
        Names of the classes, where the list has them; complete after `entries`.
    n_columns
        Classes of images that may have several; 0 for other labels; known after `entries`.
    """

    kind: ClassVar[ListKind]

    def __init__(self, images: Path, root: Path | None) -> None:
        self.images = images
        self.root = root
        self.class_names: tuple[str, ...] = ()
        self.n_columns = 0

    @abc.abstractmethod
    def entries(self) -> Iterator[Listed]:
        """The images in order.

        Raises
        ------
        DatasetError
            If the list cannot be read, or is malformed.
        """

    def files(self) -> tuple[SourceFile, ...]:
        """The files that the list is read from; none for a folder."""
        return ()


class FileListing(Listing):
    """A list file; see `hashkit.datasets.lists.open_list`."""

    kind = "list"

    def __init__(self, images: Path, root: Path | None) -> None:
        super().__init__(images, (images.parent if root is None else root).absolute())

    def files(self) -> tuple[SourceFile, ...]:
        """The list itself."""
        return (SourceFile.of(self.images),)

    def entries(self) -> Iterator[Listed]:
        """The images in the order of the lines; see `Listing.entries`."""
        root = self.root
        assert root is not None  # noqa: S101 - by __init__
        lines = stream_numbered_lines(
            self.images, DatasetError, "a list", NOT_TEXT, keep_spaces=True
        )
        probed = list(itertools.islice(lines, N_PROBED))
        exists = functools.partial(is_listed_file, root=root)
        parser = ListParser(self.images, probed, exists)
        parsed = parser.entries(itertools.chain(probed, lines))
        first = list(itertools.islice(parsed, N_PROBED))
        check_some_exist([relative_name(entry.path, root) for entry in first], root, self.images)
        for entry in itertools.chain(first, parsed):
            yield Listed(relative_name(entry.path, root), _label(entry.labels))
        self.class_names, self.n_columns = parser.class_names, _multi(parser.n_columns)


class FolderListing(Listing):
    """A folder of images, opened with its labels; its names are held in memory."""

    kind = "folder"

    def __init__(self, images: ImageSet, path: Path) -> None:
        super().__init__(path, images.root)
        self._images = images
        self.class_names = images.class_names

    def entries(self) -> Iterator[Listed]:
        """The images in the order of their names."""
        labels = self._images.labels
        for row, name in enumerate(self._images.names):
            yield Listed(name, None if labels is None else int(labels[row]))


def _label(columns: Sequence[str]) -> Label:
    labels = [int(label) for label in columns]
    if len(labels) > 1:
        return tuple(at for at, label in enumerate(labels) if label)
    return labels[0] if labels else None


def _multi(n_columns: int) -> int:
    return n_columns if n_columns > 1 else 0
