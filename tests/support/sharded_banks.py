"""One bank, and the same rows as shards of different sizes.

One shard is empty, some rows are deleted, and one shard has only deleted rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bank_samples import CLASSES, make_header

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter

__all__ = ["N_BITS", "SIZES", "write_banks"]

N_BITS = 20
SIZES = (7, 0, 120, 1, 64, 13)
_WHOLLY_DELETED = 3


def write_banks(folder: Path, seed: int = 0) -> tuple[Bank, list[Bank]]:
    """The bank of all rows, and its shards; there are few distinct codes, so many ties."""
    rng = np.random.default_rng(seed)
    n_rows = sum(SIZES)
    codes = np.packbits(rng.random((n_rows, N_BITS)) < 0.2, axis=1)
    labels = rng.integers(0, len(CLASSES), n_rows)
    names = [f"photo-{row:03d}.png" for row in range(n_rows)]
    bounds = np.cumsum([0, *SIZES])
    deleted = np.unique(rng.integers(0, n_rows, 20))
    whole = np.arange(bounds[_WHOLLY_DELETED], bounds[_WHOLLY_DELETED + 1])
    deleted = np.union1d(deleted, whole)
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: Path, first: int, stop: int) -> Bank:
        own = slice(first, stop)
        with BankWriter.create(path, make_header(N_BITS), n_rows=0, n_name_bytes=0) as writer:
            writer.write(codes[own], names[own], labels[own], n_consumed=stop - first)
            writer.complete()
        gone = deleted[(deleted >= first) & (deleted < stop)] - first
        if len(gone):
            delete_rows(path, gone)
        return Bank.open(path)

    shards = [
        write(folder / f"shard-{number:05d}.h5", bounds[number], bounds[number + 1])
        for number in range(len(SIZES))
    ]
    return write(folder / "one.h5", 0, n_rows), shards
