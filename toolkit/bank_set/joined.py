"""Several banks as one database, for code that takes a single one."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.bank.names import StoredNames, rows_named
from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase, deleted_mask

if TYPE_CHECKING:
    from hashkit.bank.header import BankHeader, BankSource
    from hashkit.bank.reader import Bank

__all__ = ["AnyBank", "JoinedBanks", "as_one", "codes_of", "rows_by_bank"]


AnyBank: TypeAlias = "Bank | JoinedBanks"
"""A bank, or the banks of a set as one."""


class JoinedBanks:
    """The rows of several banks of one model, one after the other.

    Names are read from the banks on access. Codes and labels are copied into memory on first use;
    code that reads all rows of a large set goes through `banks` instead.

    Attributes
    ----------
    path
        The folder of the set.
    banks
        The banks.
    header
        A header for all of them.
    identity
        Identity of the set.
    sources
        The image lists of all banks, each once.
    """

    def __init__(
        self, path: Path, banks: Sequence[Bank], header: BankHeader, identity: str
    ) -> None:
        self.path = path
        self.banks = tuple(banks)
        self.header = header
        self.identity = identity
        lists = itertools.chain.from_iterable(bank.sources for bank in banks)
        self.sources: tuple[BankSource, ...] = tuple(dict.fromkeys(lists))

    def __len__(self) -> int:
        return sum(map(len, self.banks))

    def __repr__(self) -> str:
        return f"<JoinedBanks {self.path}: {len(self)} codes of {self.n_bits} bits>"

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""
        return self.header.n_bits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by label; empty if unknown."""
        return self.header.class_names

    @functools.cached_property
    def codes(self) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)], a copy in memory."""
        return np.concatenate([bank.codes for bank in self.banks])

    @functools.cached_property
    def labels(self) -> NDArray[Any] | None:
        """Labels, a copy in memory, as those of a bank; None if there are none."""
        labels = [bank.labels for bank in self.banks]
        known = [one for one in labels if one is not None]
        return np.concatenate(known) if len(known) == len(labels) else None

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """One name per row, decoded on access."""
        return _JoinedNames([bank.names for bank in self.banks])

    @functools.cached_property
    def files(self) -> ImageFiles | None:
        """Size, time and digest of the image file of each row; None if one bank has none."""
        files = [bank.files for bank in self.banks]
        known = [one for one in files if one is not None]
        if len(known) < len(files):
            return None
        return ImageFiles(
            np.concatenate([one.sizes for one in known]),
            np.concatenate([one.mtimes_ns for one in known]),
            np.concatenate([one.digests for one in known]),
        )

    @functools.cached_property
    def deleted(self) -> NDArray[np.bool_] | None:
        """Mask of the deleted rows, bool [n]; None if no row is deleted."""
        if not self.n_deleted:
            return None
        return np.concatenate([deleted_mask(bank) for bank in self.banks])

    @property
    def n_deleted(self) -> int:
        """Number of deleted rows."""
        return sum(bank.n_deleted for bank in self.banks)

    def without(self, rows: NDArray[np.int64]) -> JoinedBanks:
        """The same rows without some, which count as deleted; see `Bank.without`."""
        bounds = list(itertools.accumulate(map(len, self.banks), initial=0))
        spans = zip(self.banks, itertools.pairwise(bounds), strict=True)
        banks = [
            bank.without(rows[(first <= rows) & (rows < stop)] - first)
            for bank, (first, stop) in spans
        ]
        return JoinedBanks(self.path, banks, self.header, self.identity)


def codes_of(database: CodeDatabase, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Codes of some rows, uint8 [m, size]; of a bank set without copying the others."""
    if not isinstance(database, JoinedBanks):
        return database.codes[rows]
    bounds = np.cumsum([0, *map(len, database.banks)])
    codes = np.empty((len(rows), code_size(database.n_bits)), np.uint8)
    for number, own in rows_by_bank(rows, bounds):
        codes[own] = database.banks[number].codes[rows[own] - bounds[number]]
    return codes


def rows_by_bank(
    rows: NDArray[np.int64], starts: NDArray[np.int64] | Sequence[int]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Number of each bank that has some of the rows of a set, and which of them: bool [m].

    Parameters
    ----------
    starts
        The first row of each bank, [n_banks] or more.
    """
    bank_of = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(bank_of).tolist():
        yield number, bank_of == number


def as_one(database: Any) -> Any:
    """A bank set as one database; anything else as it is."""
    joined = getattr(database, "joined", None)
    return database if joined is None else joined()


class _JoinedNames(StoredNames):
    """The names of several banks."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts
        self._starts = list(itertools.accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._parts)

    def rows_named(self, wanted: Collection[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {name: [] for name in wanted}
        for start, part in zip(self._starts, self._parts, strict=False):
            for name, rows in rows_named(part, wanted).items():
                found[name] += [start + row for row in rows]
        return found

    def _read(self, start: int, stop: int) -> list[str]:
        names: list[str] = []
        first = max(0, bisect.bisect_right(self._starts, start) - 1)
        for part, begin in zip(self._parts[first:], self._starts[first:], strict=False):
            if begin >= stop:
                break
            names += part[max(0, start - begin) : stop - begin]
        return names
