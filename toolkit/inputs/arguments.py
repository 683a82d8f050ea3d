"""Checks that arguments of public functions have the annotated type; errors are one line.

NumPy's numbers count as numbers, and arrays without dimensions as their value. Nothing is converted
with a loss: 2.5 is not a whole number, and neither is ``True`` or ``"48"``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
import operator
import os
import sys
import types
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import (
    Any,
    Final,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from hashkit.errors import ConfigError, HashkitError

__all__ = [
    "argument_shown",
    "checked_arguments",
    "checked_arguments_but",
    "real_number",
    "whole_number",
]

P = ParamSpec("P")
R = TypeVar("R")

_MAX_SHOWN: Final = 60
_LARGEST: Final = 2**64 - 1
_OF_64_BITS: Final = "a whole number of at most 64 bits"
_PATH_BYTES: Final = 4096
_NAME_BYTES: Final = 255
"""The limit on Linux; longer names raise errors even if a program only checks for a file."""


def whole_number(
    value: object,
    name: str,
    low: int | None = None,
    high: int | None = None,
    error: type[HashkitError] = ConfigError,
) -> int:
    """The integer that an argument is.

    Parameters
    ----------
    name
        Name of the argument, for the message.
    low, high
        The smallest and the largest value; None for any that fits 64 bits.

    Raises
    ------
    HashkitError
        ``error``, if it is not an integer, or out of range.
    """
    if type(value) is not int:
        import numpy as np

        try:
            if isinstance(value, bool | np.bool_):
                raise TypeError
            value = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise error(_expected(name, "a whole number", value)) from None
    if (low is not None and value < low) or (high is not None and value > high):
        raise error(_expected(name, _range(low, high), value))
    if abs(value) > _LARGEST:
        raise error(_expected(name, _OF_64_BITS, value))
    return value


def real_number(
    value: object,
    name: str,
    low: float | None = None,
    error: type[HashkitError] = ConfigError,
    *,
    is_finite: bool = True,
) -> float:
    """The number that an argument is, from ``low`` if given.

    Raises
    ------
    HashkitError
        ``error``, if it is not a number, is NaN, infinite (unless ``is_finite`` is False), or too
        small.
    """
    import numpy as np

    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise error(_expected(name, "a number", value))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number) or (is_finite and math.isinf(number)):
        raise error(_expected(name, "a finite number" if is_finite else "a number", value))
    if low is not None and number < low:
        raise error(_expected(name, _range(low, None), value))
    return number


def argument_shown(value: object) -> str:
    """A value for a message: arrays by type and shape, anything else by at most 60 characters."""
    import numpy as np

    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array {value.dtype} {list(value.shape)}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to write out integers of more than 4,300 digits
        text = f"a number of type {type(value).__name__} with thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def checked_arguments_but(*left: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`checked_arguments`, except for arguments that the function itself checks."""
    return functools.partial(checked_arguments, left=left)


def checked_arguments(function: Callable[P, R], left: Collection[str] = ()) -> Callable[P, R]:
    """Check the arguments of each call by their annotations, and pass plain numbers on.

    Checked are int, float, bool, str, Literal, paths, functions, classes and sequences of these,
    also as members of a union; other annotations are left to the function. So a new argument is
    checked without further code.

    Raises
    ------
    ConfigError
        Raised by the returned function, if an argument has another type.
    """
    signature = inspect.signature(function)

    @functools.cache
    def annotations() -> dict[str, Any]:
        scope = {**vars(sys.modules[function.__module__])}
        return {
            name: _evaluated(parameter.annotation, scope)
            for name, parameter in signature.parameters.items()
            if name not in left
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:  # its text does not name the function
            raise TypeError(f"{function.__qualname__}(): {error}") from None
        for name, annotation in annotations().items():
            if name in bound.arguments:
                bound.arguments[name] = _conformed(bound.arguments[name], annotation, name)
        return function(*bound.args, **bound.kwargs)

    return checked


def _evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return Any if annotation is inspect.Parameter.empty else annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, scope)["it"]
    except (NameError, TypeError):  # a name imported only for types
        return Any


_PLURALS: Final[dict[Any, str]] = {int: "whole numbers", float: "numbers", str: "texts"}


class _MismatchError(Exception):
    """A value that is not of a type; the message says what is expected."""


