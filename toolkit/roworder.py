"""Average precision where ties are broken by row number: the ranking that search returns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hashkit.hamming import Block, RelevantRows, RowDistances

__all__ = ["row_order_average_precision"]


def row_order_average_precision(
    query_codes: NDArray[np.uint8],
    database_blocks: Iterable[Block],
    relevant_histogram: NDArray[np.int64],
    total_histogram: NDArray[np.int64],
    relevant: RelevantRows,
) -> NDArray[np.float64]:
    """Average precision over all relevant rows, the ranking ordered by (distance, row).

    The histograms say at which rank each distance begins, so one pass over the database, in row
    order, gives every relevant row its rank; memory does not grow with the database.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, size].
    database_blocks
        The database in pieces, in row order, as `hashkit.hamming.blocks` gives them.
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1] of the same codes and the same ``relevant``, as
        `hashkit.hamming.split_histogram` gives them.
    relevant
        Says which rows of a block are relevant to a query.

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.

    Raises
    ------
    CodesError
        If the codes are not uint8 matrices of the same width.
    """
    n_bins = total_histogram.shape[1]
    # Rows (and relevant rows) that rank before the next row of each distance.
    rows_before = np.cumsum(total_histogram, axis=1) - total_histogram
    hits_before = np.cumsum(relevant_histogram, axis=1) - relevant_histogram
    sums = np.zeros(len(query_codes))
    row_distances = RowDistances(query_codes)
    for first, block in database_blocks:
        row_distances.load(block)
        for query in range(len(query_codes)):
            distances = row_distances(query)
            order = np.argsort(distances, kind="stable")
            hits = np.flatnonzero(relevant(query, first, first + len(block))[order])
            at = distances[order[hits]]
            rows_here = np.bincount(distances, minlength=n_bins)
            hits_here = np.bincount(at, minlength=n_bins)
            rank = (rows_before[query] - _starts(rows_here))[at] + hits + 1
            n_hits = (hits_before[query] - _starts(hits_here))[at] + np.arange(1, len(hits) + 1)
            sums[query] += (n_hits / rank).sum()
            rows_before[query] += rows_here
            hits_before[query] += hits_here
    n_relevant = relevant_histogram.sum(axis=1)
    precision: NDArray[np.float64] = sums / np.maximum(n_relevant, 1)
    return precision


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the first item of each group, where groups of ``counts`` items follow."""
    starts: NDArray[np.int64] = np.cumsum(counts) - counts
    return starts
