"""What a sync will do: the changes of a folder, after reading the files whose content decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.bank_set.joined import AnyBank
from hashkit.codesets import deleted_mask
from hashkit.collection.changes import Changes, KnownRows, Pairs, compare
from hashkit.collection.contents import FileFacts, read_file_facts
from hashkit.collection.listing import Listing
from hashkit.collection.removals import Removals
from hashkit.datasets.decoding import Fault
from hashkit.errors import BankError

__all__ = ["Known", "Plan", "check_removals", "known_rows", "make_plan", "no_rows"]


@dataclasses.dataclass(frozen=True)
class Known:
    """An image whose code is in a row of the bank.

    Attributes
    ----------
    at
        Its position in the listing.
    row
        The row.
    facts
        Size, time and digest of the file.
    """

    at: int
    row: int
    facts: FileFacts


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What a sync will do.

    Attributes
    ----------
    listing
        The folder.
    n_live
        Rows of the bank that are not deleted.
    n_unchanged
        Images whose rows stay; at most the time of the file changes.
    left_deleted
        Images that a user deleted, and that stay deleted, with their rows.
    kept
        int64 [n], rows for which it is unknown whether their files exist; they count as unchanged.
    moved
        Images that have the content of a row whose file is gone.
    refreshed
        Images with the content of their rows, whose files have another time.
    changed
        Images to encode in place of a row.
    added
        int64 [n], images to encode; another row may have their content.
    vanished, repeated
        int64 [n], rows to delete.
    faults
        Images that cannot be read.
    """

    listing: Listing
    n_live: int
    n_unchanged: int
    left_deleted: Pairs
    kept: NDArray[np.int64]
    moved: tuple[Known, ...]
    refreshed: tuple[Known, ...]
    changed: Pairs
    added: NDArray[np.int64]
    vanished: NDArray[np.int64]
    repeated: NDArray[np.int64]
    faults: tuple[Fault, ...]

    @property
    def n_to_encode(self) -> int:
        """Images to encode, unless another row has their content."""
        return len(self.changed) + len(self.added)

    @property
    def is_nothing(self) -> bool:
        """Whether no row has to be added or deleted."""
        new = self.n_to_encode + len(self.moved) + len(self.refreshed)
        return not (new or len(self.vanished) or len(self.repeated))


def known_rows(bank: AnyBank, removed: Removals) -> KnownRows:
    """The rows of a bank; the files of a bank without columns for them are unknown."""
    is_deleted = deleted_mask(bank)
    files = ImageFiles.unknown(len(bank)) if bank.files is None else bank.files
    removed_too = removed.mask(is_deleted)
    return KnownRows(bank.names, files, is_deleted, removed_too, bank.files is not None)


def no_rows() -> KnownRows:
    """The rows of a bank that does not exist."""
    none = np.zeros(0, bool)
    return KnownRows((), ImageFiles.unknown(0), none, none)


def make_plan(
    listing: Listing,
    known: KnownRows,
    *,
    checksum: bool,
    n_workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Compare a folder with the rows of a bank; see `hashkit.collection.changes.compare`.

    It reads the files whose time changed, and the new ones of the same size as one that is gone.

    Parameters
    ----------
    progress
        Called with the number of files read so far, and of all files to read.
    """
    changes = compare(listing, known, checksum=checksum)
    candidates = _of_equal_size(listing, changes, known.files)
    positions = [*changes.touched[:, 0], *changes.deleted_touched[:, 0], *candidates]
    names = [listing.names[position] for position in positions]
    read = read_file_facts(listing.folder, names, n_workers=n_workers, progress=progress)
    facts = dict(zip(map(int, positions), read, strict=True))
    same, other, unread = _by_content(changes.touched, facts, known.files)
    _, back, _ = _by_content(changes.deleted_touched, facts, known.files)
    refreshed = [image for image in same if _differs(image, known.files)]
    moved = _moved(candidates.tolist(), changes.vanished, facts, known.files)
    rows_moved = [image.row for image in moved]
    came_back = [at for at, _ in back]
    added = [*changes.added.tolist(), *came_back]
    added = sorted(
        set(added).difference(image.at for image in moved),
        key=lambda position: listing.names[position],
    )
    return Plan(
        listing,
        n_live=int((~known.is_deleted).sum()),
        n_unchanged=len(changes.unchanged) + len(changes.kept) + len(same) + len(unread),
        left_deleted=changes.left_deleted[~np.isin(changes.left_deleted[:, 0], came_back)],
        kept=changes.kept,
        moved=tuple(moved),
        refreshed=tuple(refreshed),
        changed=np.array([*changes.changed.tolist(), *other], np.int64).reshape(-1, 2),
        added=np.array(added, np.int64),
        vanished=np.setdiff1d(changes.vanished, np.array(rows_moved, np.int64)),
        repeated=changes.repeated,
        faults=(*listing.faults, *unread),
    )


def check_removals(plan: Plan, bank: str, *, allow_removals: bool) -> None:
    """Refuse to delete more than half of the rows of a bank.

    Raises
    ------
    BankError
        If more are missing, unless ``allow_removals``.
    """
    n_missing, n_rows = len(plan.vanished), plan.n_live
    if allow_removals or 2 * n_missing <= n_rows:
        return
    found = "found none of them" if n_missing == n_rows else f"found {n_missing:,} missing"
    raise BankError(
        f"{bank}: expected its {n_rows:,} images below {plan.listing.folder}, {found}: check that "
        "the folder is the right one and its disk is connected, or delete their rows with "
        "`allow_removals=True`"
    )


def _of_equal_size(listing: Listing, changes: Changes, files: ImageFiles) -> NDArray[np.int64]:
    """New images of the same size as one that is gone: they may be the same images."""
    sizes = files.sizes[changes.vanished]
    return changes.added[np.isin(listing.sizes[changes.added], sizes)]


def _by_content(
    pairs: Pairs, facts: dict[int, FileFacts | Fault], files: ImageFiles
) -> tuple[list[Known], list[list[int]], list[Fault]]:
    """Images with the content of their rows, with other content, and those not readable."""
    same, other, unread = [], [], []
    for at, row in pairs.tolist():
        found = facts[at]
        if isinstance(found, Fault):
            unread.append(found)
        elif found.digest == files.digests[row].tobytes():
            same.append(Known(at, row, found))
        else:
            other.append([at, row])
    return same, other, unread


def _differs(image: Known, files: ImageFiles) -> bool:
    return image.facts.mtime_ns != int(files.mtimes_ns[image.row])


def _moved(
    candidates: Iterable[int],
    vanished: NDArray[np.int64],
    facts: dict[int, FileFacts | Fault],
    files: ImageFiles,
) -> list[Known]:
    """New images, each with a row of the same content whose file is gone; each row only once."""
    rows: dict[bytes, list[int]] = {}
    for row in reversed(vanished.tolist()):
        rows.setdefault(files.digests[row].tobytes(), []).append(row)
    moved = []
    for at in candidates:
        found = facts[at]
        if isinstance(found, FileFacts) and rows.get(found.digest):
            moved.append(Known(at, rows[found.digest].pop(), found))
    return moved
