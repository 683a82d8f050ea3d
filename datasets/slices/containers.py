"""Files that hold many images each: how they are named, found again and reported."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.slices.plan import SourceFile
from hashkit.errors import DatasetError, HashkitError, ImageError
from hashkit.imaging.formats import readable_suffixes
from hashkit.inputs.limits import TooLargeError
from hashkit.inputs.paths import with_home
from hashkit.messages.foreign_errors import foreign_message

__all__ = [
    "Places",
    "check_unchanged",
    "container_errors",
    "container_kind",
    "container_names",
    "find_containers",
    "image_errors",
]

_KINDS: Final[dict[str, Literal["parquet", "tar"]]] = {".parquet": "parquet", ".tar": "tar"}
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d{1,9})\.\.(\d{1,9})", re.ASCII)
_MOST_FILES: Final = 1_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Where the images of a set are.

    Attributes
    ----------
    files
        The containers.
    names
        Name of each image.
    where
        int64 [n, 3]: number of the container, and two numbers that say where in it.
    """

    files: Sequence[SourceFile]
    names: Sequence[str]
    where: NDArray[np.int64]

    def subset(self, rows: NDArray[np.integer[Any]]) -> Places:
        """The places of ``rows``, int [m], in that order."""
        return Places(self.files, [self.names[row] for row in rows], self.where[rows])


def find_containers(text: str) -> list[Path]:
    """The containers that a text names, absolute; none if it names a list or a folder of images.

    It is a file, a folder of such files without images or folders in it, a pattern with ``*``, or a
    list in braces: ``train-{000..099}.tar``.

    Raises
    ------
    DatasetError
        If the files are of several kinds, or a pattern matches none.
    """
    path = with_home(text)
    if path.is_dir():
        return _in_folder(path)
    if path.exists() or not any(mark in text for mark in "*?[{"):
        return _checked([path.absolute()], text) if _suffix(path) in _KINDS else []
    found = [
        Path(name)
        for one in _expanded(str(path.absolute()), text)
        for name in (sorted(glob.glob(one)) if glob.has_magic(one) else [one])  # noqa: PTH207
    ]
    if not found:
        raise DatasetError(f"{text}: expected Parquet files or tars by this pattern, found none")
    return _checked(found, text)


def container_kind(files: Sequence[Path]) -> Literal["parquet", "tar"]:
    """What the containers are; all are of one kind."""
    return _KINDS[_suffix(files[0])]


def container_names(files: Sequence[Path]) -> list[str]:
    """Name of each container: its path below the folder that all are in."""
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return [file.relative_to(folder).as_posix() for file in files]


def check_unchanged(file: SourceFile) -> None:
    """Check that a container is still as long as when its images were listed.

    Raises
    ------
    DatasetError
        If it is not, or is gone.
    """
    found = SourceFile.of(Path(file.path))
    if found.n_bytes != file.n_bytes:
        raise DatasetError(
            f"{file.path}: expected {file.n_bytes} bytes, as when its images were listed, found "
            f"{found.n_bytes}: make the set again with `overwrite=True`"
        )


@contextlib.contextmanager
def container_errors(path: Path, what: str) -> Iterator[None]:
    """Turn any error of reading a container into a `DatasetError` that names it."""
    try:
        yield
    except HashkitError:
        raise
    except TooLargeError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except Exception as error:  # for damaged files, tarfile and pyarrow raise many kinds
        raise DatasetError(f"{path}: cannot be read as {what} ({foreign_message(error)})") from None


@contextlib.contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Turn the errors of a container into the `ImageError` of one image."""
    try:
        yield
    except DatasetError as error:
        raise ImageError(f"{name}: {error}", "broken") from None


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _in_folder(folder: Path) -> list[Path]:
    """The containers of a folder; none if it is a folder of images."""
    found = []
    images = readable_suffixes()
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror})") from None
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir() or _suffix(path) in images:
            return []
        if _suffix(path) in _KINDS:
            found.append(path.absolute())
    return _checked(found, str(folder)) if found else []


def _checked(files: list[Path], text: str) -> list[Path]:
    packed = next((file for file in files if file.name.lower().endswith(_COMPRESSED)), None)
    if packed is not None:
        raise DatasetError(
            f"{packed}: expected a tar that is not compressed, as images in it are read by their "
            "place: unpack it to a .tar"
        )
    kinds = {_suffix(file) for file in files}
    if len(kinds) > 1 or not kinds <= set(_KINDS):
        raise DatasetError(
            f"{text}: expected Parquet files or tars, all of one kind, found "
            f"{', '.join(sorted(kind or 'no suffix' for kind in kinds))}: name one kind with a "
            "pattern, such as 'photos/*.tar'"
        )
    return files


def _expanded(pattern: str, text: str) -> Iterator[str]:
    """The texts that a pattern with lists in braces stands for, in order."""
    parts = _BRACES.split(pattern)
    choices = [_choices(part) if at % 2 else [part] for at, part in enumerate(parts)]
    n_texts = int(np.prod([len(one) for one in choices], dtype=np.float64))
    if n_texts > _MOST_FILES:
        raise DatasetError(f"{text}: expected at most {_MOST_FILES:,} files, found {n_texts:,}")
    for chosen in itertools.product(*choices):
        yield "".join(chosen)


def _choices(inner: str) -> Sequence[str]:
    limits = _RANGE.fullmatch(inner)
    if limits is None:
        return inner.split(",")
    first, last = int(limits[1]), int(limits[2])
    if last - first >= _MOST_FILES:
        raise DatasetError(f"{{{inner}}}: expected at most {_MOST_FILES:,} numbers")
    width = len(limits[1]) if limits[1].startswith("0") or len(limits[1]) == len(limits[2]) else 0
    return [str(number).zfill(width) for number in range(first, last + 1)]
