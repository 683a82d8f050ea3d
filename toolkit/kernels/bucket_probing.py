"""Looking into buckets of a table, a lot of them together.

What bounds a search by multi-index hashing is waiting for memory. So the memory of a whole lot of
buckets is asked for before the first is read: their offsets, then the sketches of their entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.bits import popcount, prefetch, trailing_zeros
from hashkit.kernels.buckets import address_of
from hashkit.kernels.compiling import kernel

__all__ = ["LOT", "PENDING", "choose_buckets", "compare_sketches", "open_buckets"]

LOT = 64  # buckets that are looked into together
PENDING = 512  # entries that passed their sketch and wait for their codes
PIECE = 256  # entries compared before the waiting ones are counted
BLOCK = 8  # entries that are compared at once


@kernel
def choose_buckets(
    offsets: Any, bucket: Any, flips: Any, end: Any, lot: NDArray[np.int64]
) -> tuple[Any, Any]:
    """Put the next buckets of a step into the lot; return where to go on, and how many."""
    address = address_of(offsets)
    n_probes = 0
    while n_probes < LOT and flips < end:
        lot[0, n_probes] = bucket ^ flips
        prefetch(address + np.uint64((bucket ^ flips) * offsets.itemsize))
        n_probes += 1
        flips = next_flips(flips)
    return flips, n_probes


@kernel
def next_flips(flips: Any) -> Any:
    """The next larger number with as many bits set (Gosper's hack); beyond all after 0."""
    if flips == 0:
        return np.int64(1) << 62
    carried = flips + (flips & -flips)
    moved = (flips ^ carried) >> np.int64(trailing_zeros(np.uint64(flips)) + np.uint64(2))
    return carried | moved


@kernel
def open_buckets(
    offsets: Any, sketches: NDArray[np.uint32], n_probes: Any, lot: NDArray[np.int64]
) -> Any:
    """Replace buckets by their first and last entries; return the number of all, -1 if damaged."""
    address = address_of(sketches)
    n_entries = np.int64(0)
    for probe in range(n_probes):
        bucket = lot[0, probe]
        first, last = np.int64(offsets[bucket]), np.int64(offsets[bucket + 1])
        if first < 0 or first > last or last > len(sketches):
            return -1
        lot[0, probe], lot[1, probe] = first, last
        n_entries += last - first
        prefetch(address + np.uint64(first * 4))
        prefetch(address + np.uint64(first * 4 + 4 * (BLOCK - 1)))
    return n_entries


@kernel
def compare_sketches(
    sketches: NDArray[np.uint32],
    own_sketch: Any,
    allowed: Any,
    probe: Any,
    n_probes: Any,
    lot: NDArray[np.int64],
    pending: NDArray[np.int64],
) -> tuple[Any, Any]:
    """Collect the entries that their sketch lets pass, until there is no room for a piece.

    Returns
    -------
    tuple
        The probe to go on with, whose first entry in the lot is the next; and the number of
        entries collected.
    """
    n_pending = np.int64(0)
    while probe < n_probes and n_pending <= PENDING - PIECE:
        first, last = lot[0, probe], lot[1, probe]
        piece = min(last, first + PIECE)
        while first < piece:
            if first + BLOCK > len(sketches) or any_near(sketches, first, own_sketch, allowed):
                for entry in range(first, min(piece, first + BLOCK)):
                    pending[n_pending] = entry
                    n_pending += np.int64(popcount(sketches[entry] ^ own_sketch)) <= allowed
            first += BLOCK
        lot[0, probe] = piece
        probe += piece == last
    return probe, n_pending


@kernel
def any_near(sketches: NDArray[np.uint32], first: Any, own_sketch: Any, allowed: Any) -> Any:
    """Whether one of the BLOCK entries from ``first`` on may be near, behind the bucket too.

    Compared without asking how many are in the bucket, they take a few vector instructions; most
    blocks hold none, and most buckets are not longer than one.
    """
    smallest = np.uint32(32)
    for index in range(BLOCK):
        smallest = min(smallest, popcount(sketches[first + index] ^ own_sketch))
    return smallest <= allowed
