"""Statistics of the bits of a database's codes: balance, correlation and distinct codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_words
from hashkit.codesets import CodeDatabase, n_kept_rows

__all__ = ["BitCounts", "BitStatistics", "bit_counts", "bit_statistics", "statistics_of_counts"]

_BLOCK_ROWS: Final = 65_536
_BLOCK_BITS: Final = 2**28  # read at a time: 32 MiB
_MOST_CORRELATED: Final = 2048
_MOST_ROWS: Final = 2**24
_MOST_PRODUCTS: Final = 2**36  # products of two bits: about a second on two cores


@dataclasses.dataclass(frozen=True)
class BitStatistics:
    """Statistics of the live codes of a database.

    Attributes
    ----------
    n_rows, n_sampled
        Live rows, and how many of them were used: all up to a limit, evenly spaced rows beyond it.
        The numbers below describe the rows used; fewer rows have fewer duplicates.
    share_of_ones
        For each bit, the share of rows where it is 1.
    mean_entropy
        Mean over bits of the entropy of that share, in bits: 1 if all are balanced.
    n_constant_bits
        Bits that are the same in every row.
    mean_absolute_correlation, max_absolute_correlation
        Mean and maximum absolute Pearson correlation over all pairs of bits that are not constant;
        0 if there is no pair. For codes of more than 2,048 bits, evenly spaced bits are used.
    n_distinct_codes
        Number of distinct codes.
    largest_group
        Number of rows with the most frequent code.
    share_duplicated
        Share of rows whose code also occurs in another row.
    """

    n_rows: int
    n_sampled: int
    share_of_ones: list[float]
    mean_entropy: float
    n_constant_bits: int
    mean_absolute_correlation: float
    max_absolute_correlation: float
    n_distinct_codes: int
    largest_group: int
    share_duplicated: float


@dataclasses.dataclass(frozen=True)
class BitCounts:
    """Counts of the bits of a part of a database, and the codes that were counted.

    Attributes
    ----------
    n_rows, n_sampled
        As in `BitStatistics`.
    ones
        int64 [n_bits], rows in which each bit is 1.
    together
        int64 [n_paired, n_paired], rows in which two bits are both 1, for evenly spaced bits.
    words
        uint64 [n_sampled, w], the codes.
    """

    n_rows: int
    n_sampled: int
    ones: NDArray[np.int64]
    together: NDArray[np.int64]
    words: NDArray[np.uint64]


def bit_statistics(database: CodeDatabase | Sequence[CodeDatabase]) -> BitStatistics:
    """Statistics of the codes of one or several databases, without deleted rows.

    Memory is two to three times the size of the codes used: at most 384 MiB for codes of up to
    64 bits.

    Parameters
    ----------
    database
        One or several databases with the same number of bits and at least one live row.
    """
    databases = list(database) if isinstance(database, Sequence) else [database]
    return statistics_of_counts([bit_counts(databases, 0, sum(map(len, databases)))])


def bit_counts(databases: Sequence[CodeDatabase], first_row: int, n_rows: int) -> BitCounts:
    """Counts of some databases that are part of a larger one.

    Parameters
    ----------
    first_row
        The number that their first row has in the whole.
    n_rows
        Number of rows of the whole, deleted ones included, which decides how many are sampled.
    """
    n_bits = databases[0].n_bits
    paired = slice(None, None, -(-n_bits // _MOST_CORRELATED))
    n_paired = len(range(n_bits)[paired])
    ones = np.zeros(n_bits, np.int64)
    together = np.zeros((n_paired, n_paired), np.int64)
    words = [np.empty((0, -(-n_bits // 64)), np.uint64)]
    for codes in _sampled(databases, n_bits, first_row, n_rows):
        planes = _planes(codes, n_bits)
        ones += _counts(planes)
        together += _counts_together(planes[paired])
        words.append(code_words(codes))
    sampled = np.concatenate(words)
    return BitCounts(sum(map(n_kept_rows, databases)), len(sampled), ones, together, sampled)


def statistics_of_counts(parts: Sequence[BitCounts]) -> BitStatistics:
    """Statistics of a database from counts of all its parts, in any order."""
    n_sampled = sum(part.n_sampled for part in parts)
    ones = np.sum([part.ones for part in parts], axis=0)
    together = np.sum([part.together for part in parts], axis=0).astype(np.float64)
    share = ones / n_sampled
    correlations = _correlations(together, n_sampled)
    words = [part.words for part in parts]
    groups = _group_sizes(words[0] if len(words) == 1 else np.concatenate(words))
    return BitStatistics(
        n_rows=sum(part.n_rows for part in parts),
        n_sampled=n_sampled,
        share_of_ones=share.tolist(),
        mean_entropy=float(_entropy(share).mean()),
        n_constant_bits=int(np.count_nonzero((ones == 0) | (ones == n_sampled))),
        mean_absolute_correlation=float(correlations.mean()) if len(correlations) else 0.0,
        max_absolute_correlation=float(correlations.max(initial=0)),
        n_distinct_codes=len(groups),
        largest_group=int(groups.max()),
        share_duplicated=float(groups[groups > 1].sum() / n_sampled),
    )


def _sampled(
    databases: Sequence[CodeDatabase], n_bits: int, first_row: int, n_rows: int
) -> Iterator[NDArray[np.uint8]]:
    """Live codes in blocks: all rows, or every n-th row of the whole, if there are many."""
    most = min(_MOST_ROWS, max(_BLOCK_ROWS, _MOST_PRODUCTS // n_bits**2))
    block_rows = min(_BLOCK_ROWS, max(1, _BLOCK_BITS // n_bits))
    step = -(-n_rows // most)
    for database in databases:
        codes, deleted = database.codes, database.deleted
        for first in range(-first_row % step, len(codes), step * block_rows):
            rows = slice(first, first + step * block_rows, step)
            yield codes[rows] if deleted is None else codes[rows][~deleted[rows]]
        first_row += len(codes)


def _planes(codes: NDArray[np.uint8], n_bits: int) -> NDArray[np.uint64]:
    """Bit planes, uint64 [n_bits, w]: counting then needs only a bitwise AND and a popcount.

    A matrix product of the bits gives the same counts, but its threads wait for each other, which
    takes up to 20 times as long when other processes keep the cores busy.
    """
    columns = np.ascontiguousarray(codes.T)
    n_bytes = -(-len(codes) // 8)
    planes = np.zeros((n_bits, -(-n_bytes // 8) * 8), dtype=np.uint8)
    for bit in range(n_bits):
        planes[bit, :n_bytes] = np.packbits(columns[bit // 8] & (128 >> bit % 8))
    return planes.view(np.uint64)


def _counts(planes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of ones in each plane, int64 [n_planes]."""
    counts: NDArray[np.int64] = np.bitwise_count(planes).sum(axis=1, dtype=np.int64)
    return counts


