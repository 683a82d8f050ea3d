"""A table of numbers on disk that is filled from the top, and continued after an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import RunError
from hashkit.files.writing import file_digest, write_whole
from hashkit.inputs.json_text import read_json
from hashkit.inputs.opening import open_file
from hashkit.inputs.schema import dataclass_from
from hashkit.runs.run import write_json

__all__ = ["Append", "OutputTable", "check_table", "record_path"]

Append: TypeAlias = Callable[[NDArray[np.float32]], None]
"""Writes the next rows, float32 [n, n_columns]."""


@dataclasses.dataclass(frozen=True)
class _Progress:
    """Progress of a table, as the file beside it stores it."""

    fingerprint: str
    n_done: int
    sha256: str = ""
    n_rows: int = 0


class OutputTable:
    """A ``.npy`` file, float32 [n_rows, n_columns], with its progress in a ``.json`` beside it.

    It is written, not memory-mapped: on a full disk a write fails, but a mapping would end the
    process. A complete table may be a link, even to that of another run, as it is no longer
    written. An incomplete one that is a link is made again in a file of its own.

    Parameters
    ----------
    path
        The ``.npy`` file.
    n_rows, n_columns
        Its shape when it is complete.
    fingerprint
        What it is made from; a table with another one is made again.
    """

    def __init__(self, path: Path, n_rows: int, n_columns: int, fingerprint: str) -> None:
        self._path = path
        self._shape = (n_rows, n_columns)
        self._row_bytes = 4 * n_columns
        self._fingerprint = fingerprint

    def n_done(self) -> int:
        """Number of rows that are there, from the first."""
        done = self._progress()
        return 0 if done is None else done.n_done

    def is_whole(self) -> bool:
        """Whether the table is complete, and its content is what was written; reads it once."""
        done = self._progress()
        if done is None or done.n_done < self._shape[0]:
            return False
        return file_digest(self._path, "sha256") == done.sha256

    @contextlib.contextmanager
    def filled(self, n_rows_per_save: int) -> Iterator[Append]:
        """Yield the function that writes the rows after `n_done`.

        Parameters
        ----------
        n_rows_per_save
            Rows after which the progress is recorded; a kill loses no more than that.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        n_done = n_saved = self.n_done()
        if not n_done:
            # Before the table is replaced, so that no progress is recorded for the new one.
            for path in (self._progress_path, self._path):
                if path.is_symlink():  # in a run from somebody else, it may lead to a user's file
                    path.unlink()
            self._save_progress(0)
            write_whole(self._path, self._header())

        def append(rows: NDArray[np.float32]) -> None:
            nonlocal n_done, n_saved
            file.write(np.ascontiguousarray(rows, dtype="<f4").data)
            n_done += len(rows)
            if n_done - n_saved >= n_rows_per_save or n_done == self._shape[0]:
                file.flush()
                os.fsync(file.fileno())
                self._save_progress(n_done)
                n_saved = n_done

        with self._path.open("r+b") as file:
            file.seek(self._end_of(n_done))
            file.truncate()
            yield append

    def read(self) -> NDArray[np.float32]:
        """The complete table, memory-mapped; `n_done` has compared its header."""
        start = len(self._header())
        return np.memmap(self._path, dtype="<f4", mode="r", offset=start, shape=self._shape)

    def _progress(self) -> _Progress | None:
        """What was recorded; None if it is of another table, or if the rows are not there."""
        try:
            saved = read_json(self._progress_path, RunError)
            done = dataclass_from(_Progress, saved, name="", error=RunError, may_have_more=True)
            has_rows = self._has_rows(done.n_done)
        except (OSError, RunError):
            return None
        is_ours = done.fingerprint == self._fingerprint and 0 <= done.n_done <= self._shape[0]
        return done if is_ours and has_rows else None

    def _has_rows(self, n_rows: int) -> bool:
        status = self._path.lstat()
        is_shared = stat.S_ISLNK(status.st_mode) or status.st_nlink > 1
        if is_shared and n_rows < self._shape[0]:
            return False
        header = self._header()
        with open_file(self._path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            return n_bytes >= self._end_of(n_rows) and file.read(len(header)) == header

    def _header(self) -> bytes:
        fields: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, fields)
        return header.getvalue()

    def _end_of(self, n_rows: int) -> int:
        return len(self._header()) + n_rows * self._row_bytes

    def _save_progress(self, n_done: int) -> None:
        progress = {"fingerprint": self._fingerprint, "n_done": n_done, "n_rows": self._shape[0]}
        if n_done == self._shape[0]:
            progress["sha256"] = file_digest(self._path, "sha256")
        write_json(self._progress_path, progress)

    @property
    def _progress_path(self) -> Path:
        return record_path(self._path)


def record_path(path: Path) -> Path:
    """The file beside a table that records its progress and its digest."""
    return path.with_suffix(".json")


def check_table(path: Path) -> str:
    """Compare a table with what was recorded of it; returns one line on what was checked.

    Raises
    ------
    RunError
        If the table or its record is missing or damaged.
    """
    remedy = "remove both files, and the same command computes them again"
    record = record_path(path)
    for one in (path, record):
        if not one.is_file():
            raise RunError(f"{path}: expected it and {record.name}, found no {one.name}: {remedy}")
    saved = read_json(record, RunError)
    done = dataclass_from(
        _Progress, saved, name=str(record), error=RunError, remedy=remedy, may_have_more=True
    )
    if done.n_done < done.n_rows:
        return f"its record: {done.n_done:,} of {done.n_rows:,} rows are there"
    try:
        found = file_digest(path, "sha256")
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if found != done.sha256:
        raise RunError(
            f"{path}: damaged: expected SHA-256 {done.sha256[:12] or 'unknown'}, "
            f"found {found[:12]}: {remedy}"
        )
    return f"SHA-256 {found}"
