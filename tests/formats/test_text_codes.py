"""Codes of other programs, read from text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from code_files import BITS, CODES, text
from looped import looped

from hashkit.codes import unpack
from hashkit.errors import CodesError
from hashkit.formats import open_codes


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_text_codes_are_the_same_bits(tmp_path: Path, end: str) -> None:
    lines = ["".join(map(str, row)) for row in BITS]
    newline = "\r\n" if end == "\r\n" else "\n"
    found = open_codes(text(tmp_path, "pool.txt", newline.join(lines) + end))
    assert found.n_bits == 13
    np.testing.assert_array_equal(unpack(found.codes, 13), BITS)


@looped("mark", [" ", "\t", ",", ";", ", "])
@looped("form", ["%d", "%.18e", "%.1f", "signs"])
def test_codes_with_delimiters_are_the_same_bits(tmp_path: Path, mark: str, form: str) -> None:
    values = BITS if form != "signs" else BITS * 2.0 - 1
    np.savetxt(
        tmp_path / "pool.txt",
        values,
        fmt="%d" if form == "signs" else form,
        delimiter=mark,
        header="codes",
    )
    found = open_codes(tmp_path / "pool.txt")
    assert found.n_bits == 13
    np.testing.assert_array_equal(found.codes, CODES)


@looped(
    ("content", "message"),
    [
        ("0101\n011\n", "line 2: expected 4 digits"),
        ("0101\n0121\n", "line 2: expected 4 digits 0 or 1 like the first line, found '0121'"),
        ("0101\n\n0101\n", "line 2: expected a code or label, found an empty line"),
        ("cat\n", "line 1: expected a code in each line.*found 'cat'"),
        ("", "expected a code in each line.*found no lines"),
        ("0 1 1\n0 1\n", "line 2: .*3 bits in each line, found '0 1'"),
        ("0 1 2\n", "line 1: .*found '0 1 2'"),
        ("0.5 1 1\n", "line 1: .*found '0.5 1 1'"),
        ("-1 0 1\n", "1 zeros among -1 and 1"),
        ('"0" 1\n', "line 1: .*found"),
        ("\xff", "line 1"),
    ],
)
def test_text_that_is_not_codes_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(CodesError, match=message):
        open_codes(text(tmp_path, "pool.txt", content))


def test_binary_data_is_not_read_as_text(tmp_path: Path) -> None:
    for name, message in (("pool.txt", r"line 2: .*0xff"), ("pool.bin", "unknown suffix '.bin'")):
        (tmp_path / name).write_bytes(b"\n\xff\x00")
        with pytest.raises(CodesError, match=message):
            open_codes(tmp_path / name)