def _counts_together(planes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of positions at which both of two planes are 1, int64 [n_planes, n_planes]."""
    together = np.empty((len(planes), len(planes)), dtype=np.int64)
    for index, plane in enumerate(planes):
        counts = _counts(planes[index:] & plane)
        together[index, index:] = together[index:, index] = counts
    return together


def _group_sizes(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of rows with each distinct code, int64 [n_distinct]; may sort ``words`` in place."""
    if words.shape[1] == 1:
        words[:, 0].sort()
    else:
        words = words[np.lexsort(words.T)]
    is_new = np.concatenate([[True], np.any(words[1:] != words[:-1], axis=1)])
    starts = np.append(np.flatnonzero(is_new), len(words))
    return np.diff(starts)


def _entropy(share: NDArray[np.float64]) -> NDArray[np.float64]:
    both = np.stack([share, 1 - share])
    logarithms = np.log2(np.where(both > 0, both, 1.0))
    entropy: NDArray[np.float64] = -(both * logarithms).sum(axis=0)
    return entropy


def _correlations(together: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Absolute correlation of each pair of bits that vary, float64 [n_pairs]."""
    ones = np.diag(together)
    varies = np.flatnonzero((ones > 0) & (ones < n_rows))
    ones = ones[varies]
    covariance = n_rows * together[np.ix_(varies, varies)] - np.outer(ones, ones)
    deviation = np.sqrt(ones * (n_rows - ones))
    pairs = np.triu_indices(len(varies), k=1)
    correlations: NDArray[np.float64] = np.abs(
        covariance[pairs] / np.outer(deviation, deviation)[pairs]
    )
    return correlations
