"""The images of a folder as they are now: names, sizes and times."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.decoding import Fault
from hashkit.datasets.folders import is_utf8, left_out
from hashkit.datasets.walking import Found, find_images
from hashkit.errors import DatasetError

__all__ = ["Listing", "list_folder"]


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """The images below a folder.

    Attributes
    ----------
    folder
        The folder's real path.
    names
        Paths relative to the folder, with forward slashes; in no order.
    sizes
        uint64 [n], bytes.
    mtimes_ns
        int64 [n], time of the last change, nanoseconds since 1970.
    faults
        Images that are not listed because their size and time cannot be read, or because their
        names are not UTF-8 and cannot be stored in a bank.
    unknown
        Names, or prefixes of names that end with a slash, whose images may or may not exist: files
        and folders without read permission, images that need an extra that is not installed, and
        broken links to folders.
    left_out
        What else the folder contains, one line for each kind.
    """

    folder: Path
    names: list[str]
    sizes: NDArray[np.uint64]
    mtimes_ns: NDArray[np.int64]
    faults: tuple[Fault, ...] = ()
    unknown: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def is_unknown(self, name: str) -> bool:
        """Whether it is unknown if an image of this name exists."""
        names, beginnings = self._unknown_names
        return name in names or name.startswith(beginnings)

    @functools.cached_property
    def _unknown_names(self) -> tuple[frozenset[str], tuple[str, ...]]:
        beginnings = tuple(one for one in self.unknown if one.endswith("/"))
        return frozenset(self.unknown).difference(beginnings), beginnings


def list_folder(folder: str | os.PathLike[str]) -> Listing:
    """List the images of a folder and its subfolders, in one walk that opens no file.

    Images are recognised as in `hashkit.datasets.folders.open_image_folder`. No folder is read
    twice, whatever links lead to it.

    Raises
    ------
    DatasetError
        If there is no such folder, or it or a folder below it cannot be read.
    """
    given = Path(folder).absolute()
    if not given.is_dir():
        raise DatasetError(f"{given}: expected a folder of images, found no such folder")
    root = given.resolve()
    found = find_images(str(root), with_status=True)
    faults = [*_unreadable(found, given), *_without_nameless(found, given)]
    statuses = np.array(found.statuses, np.int64).reshape(-1, 2)
    gone = {name for name, error in found.unreadable if _is_gone(error)}
    return Listing(
        root,
        found.names,
        statuses[:, 0].astype(np.uint64),
        np.ascontiguousarray(statuses[:, 1]),
        tuple(dataclasses.replace(fault, row=at) for at, fault in enumerate(faults)),
        (
            *found.closed,
            *(f"{name}/" for name in found.dangling),
            *(name for name, _ in found.unreadable if name not in gone),
            *found.without_extra,
        ),
        tuple(left_out(dataclasses.replace(found, closed=[]))),
    )


def _unreadable(found: Found, folder: Path) -> Iterator[Fault]:
    for name in found.closed:
        message = f"{folder / name}: the folder may not be read; change its permissions"
        yield Fault(0, name, "missing", message)
    for name, error in found.unreadable:
        reason = "the link leads nowhere" if _is_gone(error) else error.strerror or str(error)
        yield Fault(0, name, "missing", f"{folder / name}: cannot be read ({reason})")


def _is_gone(error: OSError) -> bool:
    """Whether a link is broken, or the file was removed during the walk."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _without_nameless(found: Found, folder: Path) -> Iterator[Fault]:
    """Remove names that are not UTF-8 from what was found, and yield a fault for each."""
    if is_utf8("".join(found.names)):
        return
    listed = list(zip(found.names, found.statuses, strict=True))
    for name in found.names:
        if not is_utf8(name):
            message = f"{folder / name}: the name is not UTF-8; rename the file"
            yield Fault(0, name, "unsupported", message)
    found.names = [name for name, _ in listed if is_utf8(name)]
    found.statuses = [status for name, status in listed if is_utf8(name)]
