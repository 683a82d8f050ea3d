"""Flags of the training settings, made from `TrainConfig`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from hashkit.cli.flags import flag, parse_floats, parse_integers
from hashkit.runs.config import TrainConfig

__all__ = ["read_settings", "with_settings"]


_VALUES = {"str": "NAME", "int": "N", "float": "X"}
"""Words for values in the help, by the type of a setting."""

_LISTS = {
    "lengths": "BITS,...",
    "milestones": "X,...",
    "pixel_mean": "X,...",
    "pixel_std": "X,...",
}


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that flags gave, by field of `TrainConfig`; those that are None are left out.

    Raises
    ------
    ConfigError
        If a list of numbers is something else.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    for name in _LISTS.keys() & settings.keys():
        parse = parse_integers if name == "lengths" else parse_floats
        settings[name] = parse(flag(name), settings[name])
    return settings


def _setting_parameters() -> Iterator[inspect.Parameter]:
    """One option for each field of `TrainConfig`; the size has an option of its own."""
    kinds = {"str": str, "int": int, "float": float, "int | None": int, "float | None": float}
    for field in dataclasses.fields(TrainConfig):
        if field.name in ("height", "width"):
            continue
        name, default = flag(field.name), field.default
        if field.type == "bool":
            kind: Any = bool
            name = f"{name}/--no-{name.removeprefix('--')}"
        else:
            kind = kinds.get(str(field.type), str)
        if isinstance(default, tuple):
            default = ",".join(map(str, default)) or None
        option = typer.Option(
            name,
            metavar=_LISTS.get(field.name) or _VALUES.get(str(field.type).partition(" | ")[0]),
            help=field.metadata["help"],
            show_default=str(default) if default not in (None, "") else False,
        )
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, option],
        )


def with_settings(command: Callable[..., None]) -> None:
    """Put the settings in place of ``**given``, so that their flags come from `TrainConfig`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    settings = list(_setting_parameters())
    command.__signature__ = signature.replace(parameters=[*own, *settings])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *settings]}
