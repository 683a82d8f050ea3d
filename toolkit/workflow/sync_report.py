"""What a sync found and did, as JSON and as lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hashkit.datasets.decoding import Fault
from hashkit.runtimes.faults import faults_path
from hashkit.workflow.reporter import plural

__all__ = ["SyncReport", "listed_beside"]

_MOST_FAULTS: Final = 10


@dataclasses.dataclass(frozen=True)
class SyncReport:
    """Result of a sync.

    Attributes
    ----------
    folder, bank
        The folder, and its bank.
    added, changed, moved, removed, unchanged
        Images of each kind. A file under another name is moved; its code is taken from its row.
    left_deleted
        Images whose rows a user deleted; they stay deleted while their files are the same.
    encoded
        Images that were encoded, or in a dry run would be. Copies of images that the bank has, and
        moved ones, are not.
    faults
        Images that cannot be used.
    seconds
        Duration.
    is_dry_run
        Whether nothing was changed, and the numbers are what a sync would give.
    """

    folder: Path
    bank: Path
    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int
    left_deleted: int
    encoded: int
    faults: tuple[Fault, ...]
    seconds: float
    is_dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        fields = dataclasses.asdict(self)
        fields |= {"folder": str(self.folder), "bank": str(self.bank)}
        fields["dry_run"] = fields.pop("is_dry_run")
        fields["faults"] = [
            {"name": fault.name, "reason": fault.reason, "message": fault.message}
            for fault in self.faults
        ]
        return fields

    def lines(self) -> Iterator[str]:
        """Lines for a person."""
        counts = ("added", "changed", "moved", "removed", "unchanged")
        listed = ", ".join(f"{getattr(self, name):,} {name}" for name in counts)
        if self.is_dry_run:
            yield (
                f"{self.bank}: nothing was changed; a sync would give {listed}; "
                f"{self.encoded:,} to encode"
            )
        else:
            yield f"{self.bank}: {listed}; {self.encoded:,} encoded, in {self.seconds:.1f} s"
        if self.left_deleted:
            left = plural(self.left_deleted, "image")
            yield f"{left} stayed deleted; hashkit delete --restore brings deleted rows back"
        for fault in self.faults[:_MOST_FAULTS]:
            yield f"cannot be used: {fault.message}"
        if len(self.faults) > _MOST_FAULTS:
            where = "" if self.is_dry_run else f", see {faults_path(listed_beside(self.bank))}"
            yield f"{len(self.faults) - _MOST_FAULTS:,} more cannot be used{where}"


def listed_beside(bank: Path) -> Path:
    """The file beside which the faults of a bank are listed; in the folder of a set."""
    return bank / "sync" if bank.is_dir() else bank
