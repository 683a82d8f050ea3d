"""The job of a compiled scan, and the rows of a database as kernels take them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.arrays import read_only
from hashkit.retrieval.shards import Shards

__all__ = ["ALL_KEPT", "PAIRS_PER_CALL", "ScanJob", "kernel_spans", "slices"]

PAIRS_PER_CALL: Final = 1 << 29
"""Rows times queries per call of a kernel: Ctrl-C takes effect after about a second."""

ALL_KEPT: Final = read_only(np.empty(0, dtype=np.bool_))
"""The mask that stands for all rows."""


class ScanJob(NamedTuple):
    """The arguments of `hashkit.retrieval.scan_compiled.scan_compiled`."""

    query_codes: NDArray[np.uint8]
    shards: Shards
    top_k: int
    radii: NDArray[np.int64]

    def of(self, queries: slice | NDArray[np.intp]) -> ScanJob:
        """The same job for some of the queries."""
        codes = read_only(self.query_codes[queries])
        return self._replace(query_codes=codes, radii=self.radii[queries])


def kernel_spans(
    shards: Shards, rows: slice, n_queries: int = 1
) -> Iterator[tuple[NDArray[np.uint8], int, NDArray[np.bool_]]]:
    """Yield codes, first row and mask of spans of ``rows``, each for one call of a kernel."""
    rows_per_call = max(1, PAIRS_PER_CALL // n_queries)
    for span in shards.spans(rows.start, rows.stop, rows_per_call):
        kept = ALL_KEPT if span.kept is None else read_only(span.kept)
        yield read_only(span.codes), span.first, kept


def slices(length: int, n_parts: int, start: int = 0, ahead: int = 0) -> list[slice]:
    """``n_parts`` consecutive slices from ``start`` on, of about equal length.

    The first one is longer than the others by ``ahead``, or half of ``length`` if that is less.
    """
    ahead = min(ahead, length // 2) if n_parts > 1 else 0
    rest = length - ahead
    ends = [start + ahead + rest * part // n_parts for part in range(1, n_parts + 1)]
    return [slice(first, stop) for first, stop in itertools.pairwise([start, *ends])]
