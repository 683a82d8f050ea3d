"""Splits codes into substrings and fills a table for each; see `hashkit.multi_index.index`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError
from hashkit.kernels.arrays import read_only
from hashkit.meter import Meter
from hashkit.multi_index.header import MAX_LENGTH
from hashkit.threads import run_parallel

if TYPE_CHECKING:
    from hashkit.kernels.buckets import Tables

__all__ = ["Progress", "assemble_tables", "crowding", "cut_bits", "fill_tables"]

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in rows; each row counts once per pass, with two passes per table."""

MIN_LENGTH: Final = 8
"""Fewest bits of a substring."""

_BUILD_ROWS: Final = 1 << 20


def cut_bits(n_bits: int, n_rows: int, n_tables: int | None = None) -> tuple[int, ...]:
    """Number of bits of each substring, longer ones first.

    By default, substrings have such a length that a bucket holds a few rows: section 4 of the paper
    shows that about log2(n) bits is best.

    Raises
    ------
    ConfigError
        If ``n_tables`` gives substrings without bits or of more than 24 bits.
    """
    fewest = -(-n_bits // MAX_LENGTH)
    if n_tables is None:
        length = min(max(math.log2(max(n_rows, 1)) - 2, MIN_LENGTH), MAX_LENGTH)
        n_tables = max(round(n_bits / length), fewest)
    if not fewest <= n_tables <= n_bits:
        raise ConfigError(
            f"`n_tables` must be {fewest} to {n_bits} for codes of {n_bits} bits, not {n_tables}"
        )
    return tuple((n_bits + table) // n_tables for table in reversed(range(n_tables)))


def fill_tables(
    codes: NDArray[np.uint8],
    lengths: Sequence[int],
    n_threads: int = 1,
    progress: Progress | None = None,
) -> Tables:
    """Build the tables of codes, uint8 [n, size], by a counting sort of their substrings."""
    n_rows, n_tables = len(codes), len(lengths)
    offset_type, row_type = entry_types(n_rows)
    offsets = np.zeros(sum((1 << length) + 1 for length in lengths), offset_type)
    rows = np.empty(n_tables * n_rows, row_type)
    sketches = np.empty(n_tables * n_rows, np.uint32)
    tables = assemble_tables(codes, lengths, offsets, rows, sketches)
    meter = Meter(2 * n_tables * n_rows, progress)
    fill = functools.partial(_fill_table, tables, offsets, rows, sketches, meter)

    def fill_every(first: int) -> None:
        for table in range(first, n_tables, n_threads):
            fill(table)

    run_parallel([functools.partial(fill_every, i) for i in range(min(n_threads, n_tables))])
    return tables


def entry_types(n_rows: int) -> tuple[Any, Any]:
    """Smallest types of offsets and of row numbers for ``n_rows`` rows."""
    return (np.uint32, np.uint32) if n_rows < 1 << 32 else (np.uint64, np.int64)


def assemble_tables(
    codes: NDArray[np.uint8],
    lengths: Sequence[int],
    offsets: NDArray[np.unsignedinteger[Any]],
    rows: NDArray[np.integer[Any]],
    sketches: NDArray[np.uint32],
) -> Tables:
    """Make the kernels' `Tables`, with the arrays that follow from the substrings' lengths."""
    from hashkit.kernels.buckets import Tables

    bits = np.array(lengths, np.int64)
    first_bits = np.cumsum(bits) - bits
    sizes = (np.int64(1) << bits) + 1
    n_words = -(-codes.shape[1] // 8)
    positions = np.arange(n_words * 64)[None, :]
    is_inside = (positions >= first_bits[:, None]) & (positions < (first_bits + bits)[:, None])
    masks = np.packbits(is_inside, axis=1).view("<u8")
    starts = np.cumsum(sizes) - sizes
    arrays = (np.ascontiguousarray(codes), offsets, rows, sketches, starts, first_bits, bits, masks)
    return Tables(*map(read_only, arrays))


def crowding(tables: Tables) -> tuple[float, ...]:
    """For each table, the mean number of rows in a row's bucket, including the row itself."""
    means = []
    for start, length in zip(tables.offset_starts, tables.lengths, strict=True):
        counts = np.diff(tables.offsets[start : start + (1 << length) + 1]).astype(np.float64)
        means.append(float(counts @ counts) / max(len(tables.codes), 1))
    return tuple(means)


def _fill_table(
    tables: Tables,
    offsets: NDArray[Any],
    rows: NDArray[Any],
    sketches: NDArray[np.uint32],
    meter: Meter,
    table: int,
) -> None:
    """Count the rows of each bucket of one table, then place the rows."""
    from hashkit.kernels.buckets import count_rows, place_rows

    codes, n_rows = tables.codes, len(tables.codes)
    first_bit, length = int(tables.first_bits[table]), int(tables.lengths[table])
    start = int(tables.offset_starts[table])
    own_offsets = offsets[start : start + (1 << length) + 1]
    entries = slice(table * n_rows, (table + 1) * n_rows)
    pieces = [(first, min(first + _BUILD_ROWS, n_rows)) for first in range(0, n_rows, _BUILD_ROWS)]
    for first, last in pieces:
        count_rows(codes, first, last, first_bit, length, own_offsets[1:])
        meter.add(last - first)
    np.cumsum(own_offsets, out=own_offsets)
    free, mask = own_offsets[:-1].copy(), tables.masks[table]
    for first, last in pieces:
        place_rows(
            codes, first, last, first_bit, length, mask, free, rows[entries], sketches[entries]
        )
        meter.add(last - first)
