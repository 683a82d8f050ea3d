"""The interface of a file format for codes: a reader, a writer and what it can store."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from hashkit.codesets import CodeDatabase
from hashkit.errors import CodesError
from hashkit.files.writing import make_parents, written_whole
from hashkit.messages.os_errors import cannot_write

__all__ = ["Format", "WriteProgress", "check_new", "naming", "whole_file"]

WriteProgress: TypeAlias = Callable[[int, int], None]
"""Called as ``progress(done, total)``, in arbitrary units: only the ratio is meaningful."""


class Reader(Protocol):
    """Opens a file of codes."""

    def __call__(self, path: Path, n_bits: int | None) -> CodeDatabase:
        """Open the codes of ``path``; ``n_bits`` is used if the file does not contain the number.

        Raises
        ------
        HashkitError
            If the file cannot be read, is inconsistent, or contradicts ``n_bits``.
        """
        ...


class Writer(Protocol):
    """Writes a file of codes."""

    def __call__(
        self, path: Path, database: CodeDatabase, *, overwrite: bool, progress: WriteProgress | None
    ) -> None:
        """Write the rows that are not deleted to ``path`` atomically.

        Raises
        ------
        HashkitError
            If the file exists and ``overwrite`` is False, or the format cannot store the codes.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format for codes; `hashkit.formats.FORMATS` maps suffixes to formats.

    Attributes
    ----------
    name
        Name of the format in messages.
    read, write
        See `Reader` and `Writer`.
    keeps_names, keeps_labels
        Whether it stores names, and labels with the names of their classes.
    keeps_bits
        Whether it stores the number of bits; if not, readers assume all bits of the bytes.
    """

    name: str
    read: Reader
    write: Writer
    keeps_names: bool = True
    keeps_labels: bool = True
    keeps_bits: bool = True


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Prefix errors about the values of a file with its path."""
    try:
        yield
    except CodesError as error:
        raise CodesError(f"{path}: {error}") from None


def check_new(path: Path, overwrite: bool) -> None:
    """Raise `CodesError` if a file exists that may not be replaced."""
    if not overwrite and os.path.exists(path) and not path.is_dir():  # noqa: PTH110 - long names
        raise CodesError(f"{path}: exists already; replace it with `overwrite=True`")


@contextlib.contextmanager
def whole_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield the path of a file to write, which then replaces ``path`` atomically.

    Raises
    ------
    CodesError
        If ``path`` exists and ``overwrite`` is False, or cannot be written.
    """
    try:
        check_new(path, overwrite)
        make_parents(path)
        with written_whole(path) as part:
            yield part
    except OSError as error:
        raise CodesError(cannot_write(error, path)) from error
