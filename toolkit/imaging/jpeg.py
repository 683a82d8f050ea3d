"""Finds JPEG files with a hole: a part that a bad disk or download replaced by something else.

Such a file decodes without an error, to a picture that is wrong from the hole on. Looking for signs
of a hole is much faster than decoding (`jpeg_signs`). A file that has one is read in full, without
computing pixels; large flat areas have such signs too.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.imaging.jpeg_markers import DHT, DQT, DRI, EOI, HUFFMAN_FRAMES, RESTARTS, SOS
from hashkit.imaging.jpeg_signs import SEGMENTS, has_signs_of_a_hole
from hashkit.imaging.runs import runs_in

__all__ = ["check_jpeg", "run_jpeg_kernel"]

_OTHER_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {*HUFFMAN_FRAMES, DHT, 0xC8, 0xCC}
_N_TABLES: Final = 8
_FIRST_COEFFICIENT: Final = 1024 + 512
"""Largest magnitude of the first coefficient of 8-bit samples, multiplied by its quantiser, with a
margin for encoders that exceed white to avoid ringing."""


def check_jpeg(data: bytes) -> None:
    """Check a JPEG file whose data has a sign of a hole; do nothing for others.

    Arithmetic coding, lossless files and samples of 12 bits are not checked.

    Raises
    ------
    OSError
        If the file has a hole.
    """
    start = _first_scan(data)
    if start is None or not has_signs_of_a_hole(data, start):
        return
    checker = _Checker(data)
    try:
        problem = checker.check()
    except (IndexError, ValueError, KeyError, struct.error):
        # Damaged headers before the first scan are left to the decoder.
        problem = "the headers of a scan are damaged" if checker.n_scans else ""
    if problem:
        raise OSError(f"the image data has a hole: {problem}")


def run_jpeg_kernel() -> None:
    """Check a small file in full, which loads or compiles the kernel for all later files."""
    from PIL import Image

    flat = io.BytesIO()
    # With optimised Huffman codes, its data is a run of zeros.
    Image.new("L", (1_024, 1_024)).save(flat, "jpeg", optimize=True)
    check_jpeg(flat.getvalue())


def _first_scan(data: bytes) -> int | None:
    """Where the first scan begins; None if there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == SOS:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _ceil(value: int, divisor: int) -> int:
    return -(-value // divisor)


@dataclasses.dataclass
class _Component:
    """A component of the frame: sampling, and its blocks in an MCU's and its own grid."""

    columns: int
    rows: int
    limit: int
    width: int
    height: int
    stride: int
    start: int


class _Checker:
    """Walks through the segments of a file and reads its scans."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        found = np.flatnonzero(self._bytes[:-1] == 0xFF)
        following = self._bytes[found + 1]
        self._marks = found[(following != 0) & (following != 0xFF)]
        self._quantisers: dict[int, int] = {}
        self._tables = np.zeros((_N_TABLES, 1 << 16), np.uint16)
        self._interval = 0
        self.n_scans = 0
        self._components: dict[int, _Component] = {}
        self._order: list[int] = []
        self._mcus = (0, 0)
        self._is_progressive = False

    def check(self) -> str:
        """What is wrong with the file's scans; empty if nothing is."""
        at = 2
        while at + 1 < len(self._data):
            if self._data[at] != 0xFF:
                raise ValueError
            marker = self._data[at + 1]
            if marker == 0xFF:
                at += 1
                continue
            if marker == EOI or marker in _OTHER_FRAMES:
                return ""
            if marker not in SEGMENTS:
                raise ValueError
            size = int.from_bytes(self._data[at + 2 : at + 4], "big")
            body = self._data[at + 4 : at + 2 + size]
            at += 2 + size
            if marker == SOS:
                problem, at = self._scan(body, at)
                if problem:
                    return problem
            else:
                self._segment(marker, body)
        return ""

    def _segment(self, marker: int, body: bytes) -> None:
        if marker == DQT:
            self._read_quantisers(body)
        elif marker == DHT:
            self._read_tables(body)
        elif marker == DRI:
            self._interval = int.from_bytes(body[:2], "big")
        elif marker in HUFFMAN_FRAMES:
            self._read_frame(marker, body)

    def _read_quantisers(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            size = 2 if body[at] >> 4 else 1
            self._quantisers[body[at] & 15] = int.from_bytes(body[at + 1 : at + 1 + size], "big")
            at += 1 + 64 * size

    def _read_tables(self, body: bytes) -> None:
        """Tables from the 16 bits that begin with a code to its length and symbol (T.81, C)."""
        at = 0
        while at < len(body):
            table = self._tables[(body[at] >> 4 & 1) * 4 + (body[at] & 3)]
            counts = body[at + 1 : at + 17]
            at += 17
            table[:] = 0
            code = 0
            for length, count in enumerate(counts, start=1):
                for symbol in body[at : at + count]:
                    step = 1 << (16 - length)
                    table[code : code + step] = length << 8 | symbol
                    code += step
                at += count

    def _read_frame(self, marker: int, body: bytes) -> None:
        precision, height, width, n_components = struct.unpack(">BHHB", body[:6])
        if (
            precision != 8
            or not height
            or not width
            or self._components
            or not 1 <= n_components <= 4
        ):
            raise ValueError
        self._is_progressive = marker == HUFFMAN_FRAMES[-1]
        listed = [body[6 + 3 * i : 9 + 3 * i] for i in range(n_components)]
        if any(not 1 <= part <= 4 for _, both, _ in listed for part in (both >> 4, both & 15)):
            raise ValueError
        most_columns = max(sampling >> 4 for _, sampling, _ in listed)
        most_rows = max(sampling & 15 for _, sampling, _ in listed)
        self._mcus = _ceil(width, 8 * most_columns), _ceil(height, 8 * most_rows)
        start = 0
        for number, sampling, quantiser in listed:
            columns, rows = sampling >> 4, sampling & 15
            stride = self._mcus[0] * columns
            self._components[number] = _Component(
                columns=columns,
                rows=rows,
                limit=_FIRST_COEFFICIENT // max(self._quantisers.get(quantiser, 1), 1) + 2,
                width=_ceil(_ceil(width * columns, most_columns), 8),
                height=_ceil(_ceil(height * rows, most_rows), 8),
                stride=stride,
                start=start,
            )
            self._order.append(number)
            start += stride * self._mcus[1] * rows
        self._known = np.zeros(start, np.uint64)

    def _scan(self, header: bytes, start: int) -> tuple[str, int]:
        """What is wrong with a scan, and where it ends."""
        from hashkit.kernels.jpeg_scan import WHOLE, read_scan  # loads Numba: a third of a second

        self.n_scans += 1
        marks = self._marks[np.searchsorted(self._marks, start) :]
        is_restart = np.isin(self._bytes[marks + 1], RESTARTS)
        n_restarts = int(np.argmin(is_restart)) if not is_restart.all() else len(marks)
        restarts = marks[:n_restarts]
        end = int(marks[n_restarts]) if n_restarts < len(marks) else len(self._data)
        numbers = self._bytes[restarts + 1] - RESTARTS.start
        if (numbers != np.arange(n_restarts) % 8).any():
            return "restart marks are missing", end
        edges = [start, *(int(mark) for mark in restarts), end]
        parts = [
            self._data[first + (2 if i else 0) : last].rstrip(b"\xff").replace(b"\xff\0", b"\xff")
            for i, (first, last) in enumerate(itertools.pairwise(edges))
        ]
        values = np.frombuffer(b"".join(parts) + bytes(3), np.uint8)
        stops = np.cumsum([len(part) for part in parts])
        blocks, scan = self._layout(header)
        problem = read_scan(
            values,
            np.stack([stops - [len(part) for part in parts], stops], axis=1).astype(np.int64),
            runs_in(values[:-3]),
            scan,
            blocks,
            self._tables,
            np.array([self._components[number].limit for number in self._order], np.int64),
            self._known,
        )
        return ("" if problem == WHOLE else _PROBLEMS[problem]), end

    def _layout(self, header: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ``blocks`` and ``scan`` of `read_scan`."""
        n = header[0]
        first, last, bits = header[1 + 2 * n : 4 + 2 * n]
        listed = [(header[1 + 2 * i], header[2 + 2 * i]) for i in range(n)]
        is_complete = (first, last) == (0, 63) and not bits
        is_possible = is_complete if not self._is_progressive else (n == 1 or not last)
        if not 0 < n <= 4 or not first <= last < 64 or not is_possible:
            raise ValueError
        blocks = []
        for number, tables in listed:
            component = self._components[number]
            columns, rows = (component.columns, component.rows) if n > 1 else (1, 1)
            blocks += [
                [self._order.index(number), tables >> 4 & 3, 4 + (tables & 3), component.start,
                 component.stride, columns, rows, column, row]
                for row in range(rows) for column in range(columns)
            ]  # fmt: skip
        per_row, n_rows = (component.width, component.height) if n == 1 else self._mcus
        fields = [
            per_row * n_rows, per_row, self._interval, first, last, bits >> 4 > 0,
            self._is_progressive,
        ]  # fmt: skip
        return np.array(blocks, np.int64), np.array(fields, np.int64)


_PROBLEMS: Final = {
    1: "it has codes that are not valid",
    2: "it ends before the last block",
    3: "it does not end with the last block",
    4: "values are out of range",
    5: "blocks with detail out of nothing but equal bytes",
}
