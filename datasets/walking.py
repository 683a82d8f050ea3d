"""The image files below a folder, and what else lies there."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from typing import Final

from hashkit.errors import DatasetError
from hashkit.imaging.formats import EXTRA_SUFFIXES, format_of, readable_suffixes
from hashkit.inputs.opening import open_file

__all__ = ["Found", "find_images"]

_SIGNATURE_BYTES: Final = 256
_APPLE_DOUBLE: Final = "._"
"""How macOS names a file that holds what other file systems cannot keep; never an image."""
_LONGEST_SUFFIX: Final = 10


@dataclasses.dataclass
class Found:
    """What lies below a folder.

    Attributes
    ----------
    names
        Paths of the images, relative to the folder, with forward slashes; in no order.
    others
        Files that are left out, counted by suffix in lower case; ``""`` for none.
    need_extra
        Those of them that are images which need an extra.
    disguised
        Names of other files that are images by their content.
    n_hidden
        Images whose names begin with a dot.
    closed
        Folders that may not be read.
    n_links
        Links to folders and images that are found without them, and are left out.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    others: Counter[str] = dataclasses.field(default_factory=Counter)
    need_extra: Counter[str] = dataclasses.field(default_factory=Counter)
    disguised: list[str] = dataclasses.field(default_factory=list)
    n_hidden: int = 0
    closed: list[str] = dataclasses.field(default_factory=list)
    n_links: int = 0


def find_images(root: str) -> Found:
    """Walk through a folder and its subfolders, following links, each folder and image once.

    What can be reached in several ways has the name that leads there without a link, if there is
    one, otherwise the first in the order of names. Images are recognised by their suffix. Files of
    other suffixes are opened to notice images that are not named as such.

    Raises
    ------
    DatasetError
        If ``root`` may not be read, or any folder fails in another way.
    """
    walk = _Walk(root)
    found, links = walk.found, []
    suffixes = readable_suffixes()
    for name, entry in walk.files():
        suffix = _suffix(name)
        if entry.name.startswith("."):
            found.n_hidden += suffix in suffixes and not entry.name.startswith(_APPLE_DOUBLE)
        elif suffix in suffixes:
            (links if entry.is_symlink() else found.names).append(name)
        elif suffix in EXTRA_SUFFIXES:
            found.need_extra[suffix] += 1
        elif _is_image(entry.path):
            found.disguised.append(name)
        else:
            found.others[suffix] += 1
    if links:
        found.names += walk.new_of(sorted(links))
    return found


class _Walk:
    """A walk through a folder, which enters every folder once: links after all that is none."""

    def __init__(self, root: str) -> None:
        self.found = Found()
        self._root = root
        self._entered: dict[tuple[int, int], str] = {}
        self._links: list[str] = []

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Name and entry of every file."""
        yield from self._below("")
        while self._links:
            self._links.sort()
            yield from self._below(self._links.pop(0))

    def new_of(self, links: list[str]) -> Iterator[str]:
        """Those of the links to images whose image has no other name yet."""
        names, targets = set(self.found.names), set[str]()
        for name in links:
            target = os.path.realpath(os.path.join(self._root, name))  # noqa: PTH118
            folder, last = os.path.split(target)
            try:
                prefix = self._entered.get(_identity(folder))
            except OSError:  # a link to nothing; named like an image, it is a missing image
                prefix = None
            if target in targets or (prefix is not None and prefix + last in names):
                self.found.n_links += 1
            else:
                targets.add(target)
                yield name

    def _below(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        folder = os.path.join(self._root, prefix[:-1]) if prefix else self._root  # noqa: PTH118
        inner = []
        try:
            identity = _identity(folder)
            if identity in self._entered:
                self.found.n_links += 1
                return
            with os.scandir(folder) as entries:
                self._entered[identity] = prefix
                for entry in entries:
                    name = prefix + entry.name
                    if not _is_folder(entry):
                        yield name, entry
                    elif entry.name.startswith("."):
                        continue
                    elif entry.is_symlink():
                        self._links.append(name + "/")
                    else:
                        inner.append(name + "/")
        except PermissionError as error:
            if not prefix:
                raise _unreadable(folder, error) from None
            self.found.closed.append(prefix)
        except OSError as error:
            raise _unreadable(folder, error) from None
        for one in inner:
            yield from self._below(one)


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - faster without a path object per folder
    return status.st_dev, status.st_ino


def _unreadable(folder: str, error: OSError) -> DatasetError:
    return DatasetError(f"{folder}: cannot be read ({error.strerror or error})")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a link to itself; named like an image, it is a missing image
        return False


def _suffix(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file
    is_usual = len(suffix) <= _LONGEST_SUFFIX and suffix[1:].isalnum()
    return suffix if is_usual else ""


def _is_image(path: str) -> bool:
    """Whether a file is an image by its first bytes, of a kind with a clear signature.

    Cameras' raw files begin as TIFF files do, so these do not count.
    """
    try:
        with open_file(path, buffering=0) as file:
            kind = format_of(file.read(_SIGNATURE_BYTES) or b"")
    except OSError:
        return False
    return kind not in (None, "BMP", "PNM", "TIFF")
