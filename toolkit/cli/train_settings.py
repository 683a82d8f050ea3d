"""Flags of the training settings, made from `TrainConfig`, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from hashkit.cli.options import parse_floats, parse_integers, parse_size
from hashkit.runs.config import TrainConfig

__all__ = ["FLAGS", "flags", "make_config", "with_settings"]

FLAGS: Mapping[str, str] = {"lengths": "--bits", "learning_rate": "--lr"}
"""Flags that are not their setting's name with dashes."""

_DEFAULT_SIZE = 64
"""Input size, pixels, for images that are files of any size."""


def flags(settings: Iterable[str]) -> str:
    """The flags of settings, as a sentence lists them."""
    return ", ".join(sorted(map(_flag, settings)))


def _flag(setting: str) -> str:
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))


def _setting_parameters() -> Iterator[inspect.Parameter]:
    """One option for each field of `TrainConfig`; the size has an option of its own."""
    kinds = {"str": str, "int": int, "float": float, "int | None": int, "float | None": float}
    for field in dataclasses.fields(TrainConfig):
        if field.name in ("height", "width"):
            continue
        flag, default = _flag(field.name), field.default
        if field.type == "bool":
            kind: Any = bool
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
        else:
            kind = kinds.get(str(field.type), str)
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        option = typer.Option(
            flag,
            help=field.metadata["help"],
            show_default=False if default is None else str(default),
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


def make_config(
    settings: Mapping[str, Any], size: str | None, own_size: tuple[int, int] | None
) -> TrainConfig:
    """Settings of flags.

    Parameters
    ----------
    settings
        Values by field of `TrainConfig`, those that change the recipe; numbers of a list may be
        text.
    size
        What ``--size`` says; None for that of the recipe, the network or the images, whichever
        comes first.
    own_size
        (height, width) that all images have, pixels; None if they have any.

    Raises
    ------
    ConfigError
        If a value is wrong.
    """
    from hashkit.training.networks import find_network
    from hashkit.training.recipes import settings_of

    given = dict(settings)
    for name, parse in (("milestones", parse_floats), ("lengths", parse_integers)):
        if isinstance(given.get(name), str):
            given[name] = parse(_flag(name), given[name])
    values, recipe_size = settings_of(given)
    kind, argument = find_network(values["network"])
    rule = kind.input_rule(argument, values["pretrained"])
    if argument:
        values["network"] = f"{values['network'].partition(':')[0]}:{kind.absolute(argument)}"
    if "resize" not in given:
        values["resize"] = rule.resize
    asked = parse_size(size) if size else None
    height, width = asked or recipe_size or rule.size or own_size or (_DEFAULT_SIZE, _DEFAULT_SIZE)
    return TrainConfig.from_dict(values | {"height": height, "width": width})
