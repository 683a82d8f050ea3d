"""The bank that is searched, as it is now."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.bank_set.joined import AnyBank, as_one
from hashkit.bank_set.opening import banks_of
from hashkit.bank_set.reader import BankSet
from hashkit.errors import BankError, BankMismatchError, ConfigError
from hashkit.retrieval.indexed import Index
from hashkit.server.failures import RequestError
from hashkit.server.name_index import NameIndex
from hashkit.workflow.models import check_made_by
from hashkit.workflow.narrowing import open_index, rows_of_labels
from hashkit.workflow.reporter import LOGGED, SILENT

__all__ = ["BankState", "LiveBank", "Snapshot"]

logger: Final = logging.getLogger("hashkit.server")

_MAX_MASKS: Final = 16
"""Most sets of labels whose rows a snapshot remembers."""


_DAMAGED: Final = "its file is damaged, or cannot be read"


class BankState(NamedTuple):
    """Whether a bank can be searched, and what is wrong with its file; empty if nothing is."""

    can_search: bool
    fault: str


class Snapshot:
    """A bank, or a bank set, as it was at one moment, with its index.

    Attributes
    ----------
    opened
        The open bank or bank set.
    banks
        The bank, or the shards of the set.
    bank
        All rows as one database, whose columns are copied for a set: look at single rows with
        `located`.
    index
        Its multi-index, or those of its shards; None for none.
    """

    def __init__(self, opened: Bank | BankSet, index: Index | None, names: NameIndex) -> None:
        self.opened = opened
        self.banks: Sequence[Bank] = banks_of(opened)
        self.bank: AnyBank = as_one(opened)
        self._starts = list(itertools.accumulate(map(len, self.banks), initial=0))
        self.index = index
        self._names = names
        self._masks: dict[tuple[str, ...], NDArray[np.bool_]] = {}

    @property
    def n_live(self) -> int:
        """Rows that are not deleted."""
        return self._starts[-1] - sum(bank.n_deleted for bank in self.banks)

    def located(self, row: int) -> tuple[Bank, int]:
        """The bank of a row, and the row there."""
        number = bisect.bisect_right(self._starts, row) - 1
        return self.banks[number], row - self._starts[number]

    def rows_named(self, name: str) -> list[int]:
        """Rows with a name, without deleted ones, ascending."""
        names = self.bank.names
        return [row for row in self.rows_like(name) if names[row] == name]

    def rows_like(self, name: str) -> list[int]:
        """Rows whose names are the same as ``name`` on some system, ascending."""
        rows = self._names.rows(name, self.bank.names)
        return [row for row in rows if self.is_live(row)]

    def is_live(self, row: int) -> bool:
        """Whether there is such a row, and it is not deleted."""
        if not 0 <= row < self._starts[-1]:
            return False
        bank, own = self.located(row)
        return bank.deleted is None or not bank.deleted[own]

    def rows_of(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Rows that have one of some classes: bool [n].

        Raises
        ------
        RequestError
            422 if there is no such class.
        """
        key = tuple(sorted(set(labels)))
        if key not in self._masks:
            if len(self._masks) >= _MAX_MASKS:
                self._masks.clear()
            try:
                self._masks[key] = rows_of_labels(self.banks, key)
            except ConfigError:  # its advice is for the person who made the bank
                wanted = ", ".join(key)[:80]
                raise RequestError(422, f"the bank has no such class: {wanted}") from None
        return self._masks[key]

    def followed_by(self, opened: Bank | BankSet) -> Snapshot:
        """The snapshot of the same file or set at a later moment."""
        now = banks_of(opened)
        names = self._names if _keeps_rows(self.banks, now) else NameIndex()
        return Snapshot(opened, open_index(now, SILENT), names)


def _keeps_rows(before: Sequence[Bank], now: Sequence[Bank]) -> bool:
    """Whether all rows have kept their numbers; others may have been added behind them."""
    return len(now) >= len(before) and all(
        bool(old.identity)
        and old.identity == new.identity
        and (len(old) == len(new) or (new is now[-1] and len(old) < len(new)))
        for old, new in zip(before, now, strict=False)
    )


class LiveBank:
    """Opens a bank again when its file has changed; running searches keep the earlier one.

    Parameters
    ----------
    opened
        The open bank or bank set.

    Attributes
    ----------
    fault
        Why the earlier bank is still searched, without paths of this machine; empty if it is not.
    n_reloads
        How often the bank has changed.
    """

    def __init__(self, opened: Bank | BankSet) -> None:
        self._snapshot = Snapshot(opened, open_index(banks_of(opened), LOGGED), NameIndex())
        self._lock = threading.Lock()
        # The file as it was last read; another model may have made it.
        self._newest = opened
        self.fault = ""
        self.n_reloads = 0

    def current(self) -> Snapshot:
        """The bank as it is now, or as it was if it cannot be opened or another model made it.

        ``fault`` then says why.
        """
        with self._lock:
            try:
                self._newest = self._newest.reload()
                model_sha256 = self._snapshot.banks[0].header.model_sha256
                check_made_by(banks_of(self._newest), model_sha256)
            except BankError as error:
                if not self.fault:
                    logger.warning("the previous bank is searched: %s", error)
                self.fault = self._fault_of(error)
                return self._snapshot
            self.fault = ""
            if self._newest is not self._snapshot.opened:
                self._snapshot = self._snapshot.followed_by(self._newest)
                self.n_reloads += 1
            return self._snapshot

    @property
    def latest(self) -> Snapshot:
        """The bank as it was at the last request; the file is not read."""
        return self._snapshot

    def state(self) -> BankState:
        """Whether the bank can be searched as its file is now."""
        return self._state_of(self.current())

    def _state_of(self, now: Snapshot) -> BankState:
        try:
            for bank in now.banks:
                _ = bank.codes  # which looks at the file
        except BankError:
            return BankState(False, f"the bank cannot be searched: {self.fault or _DAMAGED}")
        return BankState(True, self.fault and f"the previous bank is searched: {self.fault}")

    def about(self) -> dict[str, Any]:
        """Rows, bits, labels, and what is wrong with the bank, for `/about`."""
        now = self.current()
        bank = now.bank
        return {
            "rows": now.n_live,
            "bits": bank.n_bits,
            "labels": list(bank.class_names),
            "fault": self._state_of(now).fault or None,
        }

    def _fault_of(self, error: BankError) -> str:
        if isinstance(error, BankMismatchError):
            return "another model, or a later version of hashkit, made the file that replaced it"
        return _DAMAGED if self._newest.path.exists() else "its file is gone"
