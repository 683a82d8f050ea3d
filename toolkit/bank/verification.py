"""Checks every row of a bank: checksums where it has them, padding, names and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.errors import BankError, CodesError
from hashkit.rows_digest import BLOCK_ROWS

__all__ = ["BlockFault", "Progress", "find_faults"]

Progress: TypeAlias = Callable[[int], None]
"""``progress(n_rows)``: rows checked so far."""


class VerifiableBank(Protocol):
    """What is checked of a bank: `hashkit.bank.reader.Bank`, which imports this module."""

    path: Path

    @property
    def n_bits(self) -> int: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def codes(self) -> NDArray[np.uint8]: ...
    @property
    def labels(self) -> NDArray[Any] | None: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def has_checksums(self) -> bool: ...

    def __len__(self) -> int: ...
    def stored_checksums(self, block: int) -> tuple[tuple[str, ...], list[int]]: ...
    def checksums_of(self, start: int, stop: int) -> list[int | None]: ...


@dataclasses.dataclass(frozen=True)
class BlockFault:
    """Damage to one column of one block of rows.

    Attributes
    ----------
    column
        The dataset, such as ``codes``.
    block
        Number of the block, from 0; a block has 65,536 rows.
    first_row, last_row
        The block's rows, both included.
    reason
        What was expected, and what was found.
    """

    column: str
    block: int
    first_row: int
    last_row: int
    reason: str

    def __str__(self) -> str:
        rows = f"rows {self.first_row} to {self.last_row}"
        return f"{self.column}, block {self.block}, {rows}: {self.reason}"


def find_faults(bank: VerifiableBank, progress: Progress | None = None) -> Iterator[BlockFault]:
    """Read a bank block by block, in the order of its rows, and yield what is damaged.

    A column that matches its checksum is still checked for values that no writer stores. In banks
    of format versions 1 and 2 this is the only check.
    """
    for first in range(0, len(bank), BLOCK_ROWS):
        stop = min(first + BLOCK_ROWS, len(bank))
        damaged = set()
        for column, reason in _changed_columns(bank, first, stop):
            damaged.add(column)
            yield BlockFault(column, first // BLOCK_ROWS, first, stop - 1, reason)
        for column, reason in _invalid_columns(bank, first, stop):
            # Damage is reported once; damage to name_ends also explains wrong names.
            if not damaged & {column, *(("name_ends",) if column == "names" else ())}:
                yield BlockFault(column, first // BLOCK_ROWS, first, stop - 1, reason)
        if progress is not None:
            progress(stop)


def _changed_columns(bank: VerifiableBank, first: int, stop: int) -> Iterator[tuple[str, str]]:
    if not bank.has_checksums:
        return
    found = bank.checksums_of(first, stop)
    for column, old, new in zip(*bank.stored_checksums(first // BLOCK_ROWS), found, strict=True):
        if new is None:
            yield column, "cannot be found, because name_ends is damaged"
        elif old != new:
            yield column, f"expected the checksum {old:08x}, found {new:08x}"


def _invalid_columns(bank: VerifiableBank, first: int, stop: int) -> Iterator[tuple[str, str]]:
    try:
        check_codes(bank.codes[first:stop], bank.n_bits)
    except CodesError as error:
        yield "codes", str(error)
    try:
        bank.names[first:stop]
    except BankError as error:
        yield "names", str(error).removeprefix(f"{bank.path}: damaged: ")
    labels, n_classes = bank.labels, len(bank.class_names)
    if labels is None:
        return
    single = labels.ndim == 1
    low, high = (-1, n_classes - 1 if n_classes else None) if single else (0, 1)
    own = labels[first:stop]
    if own.min() < low or (high is not None and own.max() > high):
        yield "labels", f"expected labels from {low} to {high}, found {own.min()} to {own.max()}"
