"""The bank that is searched, as it is now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.errors import BankError, BankMismatchError, ConfigError
from hashkit.multi_index.index import MultiIndex
from hashkit.server.failures import RequestError
from hashkit.server.name_index import NameIndex
from hashkit.workflow.models import check_made_by
from hashkit.workflow.narrowing import open_index, rows_of_labels
from hashkit.workflow.reporter import LOGGED, SILENT

__all__ = ["BankState", "LiveBank", "Snapshot"]

logger: Final = logging.getLogger("hashkit.server")

_MASKS: Final = 16
"""Sets of labels whose rows a snapshot remembers."""


_DAMAGED: Final = "its file is damaged, or cannot be read"


class BankState(NamedTuple):
    """Whether a bank can be searched, and what is wrong with its file; empty if nothing is."""

    can_search: bool
    fault: str


class Snapshot:
    """A bank as it was at one moment, with its index.

    Attributes
    ----------
    bank
        The open bank.
    index
        Its multi-index; None for none.
    """

    def __init__(self, bank: Bank, index: MultiIndex | None, names: NameIndex) -> None:
        self.bank = bank
        self.index = index
        self._names = names
        self._masks: dict[tuple[str, ...], NDArray[np.bool_]] = {}

    @property
    def n_live(self) -> int:
        """Rows that are not deleted."""
        return len(self.bank) - self.bank.n_deleted

    def rows_named(self, name: str) -> list[int]:
        """Rows of a name, without deleted ones, ascending."""
        names = self.bank.names
        return [row for row in self.rows_like(name) if names[row] == name]

    def rows_like(self, name: str) -> list[int]:
        """Rows whose names some system does not tell from a name, ascending."""
        return self._names.rows(name, self.bank.names, self.bank.deleted)

    def is_live(self, row: int) -> bool:
        """Whether there is such a row, and it is not deleted."""
        deleted = self.bank.deleted
        return 0 <= row < len(self.bank) and (deleted is None or not deleted[row])

    def rows_of(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Rows that have one of some classes: bool [n].

        Raises
        ------
        RequestError
            422 if there is no such class.
        """
        key = tuple(sorted(set(labels)))
        if key not in self._masks:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            try:
                self._masks[key] = rows_of_labels([self.bank], key)
            except ConfigError:  # which advises whoever made the bank
                wanted = ", ".join(key)[:80]
                raise RequestError(422, f"the bank has no such class: {wanted}") from None
        return self._masks[key]

    def followed_by(self, bank: Bank) -> Snapshot:
        """The snapshot of the same file at a later moment."""
        is_same = self.bank.identity and self.bank.identity == bank.identity
        has_grown = is_same and len(bank) >= len(self.bank)
        index = open_index([bank], SILENT)
        return Snapshot(bank, index, self._names if has_grown else NameIndex())


class LiveBank:
    """Opens a bank again when its file has changed; running searches keep the earlier one.

    Parameters
    ----------
    bank
        The open bank.

    Attributes
    ----------
    fault
        Why the bank of before is searched, without paths of this machine; empty if it is not.
    n_reloads
        How often the bank has changed.
    """

    def __init__(self, bank: Bank) -> None:
        self._snapshot = Snapshot(bank, open_index([bank], LOGGED), NameIndex())
        self._lock = threading.Lock()
        # The file as it was read last, which another model may have made.
        self._newest = bank
        self.fault = ""
        self.n_reloads = 0

    def current(self) -> Snapshot:
        """The bank as it is now, or as it was if it cannot be opened or another model made it.

        ``fault`` then says why.
        """
        with self._lock:
            try:
                self._newest = self._newest.reload()
                check_made_by([self._newest], self._snapshot.bank.header.model_sha256)
            except BankError as error:
                if not self.fault:
                    logger.warning("the bank of before is searched: %s", error)
                self.fault = self._fault_of(error)
                return self._snapshot
            self.fault = ""
            if self._newest is not self._snapshot.bank:
                self._snapshot = self._snapshot.followed_by(self._newest)
                self.n_reloads += 1
            return self._snapshot

    @property
    def latest(self) -> Snapshot:
        """The bank as it was at the last request; the file is not read."""
        return self._snapshot

    def state(self) -> BankState:
        """Whether the bank can be searched as its file is now."""
        bank = self.current().bank
        try:
            _ = bank.codes  # which looks at the file
        except BankError:
            return BankState(False, f"the bank cannot be searched: {self.fault or _DAMAGED}")
        return BankState(True, self.fault and f"the bank of before is searched: {self.fault}")

    def about(self) -> dict[str, Any]:
        """Rows, bits, labels, and what is wrong with the bank, for `/about`."""
        now = self.current()
        bank = now.bank
        return {
            "rows": now.n_live,
            "bits": bank.n_bits,
            "labels": list(bank.class_names),
            "fault": self.state().fault or None,
        }

    def _fault_of(self, error: BankError) -> str:
        if isinstance(error, BankMismatchError):
            return "another model, or a later version of hashkit, made the file that replaced it"
        return _DAMAGED if self._newest.path.exists() else "its file is gone"
