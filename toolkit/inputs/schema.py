"""Values of JSON as dataclasses: every field is checked against its annotation.

The checks are those of pydantic's core, whose import takes a third of the time of pydantic's; this
matters because every search reads a bank and a model. The schema is made from the annotations, so a
new field is checked without further code.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from hashkit.errors import HashkitError
from hashkit.inputs.json_text import json_shown
from hashkit.inputs.suggestions import did_you_mean
from hashkit.messages.foreign_errors import foreign_message

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, SchemaValidator

__all__ = ["dataclass_from", "json_fields", "value_from"]

T = TypeVar("T")

_MAX_FAULTS: Final = 5
_MAX_NAME: Final = 60

_EXPECTED: Final = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "none_required": "null",
    "string_type": "a text",
    "string_unicode": "a text in Unicode",
    "tuple_type": "a list",
}
"""What was expected, by pydantic's kinds of errors."""


def json_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a dataclass as JSON-ready values: tuples become lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }


def dataclass_from(
    kind: type[T],
    fields: object,
    *,
    name: str,
    error: type[HashkitError],
    remedy: str = "",
    may_have_more: bool = False,
) -> T:
    """Make a dataclass from a JSON object.

    Numbers, texts and bools are not converted, except integers to floats; tuples are made from
    lists. Fields with a default may be missing.

    Parameters
    ----------
    kind
        A dataclass. Its annotations may be int, float, bool, str, None, Any, Literal, unions,
        tuple, list, Sequence, dict or Mapping with text keys, and other dataclasses.
    fields
        The object, as `hashkit.inputs.json_text` gives it.
    name
        What the object is, for messages.
    error
        The exception to raise.
    remedy
        How to fix it, for messages.
    may_have_more
        Whether unknown fields are ignored; otherwise they are an error.

    Raises
    ------
    HashkitError
        If a field is missing, unknown or of another type, or the dataclass refuses its value; the
        message names up to five of them.
    """
    made: T = value_from(
        kind, fields, name=name, error=error, remedy=remedy, may_have_more=may_have_more
    )
    return made


def value_from(
    annotation: Any,
    value: object,
    *,
    name: str,
    error: type[HashkitError],
    remedy: str = "",
    may_have_more: bool = False,
) -> Any:
    """A value of any annotation that a field of `dataclass_from` may have, checked like one."""
    from pydantic_core import ValidationError

    extra: Literal["ignore", "forbid"] = "ignore" if may_have_more else "forbid"
    try:
        return _validator(annotation).validate_python(value, extra=extra)
    except ValidationError as fault:
        faults = [_fault_text(annotation, one) for one in fault.errors(include_url=False)]
    except RecursionError:
        faults = ["expected less deeply nested values"]
    if len(faults) > _MAX_FAULTS:
        faults[_MAX_FAULTS:] = [f"{len(faults) - _MAX_FAULTS} more"]
    raise error(f"{name}: {'; '.join(faults)}{f': {remedy}' if remedy else ''}")


@functools.cache
def _validator(annotation: Any) -> SchemaValidator:
    from pydantic_core import SchemaValidator

    return SchemaValidator(_schema(annotation))


def _schema(annotation: Any) -> CoreSchema:
    """Schema of one annotation."""
    from pydantic_core import core_schema as core

    plain: dict[Any, Callable[[], CoreSchema]] = {
        Any: core.any_schema,
        None: core.none_schema,
        types.NoneType: core.none_schema,
        bool: lambda: core.bool_schema(strict=True),
        int: lambda: core.int_schema(strict=True),
        float: lambda: core.float_schema(strict=True),
        str: lambda: core.str_schema(strict=True),
    }
    if annotation in plain:
        return plain[annotation]()
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is Literal:
        return core.literal_schema(list(arguments))
    if origin is tuple and arguments[-1] is ...:
        return core.tuple_schema([_schema(arguments[0])], variadic_item_index=0)
    if origin is tuple:
        return core.tuple_schema([_schema(one) for one in arguments])
    if origin in (list, Sequence):
        return core.list_schema(_schema(arguments[0]))
    if origin in (dict, Mapping):
        return core.dict_schema(_schema(arguments[0]), _schema(arguments[1]), strict=True)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _object(annotation)
    raise TypeError(f"no schema for {annotation!r}")


def _union(members: Sequence[Any]) -> CoreSchema:
    from pydantic_core import core_schema as core

    choices = [_schema(one) for one in members if one is not types.NoneType]
    schema = choices[0] if len(choices) == 1 else core.union_schema([*choices])
    return core.nullable_schema(schema) if types.NoneType in members else schema


def _object(kind: type[Any]) -> CoreSchema:
    """Schema of a dataclass: an object with its fields; what ``__init__`` refuses is a fault."""
    from pydantic_core import core_schema as core

    def make(values: dict[str, Any]) -> Any:
        try:
            return kind(**values)
        except HashkitError as fault:
            raise ValueError(fault) from None

    hints = get_type_hints(kind)
    members = {
        field.name: core.typed_dict_field(
            _schema(hints[field.name]),
            required=field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.init
    }
    return core.no_info_after_validator_function(make, core.typed_dict_schema(members))


def _fault_text(annotation: Any, error: Mapping[str, Any]) -> str:
    """One fault: ``training.lengths[1]: expected a whole number, found "2"``."""
    place = "".join(_path_parts(error["loc"])).removeprefix(".")
    if error["type"] == "extra_forbidden":
        return f"{place} is unknown{_name_hint(annotation, error['loc'])}"
    if error["type"] == "missing":
        return f"{place} is missing"
    where = f"{place}: " if place else ""
    cause = error.get("ctx", {}).get("error")
    if cause is not None:  # raised by the dataclass; its message is complete
        return f"{where}{foreign_message(cause)}"
    expected = _EXPECTED.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    return f"{where}expected {expected}, found {json_shown(error['input'])}"


def _path_parts(steps: tuple[str | int, ...]) -> Iterator[str]:
    for step in steps:
        is_name = isinstance(step, str) and step.isidentifier() and len(step) < _MAX_NAME
        yield f".{step}" if is_name else f"[{json_shown(step)}]"


def _name_hint(annotation: Any, steps: tuple[str | int, ...]) -> str:
    """The known name that is most similar to an unknown one, if any is."""
    *parents, name = steps
    for step in parents:
        annotation = _annotation_of(annotation, step)
    annotation = _without_none(annotation)
    if not dataclasses.is_dataclass(annotation):
        return ""
    known = [field.name for field in dataclasses.fields(annotation)]
    hint = did_you_mean(str(name), known)
    return f", {hint}" if hint else ""


def _annotation_of(annotation: Any, step: str | int) -> Any:
    """Annotation of a field of a dataclass, or of an item of a list or mapping."""
    annotation = _without_none(annotation)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return get_type_hints(annotation).get(str(step))
    arguments = get_args(annotation)
    if not arguments:
        return None
    return arguments[-1] if get_origin(annotation) in (dict, Mapping) else arguments[0]


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    members = [one for one in get_args(annotation) if one is not types.NoneType]
    return members[0] if len(members) == 1 else None
