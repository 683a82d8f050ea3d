"""What has changed in a folder since the rows of a bank were made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.collection.listing import Listing

__all__ = ["Changes", "KnownRows", "Pairs", "compare"]

Pairs: TypeAlias = NDArray[np.int64]
"""int64 [n, 2], positions in a listing and rows with the same names."""


@dataclasses.dataclass(frozen=True, eq=False)
class KnownRows:
    """Rows of a bank.

    Attributes
    ----------
    names
        One name per row; several rows may have one name.
    files
        Size, time and digest of each row's file.
    is_deleted
        bool [n], the deleted rows.
    is_removed
        bool [n], those of the deleted rows that were deleted because of their file, and not by a
        user.
    has_files
        Whether the bank has columns for files. If not, all rows are assumed to be made from files.
    """

    names: Sequence[str]
    files: ImageFiles
    is_deleted: NDArray[np.bool_]
    is_removed: NDArray[np.bool_]
    has_files: bool = True

    def __len__(self) -> int:
        return len(self.is_deleted)


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """How a folder differs from the rows of a bank, by names, sizes and times.

    Every image of the listing is in one of the first five, and every row that is not deleted in
    `unchanged`, `changed`, `touched`, `vanished`, `repeated` or `kept`.

    Attributes
    ----------
    unchanged
        Images whose rows are up to date.
    added
        int64 [n], images without a row.
    changed
        Images whose files have another size, or whose files the bank does not know.
    touched
        Images of the same size but another time, for which the content decides.
    left_deleted
        Images that a user deleted, with the last of their rows, unless size or content has changed
        since. Those whose time differs are in `deleted_touched` too: their content decides.
    deleted_touched
        See `left_deleted`.
    vanished
        int64 [n], rows whose files are gone.
    repeated
        int64 [n], rows of images that have a later row.
    kept
        int64 [n], rows for which it is unknown whether their files exist, and rows that were not
        made from a file.
    """

    unchanged: Pairs
    added: NDArray[np.int64]
    changed: Pairs
    touched: Pairs
    left_deleted: Pairs
    deleted_touched: Pairs
    vanished: NDArray[np.int64]
    repeated: NDArray[np.int64]
    kept: NDArray[np.int64]


def compare(listing: Listing, known: KnownRows, *, checksum: bool = False) -> Changes:
    """Compare the images of a folder with the rows of a bank.

    Parameters
    ----------
    checksum
        Whether files are compared by content, not by size and time.
    """
    names = list(known.names)
    live = np.flatnonzero(~known.is_deleted)
    row_of = {names[row]: row for row in live.tolist()}
    rows = _looked_up(row_of, listing.names)
    positions = np.flatnonzero(rows >= 0)
    sorts = _sorted_by_file(listing, known, positions, rows[positions], checksum)
    deleted, deleted_positions = _deleted_by_user(listing, known, names, np.flatnonzero(rows < 0))
    deleted_sorts = _sorted_by_file(listing, known, deleted_positions, deleted, checksum)
    is_unknown = ~_has_file(known.files, deleted_sorts.changed[:, 1])
    left_deleted = np.concatenate(
        [deleted_sorts.unchanged, deleted_sorts.touched, deleted_sorts.changed[is_unknown]]
    )
    is_new = rows < 0
    is_new[left_deleted[:, 0]] = False
    is_repeated = _are_repeated(listing, names, live, row_of)
    is_unmatched = ~known.is_deleted & ~is_repeated
    is_unmatched[rows[positions]] = False
    unmatched = np.flatnonzero(is_unmatched)
    is_kept = np.array([listing.is_unknown(names[row]) for row in unmatched.tolist()], bool)
    if known.has_files:
        is_kept |= ~_has_file(known.files, unmatched)
    return Changes(
        unchanged=sorts.unchanged,
        added=_by_name(listing, np.flatnonzero(is_new)),
        changed=_pairs_by_name(listing, sorts.changed),
        touched=_pairs_by_name(listing, sorts.touched),
        left_deleted=left_deleted,
        deleted_touched=deleted_sorts.touched,
        vanished=unmatched[~is_kept],
        repeated=np.flatnonzero(is_repeated),
        kept=unmatched[is_kept],
    )


def _are_repeated(
    listing: Listing, names: list[str], live: NDArray[np.int64], row_of: dict[str, int]
) -> NDArray[np.bool_]:
    """Which rows have an image that has a later row; ``row_of`` has the last row of each."""
    is_repeated = np.zeros(len(names), bool)
    earlier = [row for row in live.tolist() if row_of[names[row]] != row]
    listed = set(listing.names if earlier else ())
    is_repeated[[row for row in earlier if names[row] in listed]] = True
    return is_repeated


@dataclasses.dataclass(frozen=True, eq=False)
class _Sorts:
    unchanged: Pairs
    changed: Pairs
    touched: Pairs


def _sorted_by_file(
    listing: Listing,
    known: KnownRows,
    positions: NDArray[np.int64],
    rows: NDArray[np.int64],
    checksum: bool,
) -> _Sorts:
    """Images at ``positions`` and their ``rows``, by the sizes and times of their files."""
    pairs = np.stack([positions, rows], axis=1)
    is_same_size = listing.sizes[positions] == known.files.sizes[rows]
    is_same_size &= _has_file(known.files, rows)
    is_same = is_same_size & (listing.mtimes_ns[positions] == known.files.mtimes_ns[rows])
    if checksum:
        is_same[:] = False
    return _Sorts(pairs[is_same], pairs[~is_same_size], pairs[is_same_size & ~is_same])


def _has_file(files: ImageFiles, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the files of rows are known."""
    return np.asarray(files.digests[rows].any(axis=1), np.bool_)


def _deleted_by_user(
    listing: Listing, known: KnownRows, names: list[str], positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that a user deleted, and their images: of those at ``positions``, without other rows."""
    deleted = np.flatnonzero(known.is_deleted)
    row_of = {names[row]: row for row in deleted.tolist()}  # the last one of each name
    if not row_of or not len(positions):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = _looked_up(row_of, [listing.names[position] for position in positions.tolist()])
    is_users = rows >= 0
    is_users[is_users] = ~known.is_removed[rows[is_users]]
    return rows[is_users], positions[is_users]


def _looked_up(row_of: dict[str, int], names: Sequence[str]) -> NDArray[np.int64]:
    """The row of each name; -1 where there is none."""
    return np.fromiter((row_of.get(name, -1) for name in names), np.int64, len(names))


def _by_name(listing: Listing, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    order = sorted(positions.tolist(), key=listing.names.__getitem__)
    return np.array(order, np.int64)


def _pairs_by_name(listing: Listing, pairs: Pairs) -> Pairs:
    order: list[Any] = sorted(pairs.tolist(), key=lambda pair: listing.names[pair[0]])
    return np.array(order, np.int64).reshape(-1, 2)
