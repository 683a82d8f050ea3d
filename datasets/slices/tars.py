"""Images in tars, as WebDataset packs them; nothing is extracted."""

from __future__ import annotations

import logging
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.list_lines import MAX_CLASSES
from hashkit.datasets.slices.containers import (
    Places,
    container_errors,
    container_names,
    image_errors,
)
from hashkit.datasets.slices.entries import Label, Listed
from hashkit.datasets.slices.listings import Listing
from hashkit.datasets.slices.plan import SourceFile
from hashkit.datasets.tar_members import tar_members
from hashkit.errors import DatasetError, ImageError
from hashkit.imaging.content import FileContent
from hashkit.imaging.formats import readable_suffixes
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import open_file
from hashkit.inputs.text import shown

__all__ = ["TarContents", "TarListing"]

_CONTAINER: Final = "an uncompressed tar"
_LARGEST_LABEL: Final = 1024
_MOST_SUFFIXES: Final = 8
_LABEL: Final = ".cls"

_log = logging.getLogger(__name__)


class TarListing(Listing):
    """Several tars.

    Files that have the suffix of an image are the images. Files of one name up to the first dot are
    one sample; its ``.cls``, a number or the name of a class, is the label.
    """

    kind = "tar"

    def __init__(self, images: Path, files: Sequence[Path]) -> None:
        super().__init__(images, None)
        self._files = files

    def files(self) -> tuple[SourceFile, ...]:
        """The tars."""
        return tuple(SourceFile.of(path) for path in self._files)

    def entries(self) -> Iterator[Listed]:
        """The images in the order of the tars and their members."""
        others: Counter[str] = Counter()
        names = container_names(self._files)
        for number, (path, name) in enumerate(zip(self._files, names, strict=True)):
            with container_errors(path, _CONTAINER):
                yield from _entries_of(path, name, number, others)
        if others:
            most = sorted(others.items(), key=lambda one: (-one[1], one[0]))[:_MOST_SUFFIXES]
            listed = ", ".join(f"{count:,} {kind}" for kind, count in most)
            _log.warning(
                "%s: left out members that are not read as images: %s", self.images, listed
            )


class TarContents:
    """Images in tars, read by their place."""

    is_sequential = False

    def __init__(self, places: Places) -> None:
        self._places = places

    def read(self, row: int) -> FileContent:
        """See `hashkit.datasets.imageset.Contents`."""
        number, offset, size = self._places.where[row].tolist()
        file, name = self._places.files[number], self._places.names[row]
        with image_errors(name), container_errors(Path(file.path), _CONTAINER):
            try:
                check_limit("image_bytes", size, "the file", name)
            except TooLargeError as error:
                raise ImageError(f"{name}: {error.strerror}", "too-large") from None
            with open_file(file.path, buffering=0) as tar:
                tar.seek(offset)
                data = tar.read(size)
        if len(data) < size:
            raise ImageError(f"{name}: {file.path} is cut off", "truncated")
        return FileContent(name, data, file.mtime_ns)

    def subset(self, rows: NDArray[np.integer[Any]]) -> TarContents:
        """See `hashkit.datasets.imageset.Contents`."""
        return TarContents(self._places.subset(rows))


def _entries_of(path: Path, name: str, number: int, others: Counter[str]) -> Iterator[Listed]:
    suffixes = readable_suffixes()
    sample: list[tarfile.TarInfo] = []
    label: Label = None
    key = ""
    with open_file(path) as file:
        for member in tar_members(file, lambda text: _log.warning("%s: %s", path, text)):
            kind = _kind_of(member)
            if kind not in suffixes and kind != _LABEL:
                if kind != _FOLDER:
                    others[kind] += 1
                continue
            if (found := _key(member.name)) != key:
                yield from _of_sample(sample, label, name, number)
                key, label, sample = found, None, []
            if kind == _LABEL:
                label = _label_of(file, member, path)
            else:
                sample.append(member)
    yield from _of_sample(sample, label, name, number)


_FOLDER: Final = "folder"


def _of_sample(
    sample: Sequence[tarfile.TarInfo], label: Label, name: str, number: int
) -> Iterator[Listed]:
    for member in sample:
        place = (number, member.offset_data, member.size)
        yield Listed(f"{name}/{member.name.removeprefix('./')}", label, place)


def _kind_of(member: tarfile.TarInfo) -> str:
    """Suffix of a member that is a file; otherwise the kind of member."""
    if member.isdir():
        return _FOLDER
    if not member.isreg() or member.issparse():
        return "links and devices"
    last = member.name.rpartition("/")[2]
    if last.startswith("."):
        return "hidden files"
    return Path(last).suffix.lower() or "without a suffix"


def _key(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _label_of(file: IO[bytes], member: tarfile.TarInfo, path: Path) -> Label:
    """A number, or the name of a class."""
    file.seek(member.offset_data)
    data = file.read(min(member.size, _LARGEST_LABEL + 1))
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _LARGEST_LABEL:
        raise DatasetError(
            f"{path}: expected a class number or a name in {shown(member.name)}, found {len(data)} "
            "other bytes: make the tar again, with valid labels or without labels"
        )
    is_number = text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()
    if not is_number:
        return text
    if not -1 <= (number := int(text[:20])) < MAX_CLASSES:
        raise DatasetError(
            f"{path}: expected a class from 0 to {MAX_CLASSES - 1:,}, or -1, in "
            f"{shown(member.name)}, found {shown(text)}"
        )
    return number
