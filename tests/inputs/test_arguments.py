from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import (
    argument_shown,
    checked_arguments,
    checked_arguments_but,
    real_number,
    whole_number,
)

if TYPE_CHECKING:
    from decimal import Decimal


@checked_arguments
def call(
    count: int = 0,
    share: float = 0.0,
    is_on: bool = False,
    name: str = "",
    path: str | os.PathLike[str] = "",
    bits: int | Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    kind: Literal["a"] = "a",
    made: Path | Fraction | None = None,
    later: Decimal | None = None,
    progress: Callable[[int], None] | None = None,
    *others: int,
    more: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """The arguments that a function gets."""
    return locals()


def got(**arguments: Any) -> Any:
    (name,) = arguments
    return call(**arguments)[name]


@looped(
    ("name", "value", "expected"),
    [
        ("count", np.uint8(3), 3),
        ("count", np.array(3), 3),
        ("share", 2, 2.0),
        ("share", np.float32(0.5), 0.5),
        ("share", Fraction(1, 2), 0.5),
        ("share", np.array(1.5), 1.5),
        ("is_on", np.True_, True),
        ("path", Path("a"), Path("a")),
        ("bits", np.int64(8), 8),
        ("bits", [8, np.int8(16)], (8, 16)),
        ("bits", np.array([8, 16]), (8, 16)),
        ("bits", (), ()),
        ("size", [3, 4], (3, 4)),
        ("made", Fraction(1), Fraction(1)),
        ("later", "left to the function", "left to the function"),
        ("more", object, object),
        ("unknown", 3, None),
    ],
)
def test_a_valid_argument_is_passed_on_as_a_plain_value(
    name: str, value: Any, expected: Any
) -> None:
    arguments = call(**{name: value})
    found = arguments["settings"] if name == "unknown" else arguments[name]
    if name == "unknown":
        assert found == {"unknown": 3}
        return
    assert found == expected
    assert type(found) is type(expected)


@looped(
    ("name", "value", "message"),
    [
        ("count", 2.5, "`count` must be a whole number, not 2.5"),
        ("count", True, "`count` must be a whole number, not True"),
        ("count", "3", "`count` must be a whole number, not '3'"),
        ("count", None, "`count` must be a whole number, not None"),
        ("share", math.nan, "`share` must be a finite number, not nan"),
        ("share", True, "`share` must be a finite number, not True"),
        ("is_on", 1, "`is_on` must be True or False, not 1"),
        ("name", 3, "`name` must be a text, not 3"),
        ("name", "a\0b", "`name` must be a text, not 'a\\x00b'"),
        ("path", 3, "`path` must be a text or a path, not 3"),
        ("path", b"a", "`path` must be a text or a path, not b'a'"),
        ("bits", 8.5, "must be a whole number or a sequence or None, not 8.5"),
        ("bits", [8, 8.5], "must be a whole number or a sequence of whole numbers or None"),
        ("bits", "8", "must be a whole number or a sequence or None, not '8'"),
        ("size", [1, 2, 3], "must be 2 values or None, not [1, 2, 3]"),
        ("kind", "b", "`kind` must be a, not 'b'"),
        ("kind", ["a"], "`kind` must be a, not ['a']"),
        ("progress", 3, "`progress` must be a function or None, not 3"),
        ("made", 3, "`made` must be a path or a Fraction or None, not 3"),
        ("count", np.zeros((2, 3)), "not an array float64 [2, 3]"),
    ],
)
def test_an_invalid_argument_is_a_one_line_error(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(**{name: value})
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_arguments_by_position_are_checked_too() -> None:
    assert call(np.int8(1), 2)["count"] == 1
    with pytest.raises(ConfigError, match="`share`"):
        call(1, "2")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        call(1, count=2)  # type: ignore[misc]


def test_arguments_may_be_left_to_the_function() -> None:
    @checked_arguments_but("count")
    def some(count: int, other: int) -> tuple[int, int]:
        return count, other

    assert some("x", np.int8(3)) == ("x", 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`other`"):
        some(1, "x")  # type: ignore[arg-type]


def test_a_checked_function_keeps_its_name_and_parameters() -> None:
    assert call.__name__ == "call"
    assert call.__doc__ == "The arguments that a function gets."
    assert list(inspect.signature(call).parameters)[:2] == ["count", "share"]


@given(st.integers() | st.floats() | st.booleans() | st.text() | st.none())
def test_a_whole_number_is_kept_or_refused(value: Any) -> None:
    try:
        found = whole_number(value, "n", -5, 5)
    except ConfigError:
        assert type(value) is not int or not -5 <= value <= 5
    else:
        assert type(value) is int
        assert found == value


@looped(
    ("value", "low", "high", "message"),
    [
        (-1, 0, None, "`n` must be 0 or more, not -1"),
        (0, 1, None, "`n` must be at least 1, not 0"),
        (9, 1, 8, "`n` must be between 1 and 8, not 9"),
        (10**30, 1, 8, "`n` must be between 1 and 8, not "),
    ],
)
def test_ranges_are_in_the_message(value: int, low: int, high: int | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        whole_number(value, "n", low, high)
    assert message in str(caught.value)


def test_infinity_is_a_number_only_if_allowed() -> None:
    assert real_number(math.inf, "x", is_finite=False) == math.inf
    for value in (math.inf, -math.inf, 10**5000):
        with pytest.raises(ConfigError, match="`x` must be a finite number"):
            real_number(value, "x")
    with pytest.raises(ConfigError, match="`x` must be 0 or more, not -1"):
        real_number(-1, "x", 0)


def test_long_values_are_cut() -> None:
    assert len(argument_shown("x" * 1000)) == 60
    assert argument_shown("a\nb") == "'a\\nb'"
