"""Flags of arguments: their names, their values' text, and messages that speak of arguments.

A message of the package gives an argument as code: `` `overwrite=True` ``, or just `` `seed` ``,
and a call as `` `hashkit.resume("runs/first")` ``. The command line prints the flag or command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from hashkit.errors import ConfigError
from hashkit.runs.config import SHORT_NAMES

__all__ = [
    "CALLS",
    "FLAGS",
    "flag",
    "flags",
    "given_flags",
    "parse_floats",
    "parse_integers",
    "parse_size",
    "refuse_flags",
    "shown",
    "with_flags",
]

FLAGS: Final[Mapping[str, str]] = {name: f"--{short}" for name, short in SHORT_NAMES.items()}
"""Flags that are not their setting's name with dashes."""

_ARGUMENT: Final = re.compile(r"`([a-z]\w*)(?:=(\"[^`\"]*\"|[^`\"\s]+))?`")
"""`name`, `name=value` or `name="value"`; ``...`` stands for a value that is left to the reader."""

_LIMIT: Final = re.compile(r"`hashkit\.set_limits\((\w+)=(\d+)\)`")
"""The call that raises a limit."""


_CALL: Final = re.compile(r"`hashkit\.(\w+)\(\"([^\"`]*)\"((?:, \w+=\"[^\"`]*\")*)\)`")
"""A call of the package with the path of a run, and texts: `hashkit.resume("runs/first")`."""

_TEXT: Final = re.compile(r", (\w+)=\"([^\"]*)\"")

CALLS: Final[Mapping[str, str]] = {
    "export": "hashkit export --onnx --run",
    "resume": "hashkit train --resume --run",
}
"""Commands that do what a call does, by its name; the path follows."""


class _Parameter(Protocol):
    """An option or argument of a command, as click has it."""

    name: str | None
    opts: list[str]
    secondary_opts: list[str]
    param_type_name: str


def flag(setting: str) -> str:
    """The flag of a setting of training."""
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))


def flags(settings: Iterable[str]) -> str:
    """The flags of settings, separated by commas."""
    return ", ".join(sorted(map(flag, settings)))


def given_flags(values: Mapping[str, object]) -> list[str]:
    """The flags that were given; their ``values`` are true."""
    return [name for name, value in values.items() if value]


def refuse_flags(values: Mapping[str, object], why: str) -> None:
    """Raise `ConfigError`, with the flags that were given and ``why``, if there are any."""
    if given := given_flags(values):
        raise ConfigError(f"{', '.join(given)} {why}")


def with_flags(message: str, command: Any, others: Mapping[str, Any]) -> str:
    """A message in which flags and commands replace the arguments and calls in backticks.

    Parameters
    ----------
    message
        Such as ``a.h5: exists already; replace it with `overwrite=True` ``. A call of
        `hashkit.set_limits` becomes the option ``--limit``.
    command
        The click command that raised it; None if there was none.
    others
        All commands by name. If ``command`` lacks an argument that has a value, `hashkit encode`
        or else the first of these that has it is named with the flag.
    """

    def replaced(match: re.Match[str]) -> str:
        name, value = match.groups()
        if command is not None and (found := _parameter(command, name)) is not None:
            return _as_typed(found, value)
        if value is None:
            return name
        for other_name in sorted(others, key=lambda one: one != "encode"):
            other = others[other_name]
            if (found := _parameter(other, name)) is not None:
                return f"hashkit {other_name} {_as_typed(found, value)}"
        return match[0]

    def limit(match: re.Match[str]) -> str:
        return f"--limit {match[1].replace('_', '-')}={match[2]}"

    message = _CALL.sub(_as_command, _LIMIT.sub(limit, message))
    return _ARGUMENT.sub(replaced, message)


def _as_command(call: re.Match[str]) -> str:
    name, path, texts = call.groups()
    if name not in CALLS:
        return call[0]
    options = [f"{flag(option)} {shlex.quote(text)}" for option, text in _TEXT.findall(texts)]
    return " ".join([CALLS[name], shlex.quote(path), *options])


def shown(context: Any, message: str) -> str:
    """`with_flags` for a command's own output; ``context`` is its click context."""
    return with_flags(message, context.command, context.parent.command.commands)


def _parameter(command: Any, name: str) -> _Parameter | None:
    names = (name, "bits") if name == "n_bits" else (name,)
    own_flag = "--" + name.replace("_", "-")
    for parameter in command.params:
        if parameter.name in names or own_flag in parameter.opts:
            found: _Parameter = parameter
            return found
    return None


def _as_typed(parameter: _Parameter, value: str | None) -> str:
    """A parameter with its value, as a user types them."""
    if parameter.param_type_name == "argument":
        return (parameter.name or "").upper()
    name = max(parameter.opts, key=len)
    if value is None or value in ("True", "..."):
        return name
    if value == "False":
        return max(parameter.secondary_opts, key=len, default=f"no {name}")
    text = value.removeprefix('"').removesuffix('"')
    return f"{name} {shlex.quote(text)}"


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``32`` or ``32x48``, pixels.

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isascii() and part.isdigit() for part in parts):
        return int(parts[0]), int(parts[-1])
    raise ConfigError(f"--size must be pixels, as 32 or 48x64 (height x width), not {text!r}")


def parse_floats(option: str, text: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises
    ------
    ConfigError
        If one is not a number.
    """
    return _parse(option, text, float)


def parse_integers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    Raises
    ------
    ConfigError
        If one is not a whole number.
    """
    return _parse(option, text, int)


def _parse(option: str, text: str, kind: type[Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option} must be numbers separated by commas, not {text!r}") from None
