"""Probes the buckets of a table in batches.

A search by multi-index hashing mostly waits for memory. So the memory of a whole batch of buckets
is prefetched before the first is read: their offsets, then the sketches of their entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.bits import popcount, prefetch, trailing_zeros
from hashkit.kernels.buckets import address_of
from hashkit.kernels.compiling import inner_kernel

__all__ = ["BATCH", "PENDING", "choose_buckets", "compare_sketches", "open_buckets"]

BATCH = 64  # buckets probed together
PENDING = 512  # capacity for entries whose sketch is near and whose code is read next
PIECE = 256  # entries compared between two checks of that capacity
BLOCK = 8  # entries compared at once


@inner_kernel
def choose_buckets(
    offsets: Any, bucket: Any, flips: Any, end: Any, batch: NDArray[np.int64]
) -> tuple[Any, Any]:
    """Fill the batch with the next buckets of a step; return the flips to resume at, and a count.

    The count is the number of buckets in the batch.
    """
    address = address_of(offsets)
    n_probes = 0
    while n_probes < BATCH and flips < end:
        batch[0, n_probes] = bucket ^ flips
        prefetch(address + np.uint64((bucket ^ flips) * offsets.itemsize))
        n_probes += 1
        flips = next_flips(flips)
    return flips, n_probes


@inner_kernel
def next_flips(flips: Any) -> Any:
    """The next larger number with as many bits set (Gosper's hack); 2 ** 62 after 0."""
    if flips == 0:
        return np.int64(1) << 62
    carried = flips + (flips & -flips)
    moved = (flips ^ carried) >> np.int64(trailing_zeros(np.uint64(flips)) + np.uint64(2))
    return carried | moved


@inner_kernel
def open_buckets(
    offsets: Any, sketches: NDArray[np.uint32], n_probes: Any, batch: NDArray[np.int64]
) -> Any:
    """Replace buckets by their entry ranges; return the number of entries, -1 if damaged."""
    address = address_of(sketches)
    n_entries = np.int64(0)
    for probe in range(n_probes):
        bucket = batch[0, probe]
        first, last = np.int64(offsets[bucket]), np.int64(offsets[bucket + 1])
        if first < 0 or first > last or last > len(sketches):
            return -1
        batch[0, probe], batch[1, probe] = first, last
        n_entries += last - first
        prefetch(address + np.uint64(first * 4))
        prefetch(address + np.uint64(first * 4 + 4 * (BLOCK - 1)))
    return n_entries


@inner_kernel
def compare_sketches(
    sketches: NDArray[np.uint32],
    query_sketch: Any,
    allowed: Any,
    probe: Any,
    n_probes: Any,
    batch: NDArray[np.int64],
    pending: NDArray[np.int64],
) -> tuple[Any, Any]:
    """Collect the entries whose sketch is near, until there is no space for another piece.

    Returns
    -------
    tuple
        The probe to resume at, whose first entry in the batch is the next one to compare; and the
        number of entries collected.
    """
    n_pending = np.int64(0)
    while probe < n_probes and n_pending <= PENDING - PIECE:
        first, last = batch[0, probe], batch[1, probe]
        piece = min(last, first + PIECE)
        while first < piece:
            if first + BLOCK > len(sketches) or any_near(sketches, first, query_sketch, allowed):
                for entry in range(first, min(piece, first + BLOCK)):
                    pending[n_pending] = entry
                    n_pending += np.int64(popcount(sketches[entry] ^ query_sketch)) <= allowed
            first += BLOCK
        batch[0, probe] = piece
        probe += piece == last
    return probe, n_pending


@inner_kernel
def any_near(sketches: NDArray[np.uint32], first: Any, query_sketch: Any, allowed: Any) -> Any:
    """Whether any of the BLOCK entries from ``first`` on, even past the bucket, may be near.

    Comparing a fixed number of entries takes a few vector instructions. Most blocks hold no near
    entry, and most buckets are no longer than one block.
    """
    smallest = np.uint32(32)
    for index in range(BLOCK):
        smallest = min(smallest, popcount(sketches[first + index] ^ query_sketch))
    return smallest <= allowed
