from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.errors import BankError, ConfigError, RunError
from hashkit.inputs.schema import dataclass_from, value_from
from hashkit.manifest import Manifest
from hashkit.runs.run_config import RunConfig


@dataclasses.dataclass(frozen=True)
class Part:
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"`size` must be at least 1, not {self.size}")


@dataclasses.dataclass(frozen=True)
class Whole:
    count: int
    share: float = 0.5
    is_on: bool = False
    name: str = ""
    kind: Literal["a", "b"] = "a"
    seed: int | None = None
    either: int | str = 0
    lengths: tuple[int, ...] = ()
    pair: tuple[int, str] | None = None
    names: Sequence[str] = ()
    by_name: Mapping[str, float] = dataclasses.field(default_factory=dict)
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    more: Any = None


def whole(**fields: Any) -> Whole:
    return dataclass_from(Whole, {"count": 1, **fields}, name="a.json", error=BankError)


def test_every_kind_of_field_is_made() -> None:
    made = whole(
        share=1,
        is_on=True,
        name="n",
        kind="b",
        seed=2**64 - 1,
        either="x",
        lengths=[1, 2],
        pair=[1, "x"],
        names=["y"],
        by_name={"z": 2},
        part={"size": 3},
        parts=[{"size": 4}],
        more=[{"any": None}],
    )
    assert made == Whole(
        1,
        1.0,
        True,
        "n",
        "b",
        2**64 - 1,
        "x",
        (1, 2),
        (1, "x"),
        ["y"],
        {"z": 2.0},
        Part(3),
        (Part(4),),
        [{"any": None}],
    )
    assert whole() == Whole(1)
    assert isinstance(made.share, float)


@looped(
    ("fields", "message"),
    [
        ({"count": True}, "count: expected a whole number, found true"),
        ({"count": 1.0}, "count: expected a whole number, found 1.0"),
        ({"count": "1"}, 'count: expected a whole number, found "1"'),
        ({"count": None}, "count: expected a whole number, found null"),
        ({"share": "1"}, 'share: expected a number, found "1"'),
        ({"share": True}, "share: expected a number, found true"),
        ({"is_on": 1}, "is_on: expected true or false, found 1"),
        ({"name": 3}, "name: expected a text, found 3"),
        ({"kind": "c"}, "kind: expected 'a' or 'b', found \"c\""),
        ({"seed": "x"}, 'seed: expected a whole number, found "x"'),
        ({"lengths": "12"}, 'lengths: expected a list, found "12"'),
        ({"lengths": {"1": 2}}, 'lengths: expected a list, found {"1": 2}'),
        ({"lengths": [1, "2"]}, 'lengths[1]: expected a whole number, found "2"'),
        ({"names": "ab"}, 'names: expected a list, found "ab"'),
        ({"by_name": [1]}, "by_name: expected an object, found [1]"),
        ({"by_name": {"z": "x"}}, 'by_name.z: expected a number, found "x"'),
        ({"part": 3}, "part: expected an object, found 3"),
        ({"part": {}}, "part.size is missing"),
        ({"part": {"size": 0}}, "part: `size` must be at least 1, not 0"),
        ({"parts": [{"size": 1, "colour": 2}]}, "parts[0].colour is unknown"),
        ({"colour": "red"}, "colour is unknown"),
        ({"cuont": 3}, "cuont is unknown, did you mean count?"),
        ({"part": {"size": 1, "sizes": 1}}, "part.sizes is unknown, did you mean size?"),
        ({"parts": [{"size": 1, "sise": 1}]}, "parts[0].sise is unknown, did you mean size?"),
        ({"\x1b[31m": "red"}, '["\\u001b[31m"] is unknown'),
        ({"colour": 1, "count": "x"}, "; colour is unknown"),
    ],
)
def test_every_fault_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BankError) as caught:
        whole(**fields)
    assert str(caught.value).startswith("a.json: ")
    assert message in str(caught.value)


def test_values_that_are_not_objects_are_refused() -> None:
    for value in ([], "x", 3, None, [["count", 1]]):
        with pytest.raises(BankError, match="expected an object"):
            dataclass_from(Whole, value, name="a.json", error=BankError)


def test_unknown_fields_are_ignored_only_if_allowed() -> None:
    fields = {"count": 1, "colour": "red"}
    made = dataclass_from(Whole, fields, name="a", error=BankError, may_have_more=True)
    assert made == Whole(1)


def test_many_faults_and_long_values_give_a_short_line() -> None:
    with pytest.raises(BankError) as caught:
        dataclass_from(
            Whole,
            {"count": "x" * 1000, **{f"colour{i}": 1 for i in range(100)}},
            name="a",
            error=BankError,
            remedy="fix it",
        )
    assert str(caught.value).endswith("; 96 more: fix it")
    assert len(str(caught.value)) < 300


def test_a_value_of_any_annotation_is_checked() -> None:
    assert value_from(tuple[int, ...], [1, 2], name="a", error=BankError) == (1, 2)
    with pytest.raises(BankError, match=r"^a: expected a list, found 3$"):
        value_from(tuple[int, ...], 3, name="a", error=BankError)


@pytest.mark.parametrize("kind", [RunConfig, Manifest])
def test_the_dataclasses_of_files_have_schemas(kind: type[Any]) -> None:
    fields = {"n_bits": 8, "height": 4, "width": 4} if kind is Manifest else {}
    assert dataclass_from(kind, fields, name="a", error=RunError) == kind(**fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.sampled_from([field.name for field in dataclasses.fields(Whole)]), JSON)
def test_any_value_gives_the_annotated_type_or_a_one_line_error(field: str, value: Any) -> None:
    try:
        made = whole(**{field: value})
    except BankError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not every input is an error
        return
    given, got = value, getattr(made, field)
    assert got == (tuple(given) if isinstance(got, tuple) else given) or field in ("part", "parts")


def test_pydantic_itself_is_not_imported() -> None:
    """It takes three times as long as its core."""
    before = {name for name in sys.modules if name.split(".")[0] == "pydantic"}
    whole()
    assert {name for name in sys.modules if name.split(".")[0] == "pydantic"} == before
