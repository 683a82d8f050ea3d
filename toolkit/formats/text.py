"""Codes as text: one code per line, ``0101...``; labels are in a separate file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.format import Format, WriteProgress, whole_file
from hashkit.formats.lines import read_lines
from hashkit.formats.rows import kept_codes
from hashkit.meter import Meter

__all__ = ["TEXT"]

_ZERO, _NEWLINE = ord("0"), ord("\n")


def _read(path: Path, n_bits: int | None) -> CodeSet:
    numbered = read_lines(path)
    lines = [line for _, line in numbered]
    if not lines:
        raise CodesError(f"{path}: expected codes, found none")
    length, like = (len(lines[0]), " like the first line") if n_bits is None else (n_bits, "")
    for number, line in numbered:
        if len(line) != length or not set(line) <= {"0", "1"}:
            found = line if len(line) <= 40 else f"{line[:40]}..."
            raise CodesError(
                f"{path}, line {number}: expected {length} digits 0 or 1{like}, "
                f"found {found!r} ({len(line)} characters)"
            )
    digits = np.frombuffer("".join(lines).encode("ascii"), dtype=np.uint8)
    return CodeSet(pack(digits.reshape(len(lines), length) - _ZERO), length)


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
