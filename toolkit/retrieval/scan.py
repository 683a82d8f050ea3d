"""Linear search: NumPy for small searches, compiled kernels for all others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.widths import forced_kernel
from hashkit.retrieval.loading import KERNELS
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.scan_numpy import scan_numpy
from hashkit.retrieval.shards import Shards

__all__ = ["last_distances", "scan"]

_GATHER_SHARE: Final = 16
"""If fewer than one row in this many is kept, the kept rows are copied and searched alone."""


def scan(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    top_k: int,
    radii: NDArray[np.int64],
    n_threads: int | None = None,
) -> Neighbours:
    """Find the ``top_k`` nearest rows within each query's radius, ordered by (distance, row).

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, size].
    shards
        The database; if few of its rows are kept, only these are read.
    top_k
        Rows wanted, 0 or more.
    radii
        int64 [q], the largest distance wanted by each query.
    n_threads
        Number of threads; None for one per CPU. The result does not depend on it.

    Raises
    ------
    ConfigError
        If the environment asks for a kernel that does not exist, even if NumPy would answer.
    """
    forced_kernel(shards.n_bits)
    n_rows = shards.n_rows
    if shards.n_kept * _GATHER_SHARE < n_rows:
        rows = shards.kept_rows()
        gathered = Shards.of(shards.take(rows), shards.n_bits)
        found = scan(query_codes, gathered, top_k, radii, n_threads)
        return Neighbours(found.offsets, found.distances, rows[found.rows], shards.offsets)
    top_k = min(top_k, n_rows)
    if not top_k or not len(query_codes):
        offsets = np.zeros(len(query_codes) + 1, np.int64)
        return Neighbours(offsets, np.empty(0, np.uint16), np.empty(0, np.int64), shards.offsets)
    if not KERNELS.are_wanted(query_codes.size * n_rows, shards.n_bits):
        return scan_numpy(query_codes, shards, top_k, radii)
    return _compiled()(np.ascontiguousarray(query_codes), shards, top_k, radii, n_threads)


@functools.cache  # an import statement would take a microsecond per call
def _compiled() -> Callable[..., Neighbours]:
    from hashkit.retrieval.scan_compiled import scan_compiled

    return scan_compiled


def last_distances(nearest: Neighbours, limit: int, radius: int) -> NDArray[np.int64]:
    """Distance of the last of ``limit`` rows of each query; ``radius`` if there are fewer rows."""
    sizes = np.diff(nearest.offsets)
    is_full = (sizes == limit) & (sizes > 0)
    radii = np.full(len(sizes), radius)
    radii[is_full] = nearest.distances[nearest.offsets[1:][is_full] - 1]
    return radii
