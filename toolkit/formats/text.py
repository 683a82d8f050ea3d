"""Codes as text: one code per line, ``0101...`` or numbers; labels are in a separate file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.cells import split_rows
from hashkit.formats.code_arrays import pack_matrix
from hashkit.formats.format import Format, WriteProgress, naming, whole_file
from hashkit.formats.lines import read_lines
from hashkit.formats.rows import kept_codes
from hashkit.inputs.numbers import whole_number
from hashkit.inputs.text import shown
from hashkit.meter import Meter

__all__ = ["TEXT"]

_EXPECTED: Final = "a code in each line, `0101` or `0 1 0 1` or `-1 1 -1 1`"
_ZERO, _NEWLINE = ord("0"), ord("\n")


def _read(path: Path, n_bits: int | None) -> CodeSet:
    numbered = read_lines(path)
    if not numbered:
        raise CodesError(f"{path}: expected {_EXPECTED}, found no lines")
    if set(numbered[0][1]) <= {"0", "1"}:
        return _digits(path, numbered, n_bits)
    return _columns(path, numbered, n_bits)


def _digits(path: Path, numbered: list[tuple[int, str]], n_bits: int | None) -> CodeSet:
    lines = [line for _, line in numbered]
    length, like = (len(lines[0]), " like the first line") if n_bits is None else (n_bits, "")
    for number, line in numbered:
        if len(line) != length or not set(line) <= {"0", "1"}:
            raise CodesError(
                f"{path}, line {number}: expected {length} digits 0 or 1{like}, "
                f"found {shown(line)} ({len(line)} characters)"
            )
    digits = np.frombuffer("".join(lines).encode("ascii"), dtype=np.uint8)
    return CodeSet(pack(digits.reshape(len(lines), length) - _ZERO), length)


def _columns(path: Path, numbered: list[tuple[int, str]], n_bits: int | None) -> CodeSet:
    """Codes with a delimiter between bits, which are numbers: 0 and 1, or -1 and 1."""
    rows, _ = split_rows(numbered)
    width = len(rows[0].cells) if n_bits is None else n_bits
    bits = {text: _bit(text) for text in {text for row in rows for text in row.cells}}
    for row in rows:
        if len(row.cells) != width or row.is_quoted or any(bits[one] is None for one in row.cells):
            raise CodesError(
                f"{path}, line {row.line}: expected {_EXPECTED}, {width} bits in each line, found "
                f"{shown(row.text)}"
            )
    values = np.array([[bits[one] for one in row.cells] for row in rows], dtype=np.int8)
    with naming(path):
        return CodeSet(pack_matrix(values), width)


def _bit(text: str) -> int | None:
    number = whole_number(text)
    return number if number in (-1, 0, 1) else None


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    meter = Meter(n_kept_rows(database), progress)
    with whole_file(path, overwrite) as part, part.open("wb") as file:
        for codes in kept_codes(database):
            lines = np.full((len(codes), database.n_bits + 1), _NEWLINE, dtype=np.uint8)
            lines[:, :-1] = unpack(codes, database.n_bits) + _ZERO
            file.write(lines.data)
            meter.add(len(codes))


TEXT = Format("text file", _read, _write, keeps_names=False, keeps_labels=False)
