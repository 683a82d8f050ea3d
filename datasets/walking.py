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
"""Prefix of the files in which macOS keeps what other file systems cannot; never images."""
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
        Images which need an extra, counted in the same way.
    without_extra
        Their names.
    disguised
        Names of other files that are images by their content.
    n_hidden
        Images whose names begin with a dot.
    closed
        Folders that may not be read, as prefixes of names.
    dangling
        Links without a suffix of images that lead nowhere, for example to a disk that is not
        mounted.
    n_links
        Links to folders and images that are found without them, and are left out.
    statuses
        Size in bytes and time in nanoseconds of each image of ``names``, if they were asked for.
    unreadable
        Images whose size and time are not available, and why; not in ``names``.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    others: Counter[str] = dataclasses.field(default_factory=Counter)
    need_extra: Counter[str] = dataclasses.field(default_factory=Counter)
    without_extra: list[str] = dataclasses.field(default_factory=list)
    disguised: list[str] = dataclasses.field(default_factory=list)
    n_hidden: int = 0
    closed: list[str] = dataclasses.field(default_factory=list)
    dangling: list[str] = dataclasses.field(default_factory=list)
    n_links: int = 0
    statuses: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    unreadable: list[tuple[str, OSError]] = dataclasses.field(default_factory=list)


def find_images(root: str, *, with_status: bool = False) -> Found:
    """Walk through a folder and its subfolders.

    A folder is entered once, and an image taken once, whatever links lead to it: by its own path if
    that is below ``root``, and otherwise by the first link, in the order of their names.

    Images are recognised by their suffix. Files of other suffixes are opened to notice images that
    are not named as such.

    Parameters
    ----------
    with_status
        Whether to look up size and time of each image; other files are then not opened.

    Raises
    ------
    DatasetError
        If ``root`` may not be read, or any folder fails in another way.
    """
    found = Found()
    suffixes = readable_suffixes()
    entered: dict[tuple[int, int], str] = {}
    links = []
    for name, entry in _walk(root, entered, found):
        suffix = _suffix(entry.name)
        if entry.name.startswith("."):
            found.n_hidden += suffix in suffixes and not entry.name.startswith(_APPLE_DOUBLE)
        elif suffix in suffixes and entry.is_symlink():
            links.append((name, entry))
        elif suffix in suffixes:
            _add(found, name, entry, with_status=with_status)
        elif suffix in EXTRA_SUFFIXES:
            found.need_extra[suffix] += 1
            found.without_extra.append(name)
        elif _is_broken_link(entry):
            found.dangling.append(name)
        elif not with_status and _is_image(entry.path):
            found.disguised.append(name)
        else:
            found.others[suffix] += 1
    for name, entry in _new_images(links, entered, found):
        _add(found, name, entry, with_status=with_status)
    return found


def _new_images(
    links: list[tuple[str, os.DirEntry[str]]], entered: dict[tuple[int, int], str], found: Found
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The links to images whose image has no other name; ``entered`` has the prefix of a folder."""
    names, targets = set(found.names if links else ()), set[str]()
    for name, entry in sorted(links, key=lambda link: link[0]):
        target = os.path.realpath(entry.path)
        folder, last = os.path.split(target)
        try:
            prefix = entered.get(_identity(folder))
        except OSError:  # a link to nothing; named like an image, it is a missing image
            prefix = None
        if target in targets or (prefix is not None and prefix + last in names):
            found.n_links += 1
        else:
            targets.add(target)
            yield name, entry


def _add(found: Found, name: str, entry: os.DirEntry[str], *, with_status: bool) -> None:
    if not with_status:
        found.names.append(name)
        return
    try:
        status = entry.stat()
    except OSError as error:
        found.unreadable.append((name, error))
    else:
        found.names.append(name)
        found.statuses.append((status.st_size, status.st_mtime_ns))


def _walk(
    root: str, entered: dict[tuple[int, int], str], found: Found
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Name and entry of every file; ``entered`` gets the folders, with the prefixes of names."""
    folders = [("", root)]
    while folders:
        links: list[tuple[str, str]] = []
        for prefix, folder in sorted(folders):
            yield from _walk_below(prefix, folder, entered, links, found)
        folders = links


def _walk_below(
    prefix: str,
    folder: str,
    entered: dict[tuple[int, int], str],
    links: list[tuple[str, str]],
    found: Found,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Walk through a folder, without those that were ``entered``; collect links to folders."""
    folders = [(prefix, folder)]
    while folders:
        prefix, folder = folders.pop()
        try:
            identity = _identity(folder)
            if identity in entered:
                found.n_links += 1
                continue
            entered[identity] = prefix
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        yield prefix + entry.name, entry
                    elif not entry.name.startswith("."):
                        inner = links if entry.is_symlink() else folders
                        inner.append((f"{prefix}{entry.name}/", entry.path))
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            if not prefix:
                raise _unreadable(folder, error) from None
            if isinstance(error, PermissionError):  # otherwise it is gone by now
                found.closed.append(prefix)
        except OSError as error:
            raise _unreadable(folder, error) from None


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


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    try:
        if not entry.is_symlink():
            return False
        entry.stat()
    except OSError:
        return True
    return False


def _suffix(name: str) -> str:
    stem, _, ending = name.rpartition(".")  # os.path.splitext takes three times as long
    is_usual = len(ending) < _LONGEST_SUFFIX and ending.isalnum() and stem.strip(".")
    return f".{ending.lower()}" if is_usual else ""


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
