"""Settings of a training run, as flags give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hashkit.runs.config import TrainConfig
from hashkit.workflow.flag_values import parse_floats, parse_integers, parse_size

__all__ = ["FLAGS", "flag", "flags", "make_config"]

FLAGS: Mapping[str, str] = {"lengths": "--bits", "learning_rate": "--lr"}
"""Flags that are not their setting's name with dashes."""

_DEFAULT_SIZE = 64
"""Input size, pixels, for images that are files of any size."""


def flags(settings: Iterable[str]) -> str:
    """The flags of settings, as a sentence lists them."""
    return ", ".join(sorted(map(flag, settings)))


def flag(setting: str) -> str:
    """The flag of a setting."""
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))


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
            given[name] = parse(flag(name), given[name])
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
