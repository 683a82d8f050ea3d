"""What every format of code files has: a reader, a writer, and what it can hold."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from hashkit.codesets import CodeDatabase
from hashkit.errors import CodesError
from hashkit.files import written_whole

__all__ = ["Format", "WriteProgress", "whole_file"]

WriteProgress: TypeAlias = Callable[[int, int], None]
"""Called as ``progress(done, total)``, in units of its own: only their ratio says something."""


class Reader(Protocol):
    """Opens a file of codes."""

    def __call__(self, path: Path, n_bits: int | None) -> CodeDatabase:
        """Codes of ``path``; ``n_bits`` is for files that do not say it, and may contradict none.

        Raises
        ------
        HashkitError
            If it cannot be read, or contradicts itself or ``n_bits``.
        """
        ...


class Writer(Protocol):
    """Writes a file of codes."""

    def __call__(
        self, path: Path, database: CodeDatabase, *, overwrite: bool, progress: WriteProgress | None
    ) -> None:
        """Write the rows that are not deleted to ``path``, whole or not at all.

        Raises
        ------
        HashkitError
            If it exists and ``overwrite`` is False, or the format cannot hold the codes.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of code files; its entry in `hashkit.formats.FORMATS` says by which suffix.

    Attributes
    ----------
    name
        What it is called in messages.
    read, write
        See `Reader` and `Writer`.
    keeps_names, keeps_labels
        Whether a file of it holds names, and labels with the names of their classes.
    keeps_bits
        Whether it says how many bits a code has; if not, that is taken for all of its bytes.
    """

    name: str
    read: Reader
    write: Writer
    keeps_names: bool = True
    keeps_labels: bool = True
    keeps_bits: bool = True


@contextlib.contextmanager
def whole_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """Give the path of a file to write, which then takes the place of ``path`` atomically.

    Raises
    ------
    CodesError
        If ``path`` exists and ``overwrite`` is False, or cannot be written.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not overwrite:
        raise CodesError(f"{path}: exists already; replace it with `overwrite=True`")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            yield part
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise CodesError(f"{path}: cannot be written ({reason})") from error
