"""The option ``--limit`` of every command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from hashkit.errors import ConfigError
from hashkit.inputs.limits import LIMITS, set_limits

__all__ = ["parse_limits", "with_limits"]

_OPTION = inspect.Parameter(
    "limit",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=N",
            help="Read larger files, see docs/trust.md; may be repeated.",
        ),
    ],
)


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the option ``--limit``, which holds while the command runs."""
    parameters = [*inspect.signature(command, eval_str=True).parameters.values(), _OPTION]

    @functools.wraps(command)
    def limited(*, limit: list[str] | None = None, **arguments: Any) -> None:
        before = set_limits(**parse_limits(limit or ()))
        try:
            command(**arguments)
        finally:
            set_limits(**{name: getattr(before, name) for name in LIMITS})

    limited.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    limited.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return limited


def parse_limits(texts: Iterable[str]) -> dict[str, int]:
    """Limits by name from ``name=number``.

    Raises
    ------
    ConfigError
        If a name is unknown, or a number is not a whole number of 1 or more.
    """
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        field = name.replace("-", "_")
        if field not in LIMITS:
            known = ", ".join(limit.replace("_", "-") for limit in LIMITS)
            raise ConfigError(f"--limit: expected NAME=N with a NAME of {known}, found {text!r}")
        # Nineteen digits are enough for any file.
        if not (number.isascii() and number.isdigit() and len(number) < 20 and int(number)):
            raise ConfigError(f"--limit: expected a whole number from 1 after =, found {text!r}")
        found[field] = int(number)
    return found
