from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.inputs.numbers import is_number, whole_number


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_themselves(number: int) -> None:
    assert whole_number(str(number)) == number
    if abs(number) <= 2**53:
        assert whole_number(f"{number}.0") == number
        assert whole_number(f"{number:.18e}") == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_numbers_and_whole_only_if_they_are(number: float) -> None:
    assert is_number(repr(number))
    is_whole = number.is_integer() and abs(number) <= 2**53
    assert whole_number(repr(number)) == (int(number) if is_whole else None)


@looped(
    "text",
    ["", "-", ".", "e5", "1e", "1_000", "0x1", "nan", "inf", " 1", "1 ", "\u0661", "1,5", "--1"],
)
def test_other_texts_are_not_numbers(text: str) -> None:
    assert not is_number(text)
    assert whole_number(text) is None


@looped("text", ["9223372036854775808", "-9223372036854775809", "9" * 5000, "1e400", "1e19", "0.5"])
def test_numbers_that_are_too_large_or_not_whole_give_none(text: str) -> None:
    assert is_number(text)
    assert whole_number(text) is None


def test_leading_zeros_and_signs_do_not_matter() -> None:
    assert whole_number("0" * 5000 + "7") == 7
    assert (whole_number("+7"), whole_number("-0"), whole_number("7."), whole_number(".0")) == (
        7,
        0,
        7,
        0,
    )


def test_long_texts_take_no_more_than_their_length() -> None:
    """A pattern that can match digits in two ways would take the square of the length."""
    began = time.process_time()
    for text in ("9" * 200_000 + "x", "." + "9" * 200_000 + "x", "9" * 200_000 + ".x"):
        assert not is_number(text)
    assert time.process_time() - began < 1
