"""The images that a sync has to encode, and what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank_set.joined import AnyBank
from hashkit.collection.contents import codes_by_digest
from hashkit.collection.plan import Plan, check_removals
from hashkit.datasets.decoding import Fault

__all__ = ["Done", "Todo"]


@dataclasses.dataclass
class Done:
    """What a sync did.

    Attributes
    ----------
    added, changed, moved, removed
        Images of each kind.
    encoded
        Images that were encoded; the others have the content of another row.
    faults
        Images that cannot be used.
    same
        Images whose rows stay although the plan would have replaced them.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    encoded: int = 0
    faults: list[Fault] = dataclasses.field(default_factory=list)
    same: int = 0


class Todo:
    """Images to encode, in order, and the rows that they replace.

    Parameters
    ----------
    plan
        The plan with the images: its changed and added ones.
    done
        Counts what becomes of them.

    Attributes
    ----------
    names
        Names of the images, relative to the folder.
    rows
        The row that each of them replaces; -1 for none.
    n_faults
        Number of images found so far that cannot be used.
    """

    def __init__(self, plan: Plan, done: Done) -> None:
        positions = [*plan.changed[:, 0].tolist(), *plan.added.tolist()]
        self.names = [plan.listing.names[position] for position in positions]
        self.rows = [*plan.changed[:, 1].tolist(), *([-1] * len(plan.added))]
        self.n_faults = 0
        self._plan = plan
        self._sizes = plan.listing.sizes[positions]
        self._row_of = dict(zip(self.names, self.rows, strict=True))
        self._done = done
        self._broken: list[int] = []

    def known_codes(self, bank: AnyBank) -> dict[bytes, NDArray[np.uint8]]:
        """Codes of a bank by the digest of their file, for files that may be one of the images."""
        if bank.files is None:
            return {}
        return codes_by_digest(bank.codes, bank.files, self._sizes)

    def count(self, rows: Sequence[int], n_encoded: int, faults: Iterable[Fault]) -> None:
        """Count images.

        Parameters
        ----------
        rows
            The rows that the usable images replace, from `rows`.
        n_encoded
            How many of them were encoded.
        faults
            The images that cannot be used. A file that cannot be read may be the same as before, so
            its row stays.
        """
        n_changed = sum(row >= 0 for row in rows)
        self._done.changed += n_changed
        self._done.added += len(rows) - n_changed
        self._done.encoded += n_encoded
        for fault in faults:
            self.n_faults += 1
            self._done.faults.append(fault)
            row = self._row_of[fault.name]
            if row >= 0 and fault.reason == "missing":
                self._done.same += 1
            elif row >= 0:
                self._broken.append(row)

    def broken_rows(self, bank_path: Path, *, allow_removals: bool) -> list[int]:
        """Rows to delete because their images can no longer be used; counts them as removed.

        Raises
        ------
        BankError
            If there are too many, unless ``allow_removals``; see `check_removals`.
        """
        gone = np.append(self._plan.vanished, np.array(self._broken, np.int64))
        plan = dataclasses.replace(self._plan, vanished=gone)
        check_removals(plan, str(bank_path), allow_removals=allow_removals)
        self._done.removed += len(self._broken)
        return self._broken
