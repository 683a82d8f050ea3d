"""Tells whether two databases are the same, even if they are open in different processes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import socket
import uuid
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.codesets import CodeDatabase, deleted_mask

__all__ = ["DatabaseMark"]

_PROCESS: Final = uuid.uuid4().hex


@dataclasses.dataclass(frozen=True)
class DatabaseMark:
    """What distinguishes a database from others.

    Attributes
    ----------
    address
        Address of the object in this process.
    identity
        Identity of the bank; empty if there is none.
    file
        The file on its machine; empty if there is none.
    n_rows
        Number of rows, including deleted ones.
    rows
        Digest of the codes and of the deleted rows; empty for codes without one.
    shown
        The database in messages.
    """

    address: str
    identity: str
    file: str
    n_rows: int
    rows: str
    shown: str

    @classmethod
    def of(cls, database: CodeDatabase) -> DatabaseMark:
        """The mark of a database; reads its deleted rows, and the codes of banks of old formats."""
        path = getattr(database, "path", None)
        n_rows = len(database)
        shown = f"codes of {n_rows:,} rows" if path is None else f"{path} ({n_rows:,} rows)"
        digest = getattr(database, "rows_digest", None)
        rows = "" if digest is None else f"{digest()} {_deleted_digest(database)}"
        address = f"{_PROCESS} {id(database)}"
        identity = getattr(database, "identity", "")
        return cls(address, identity, _file(path), n_rows, rows, shown)

    def is_same(self, other: DatabaseMark) -> bool:
        """Whether both are one object, have one identity, or are one file."""
        if self.address == other.address:
            return True
        if self.identity and other.identity:
            return self.identity == other.identity
        return bool(self.file) and self.file == other.file

    def has_same_rows(self, other: DatabaseMark) -> bool:
        """Whether a database, opened at different times, has the same codes and deleted rows."""
        if self.address == other.address:
            return True
        return bool(self.rows) and (self.n_rows, self.rows) == (other.n_rows, other.rows)


def _file(path: object) -> str:
    if not isinstance(path, Path):
        return ""
    try:
        status = path.stat()
    except OSError:  # a file that was moved since
        return ""
    return f"{_machine()} {status.st_dev} {status.st_ino}"


@functools.cache
def _machine() -> str:
    return socket.gethostname()


def _deleted_digest(database: CodeDatabase) -> str:
    if database.deleted is None or not database.deleted.any():
        return ""
    return hashlib.sha256(np.packbits(deleted_mask(database)).tobytes()).hexdigest()
