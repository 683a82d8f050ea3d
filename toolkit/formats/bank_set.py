"""The bank set as a format; see docs/bank-set.md."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.bank_set.plan_files import MAX_SHARDS
from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.errors import CodesError
from hashkit.files.private import private_folder
from hashkit.files.writing import make_parents, sync_folder
from hashkit.formats.bank import name_bytes, row_blocks
from hashkit.formats.format import Format, WriteProgress
from hashkit.formats.origin import describe
from hashkit.formats.rows import parts_of
from hashkit.inputs.arguments import whole_number
from hashkit.messages.os_errors import cannot_write
from hashkit.meter import Meter

if TYPE_CHECKING:
    from hashkit.bank.build import RowBlock

__all__ = ["BANK_SET", "check_set_target", "write_bank_set"]


def write_bank_set(
    folder: Path,
    database: CodeDatabase,
    n_shards: int,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    """Write the rows that are not deleted as a bank set of shards of equal size.

    The shards are made beside the folder, and get their names when all are complete. A set that is
    replaced stays whole until the manifest of the new one is written; its identity is kept.

    Parameters
    ----------
    n_shards
        Number of shards, 1 to 99,999; some are empty if there are fewer rows.

    Raises
    ------
    BankError, CodesError
        If the folder exists and ``overwrite`` is False, is not a bank set, or cannot be written.
    """
    whole_number(n_shards, "shards", 1, MAX_SHARDS)
    try:
        check_set_target(folder, overwrite)
        make_parents(folder)
        with private_folder(folder) as new:
            _write_shards(new, database, n_shards, progress)
            _publish(new, folder)
    except OSError as error:
        raise CodesError(cannot_write(error, folder)) from error


def check_set_target(folder: Path, overwrite: bool) -> None:
    """Raise `CodesError` if something exists that may not be replaced by a bank set."""
    from hashkit.bank_set.places import is_bank_set

    if folder.is_file():
        raise CodesError(
            f"{folder}: expected a folder for the bank set, found a file: choose another name"
        )
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not is_bank_set(folder):
        raise CodesError(
            f"{folder}: expected a new folder, or a bank set to replace, found a folder with other "
            "files: choose another name"
        )
    if not overwrite:
        raise CodesError(f"{folder}: exists already; replace it with `overwrite=True`")


def _write_shards(
    folder: Path, database: CodeDatabase, n_shards: int, progress: WriteProgress | None
) -> None:
    from hashkit.bank.build import build_bank
    from hashkit.bank_set.finishing import finish, shard_name

    origin, n_rows = describe(database), n_kept_rows(database)
    bounds = [n_rows * shard // n_shards for shard in range(n_shards + 1)]
    sizes = name_bytes(database, bounds)
    rows = _Rows(row_blocks(database, Meter(n_rows, progress)))
    for shard, (first, stop) in enumerate(itertools.pairwise(bounds)):
        build_bank(
            folder / shard_name(shard),
            origin.header,
            origin.sources,
            rows.take(stop - first),
            n_rows=stop - first,
            n_name_bytes=sizes[shard],
            n_consumed=origin.n_consumed,
        )
        (folder / f"{shard_name(shard)}.lock").unlink(missing_ok=True)
    finish(folder)


def _publish(new: Path, folder: Path) -> None:
    """Move a set that was made in another folder to its place."""
    from hashkit.bank_set.replacing import replace_set

    if not folder.exists() or not any(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()  # on Windows, a rename cannot replace a folder
        (new / "bankset.json.lock").unlink(missing_ok=True)
        new.rename(folder)
        sync_folder(folder.parent)
    else:
        replace_set(folder, new)


class _Rows:
    """Blocks of rows, to take any number of rows from."""

    def __init__(self, blocks: Iterator[RowBlock]) -> None:
        self._blocks = blocks
        self._left: RowBlock | None = None

    def take(self, n_rows: int) -> Iterator[RowBlock]:
        """The next ``n_rows`` rows."""
        while n_rows:
            block = next(self._blocks) if self._left is None else self._left
            size = min(n_rows, len(block[0]))
            yield _cut(block, slice(0, size))
            self._left = _cut(block, slice(size, None)) if size < len(block[0]) else None
            n_rows -= size


def _cut(block: RowBlock, rows: slice) -> RowBlock:
    codes, names, labels, files = block
    return (
        codes[rows],
        None if names is None else names[rows],
        None if labels is None else labels[rows],
        None if files is None else files[rows],
    )


def _read(path: Path, n_bits: int | None) -> CodeDatabase:
    from hashkit.bank_set.reader import BankSet  # here, because other formats do not need h5py

    joined = BankSet.open(path).joined()
    if n_bits not in (None, joined.n_bits):
        raise CodesError(f"{path}: expected codes of {n_bits} bits, found {joined.n_bits}")
    return joined


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    n_shards = len(parts_of(database))
    write_bank_set(path, database, n_shards, overwrite=overwrite, progress=progress)


BANK_SET = Format("bank set", _read, _write)
