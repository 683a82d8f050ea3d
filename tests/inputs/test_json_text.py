from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.errors import RunError
from hashkit.inputs.json_text import parse_json, read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_what_json_writes_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value), "a.json", RunError) == value
    assert parse_json(json.dumps(value, ensure_ascii=False), "a.json", RunError) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_one_line_error(data: bytes) -> None:
    try:
        json.dumps(parse_json(data, "a.json", RunError))
    except RunError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not every input is an error
        assert str(error).isprintable()  # noqa: PT017


@looped(
    ("text", "message"),
    [
        ("", r"a\.json: expected JSON, found an empty text: fix"),
        ('{"a": 1,\n}', "line 2, column 1"),
        ("NaN", "expected finite numbers, found 'NaN'"),
        ("[-Infinity]", "expected finite numbers, found '-Infinity'"),
        ("1e400", "expected finite numbers, found '1e400'"),
        ('{"a": 1, "b": 2, "a": 1}', "expected each name once, found 'a' twice"),
        ("18446744073709551616", "at most 64 bits, found '18446744073709551616'"),
        ("9" * 5000, r"at most 64 bits, found '9{40}\.\.\.'"),
        ("-" + "9" * 5000, r"at most 64 bits, found '-9{39}\.\.\.'"),
        ("[" * 100_000, "expected JSON, found values nested too deeply"),
        ('{"a":' * 100_000, "expected JSON, found values nested too deeply"),
        (b'{"a": 1}\n\xff', "a.json, line 2: expected JSON in UTF-8, found the byte 0xff"),
    ],
)
def test_other_text_than_json_is_a_one_line_error(text: str | bytes, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        parse_json(text, "a.json", RunError, remedy="fix it")
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith("fix it")


def test_nan_is_taken_where_it_is_allowed() -> None:
    text = "[NaN, Infinity, 1e999]"
    assert repr(parse_json(text, "a.json", RunError, allow_nan=True)) == "[nan, inf, inf]"


def test_a_byte_order_mark_is_not_part_of_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json", RunError) == [1]


def test_a_missing_file_is_not_found_and_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json", RunError)
    with pytest.raises(RunError, match=r"cannot be read \(expected a file, found a folder\)"):
        read_json(tmp_path, RunError)