def _conformed(value: Any, annotation: Any, name: str) -> Any:
    try:
        return _fitted(value, annotation)
    except _MismatchError as fault:
        raise ConfigError(_expected(name, str(fault), value)) from None


def _fitted(value: Any, annotation: Any) -> Any:
    members = _members(annotation)
    expected = []
    for member in members:
        try:
            fitted = _fitted_one(value, member)
            # Paths from the command line are not checked here: the system's error names them.
            if isinstance(value, str) and any(map(_is_path, members)):
                _check_lengths(value)
            return fitted
        except _MismatchError as fault:
            expected.append(str(fault))
    raise _MismatchError(" or ".join(dict.fromkeys(expected)))


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _fitted_one(value: Any, annotation: Any) -> Any:
    origin = get_origin(annotation) or annotation
    if origin in _CHECKS:
        try:
            return _CHECKS[origin](value)
        except ConfigError as fault:
            is_large = origin is int and type(value) is int
            raise _MismatchError(_OF_64_BITS if is_large else _WORDS[origin]) from fault
    if origin in (Sequence, tuple, list):
        return _sequence(value, get_args(annotation))
    if origin is Literal:
        if isinstance(value, str) and value in get_args(annotation):
            return value
        raise _MismatchError(" or ".join(map(str, get_args(annotation))))
    if origin is Callable:
        if callable(value):
            return value
        raise _MismatchError("a function")
    if isinstance(annotation, type) and annotation is not Any and not _is_kind(value, annotation):
        raise _MismatchError(f"a {annotation.__name__}")
    return value


def _is_kind(value: object, kind: type) -> bool:
    """Whether a value is of a class, or has the methods of a protocol.

    Protocols with properties are left to the function, whose message says what it takes.
    """
    if getattr(kind, "_is_protocol", False):
        members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
        is_of_data = not all(map(callable, members.values()))
        return is_of_data or all(callable(getattr(value, name, None)) for name in members)
    return isinstance(value, kind)


def _is_path(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in (os.PathLike, Path)


def _check_lengths(path: str) -> None:
    encoded = os.fsencode(path)
    if len(encoded) > _PATH_BYTES or any(len(n) > _NAME_BYTES for n in encoded.split(b"/")):
        raise _MismatchError(f"a path with names of at most {_NAME_BYTES} bytes")


def _bool(value: object) -> bool:
    import numpy as np

    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError


def _none(value: object) -> None:
    if value is not None:
        raise ConfigError


def _text(value: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        with contextlib.suppress(UnicodeEncodeError):  # no file name has half a surrogate pair
            os.fsencode(value)
            return value
    raise ConfigError


def _path(value: object) -> os.PathLike[str]:
    if isinstance(value, os.PathLike):
        _text(os.fsdecode(value))
        return value
    raise ConfigError


_CHECKS: Final[dict[Any, Callable[[Any], Any]]] = {
    int: lambda value: whole_number(value, ""),
    float: lambda value: real_number(value, ""),
    bool: _bool,
    str: _text,
    os.PathLike: _path,
    Path: _path,
    None: _none,
    types.NoneType: _none,
}
_WORDS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    os.PathLike: "a path",
    Path: "a path",
    None: "None",
    types.NoneType: "None",
}


def _sequence(value: Any, arguments: tuple[Any, ...]) -> Any:
    import numpy as np

    items = [argument for argument in arguments if argument is not ...]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        raise _MismatchError("a sequence")
    if isinstance(value, np.ndarray) and not value.ndim:
        raise _MismatchError("a sequence")
    if len(items) == 1:
        kind = _PLURALS.get(items[0], "values")
        try:
            return tuple(_fitted(item, items[0]) for item in value)
        except _MismatchError:
            raise _MismatchError(f"a sequence of {kind}") from None
    if items and len(value) != len(items):
        raise _MismatchError(f"{len(items)} values")
    return tuple(_fitted(item, kind) for item, kind in zip(value, items, strict=True))


def _expected(name: str, what: str, value: object) -> str:
    return f"`{name}` must be {what}, not {argument_shown(value)}"


def _range(low: float | None, high: int | None) -> str:
    if high is not None:
        return f"between {low} and {high}"
    return "0 or more" if not low else f"at least {low:g}"
