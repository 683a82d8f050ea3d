"""Several banks as one database, for what takes a single one."""

from __future__ import annotations

import bisect
import copy
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.codesets import deleted_mask

if TYPE_CHECKING:
    from hashkit.bank.header import BankHeader, BankSource
    from hashkit.bank.reader import Bank

__all__ = ["JoinedBanks", "as_one"]


class JoinedBanks:
    """The rows of several banks of one model, one after the other.

    Names are read where they are. Codes and labels are copied into memory on first use; what reads
    all rows of a large set goes through `banks` instead.

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
        self._deleted: NDArray[np.bool_] | None = None
        if any(bank.n_deleted for bank in banks):
            self._deleted = np.concatenate([deleted_mask(bank) for bank in banks])

    def __len__(self) -> int:
        return sum(map(len, self.banks))

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

    @property
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

    @property
    def deleted(self) -> NDArray[np.bool_] | None:
        """Mask of the deleted rows, bool [n]; None if no row is deleted."""
        return self._deleted

    @property
    def n_deleted(self) -> int:
        """Number of deleted rows."""
        return 0 if self._deleted is None else int(np.count_nonzero(self._deleted))

    def without(self, rows: NDArray[np.int64]) -> JoinedBanks:
        """The same rows without some, which count as deleted; see `Bank.without`."""
        other = copy.copy(self)
        deleted = deleted_mask(self).copy()
        deleted[rows] = True
        deleted.setflags(write=False)
        other._deleted = deleted
        bounds = list(itertools.accumulate(map(len, self.banks), initial=0))
        spans = zip(self.banks, itertools.pairwise(bounds), strict=True)
        other.banks = tuple(
            bank.without(np.flatnonzero(deleted[first:stop])) for bank, (first, stop) in spans
        )
        return other


def as_one(database: Any) -> Any:
    """A bank set as one database; anything else as it is."""
    joined = getattr(database, "joined", None)
    return database if joined is None else joined()


class _JoinedNames(Sequence[str]):
    """The names of several banks."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts
        self._starts = list(itertools.accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        which = bisect.bisect_right(self._starts, row) - 1
        return self._parts[which][row - self._starts[which]]
