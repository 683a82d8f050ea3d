"""Checksums of a bank's rows, by column, in blocks of 65,536 rows; see docs/bank-format.md."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from hashkit.rows_digest import BLOCK_ROWS

__all__ = ["ReadBytes", "RowChecksums", "checksums_of_rows", "encode_checksums"]

ReadBytes: TypeAlias = Callable[[str, int, int], bytes | memoryview]
"""``read(dataset, first, n_bytes)``: bytes of a dataset from byte ``first`` on."""


@dataclasses.dataclass(frozen=True)
class RowChecksums:
    """Checksums of a bank's rows, to be continued with further rows.

    Attributes
    ----------
    columns
        The datasets that have checksums, in the order of the file.
    widths
        Bytes per row of each of them except ``names``.
    n_rows
        Number of rows so far.
    tail
        Checksum of each column of the rows after the last whole block.
    """

    columns: Sequence[str]
    widths: Mapping[str, int]
    n_rows: int
    tail: tuple[int, ...]

    def continued(
        self, data: Mapping[str, bytes], n_name_bytes: int
    ) -> tuple[RowChecksums, list[tuple[int, tuple[int, ...]]]]:
        """Checksums with more rows, and each completed block with the checksums of its columns.

        Parameters
        ----------
        data
            Bytes of the rows, by dataset.
        n_name_bytes
            Bytes of the names before them.
        """
        n_new = len(data["codes"]) // self.widths["codes"]
        ends = [0, *(np.frombuffer(data.get("name_ends", b""), "<u8") - np.uint64(n_name_bytes))]
        n_rows, tail, whole, start = self.n_rows, self.tail, [], 0
        while start < n_new:
            stop = min(n_new, start + BLOCK_ROWS - n_rows % BLOCK_ROWS)
            limits = {name: (start * width, stop * width) for name, width in self.widths.items()}
            if "names" in self.columns:
                limits["names"] = int(ends[start]), int(ends[stop])
            tail = tuple(
                zlib.crc32(memoryview(data[name])[slice(*limits[name])], before)
                for name, before in zip(self.columns, tail, strict=True)
            )
            n_rows += stop - start
            start = stop
            if not n_rows % BLOCK_ROWS:
                whole.append((n_rows // BLOCK_ROWS - 1, tail))
                tail = (0,) * len(self.columns)
        return dataclasses.replace(self, n_rows=n_rows, tail=tail), whole


def checksums_of_rows(
    columns: Sequence[str],
    widths: Mapping[str, int],
    read: ReadBytes,
    start: int,
    stop: int,
    n_name_bytes: int,
) -> list[int | None]:
    """Checksums of the rows ``start`` to ``stop`` of a file, by column.

    The checksum of ``names`` is None if ``name_ends`` is damaged there.

    Parameters
    ----------
    n_name_bytes
        Bytes of the names of all rows.
    """
    checksums: list[int | None] = []
    for column in columns:
        if column != "names":
            width = widths[column]
            checksums.append(zlib.crc32(read(column, start * width, (stop - start) * width)))
            continue
        first, last = (_name_end(read, row) for row in (start, stop))
        is_inside = first <= last <= n_name_bytes
        checksums.append(zlib.crc32(read(column, first, last - first)) if is_inside else None)
    return checksums


def encode_checksums(checksums: Sequence[int]) -> bytes:
    """Checksums as a bank stores them."""
    return np.array(checksums, dtype="<u4").tobytes()


def _name_end(read: ReadBytes, row: int) -> int:
    """Where the name of the row before ``row`` ends."""
    return int.from_bytes(bytes(read("name_ends", 8 * (row - 1), 8)), "little") if row else 0
