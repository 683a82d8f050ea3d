"""Settings of a training run: a recipe, changes, and the size of the images."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hashkit.errors import ConfigError
from hashkit.inputs.suggestions import did_you_mean
from hashkit.runs.config import SHORT_NAMES, TrainConfig
from hashkit.runs.known_names import split_network
from hashkit.runs.named_code import absolute_loss, absolute_network

__all__ = ["errors_name", "make_config", "on_features", "settings_by_field"]

_SIDES = ("height", "width")
"""Fields of `TrainConfig` that are given together, as ``size``."""

_NAME = re.compile(r"`([a-z_]+)([=`])")

_DEFAULT_SIZE = 64
"""Input size, pixels, for images that are files of any size."""


def settings_by_field(function: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by field of `TrainConfig`, which may be given under the names of their flags.

    Raises
    ------
    TypeError
        If one is unknown, or given under both names; ``function`` is named as what refused it.
    """
    fields = {field.name for field in dataclasses.fields(TrainConfig)} - set(_SIDES)
    by_short_name = {short: name for name, short in SHORT_NAMES.items()}
    found: dict[str, Any] = {}
    for given, value in settings.items():
        name = by_short_name.get(given, given)
        if name not in fields:
            hint = _hint(given, [*fields, *by_short_name])
            raise TypeError(f"{function}() got an unknown setting {given!r}{hint}")
        if name in found:
            raise TypeError(f"{function}() got {name} twice, also as {SHORT_NAMES[name]}")
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _hint(given: str, known: Sequence[str]) -> str:
    if given in _SIDES:
        return ": the setting is size=(height, width)"
    return f": {did_you_mean(given, [*known, 'size']) or 'see hashkit.runs.config.TrainConfig'}"


@contextlib.contextmanager
def errors_name(given: Iterable[str]) -> Iterator[None]:
    """Let a ConfigError of `TrainConfig` name the arguments that a caller gave.

    Parameters
    ----------
    given
        Names of the settings that were given; some are in `SHORT_NAMES`.
    """
    names = dict.fromkeys(_SIDES, "size")
    names |= {field: short for field, short in SHORT_NAMES.items() if short in given}
    try:
        yield
    except ConfigError as error:
        text = _NAME.sub(lambda match: f"`{names.get(match[1], match[1])}{match[2]}", str(error))
        raise type(error)(text) from None


def on_features(settings: Mapping[str, Any]) -> bool:
    """Whether settings train a head on the features of a frozen embedder.

    Raises
    ------
    ConfigError
        If the recipe or the network is unknown.
    """
    from hashkit.training.recipes import settings_of

    values, _ = settings_of(dict(settings))
    return split_network(values["network"])[0] == "onnx"


def make_config(
    settings: Mapping[str, Any],
    size: tuple[int, int] | None,
    own_size: tuple[int, int] | None,
) -> TrainConfig:
    """Settings of a recipe, with changes.

    Parameters
    ----------
    settings
        Values by field of `TrainConfig`, those that change the recipe.
    size
        (height, width) of the input, pixels; None for that of the recipe, the network or the
        images, whichever comes first.
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
    values, recipe_size = settings_of(given)
    kind, argument = find_network(values["network"])
    rule = kind.input_rule(argument, values["pretrained"])
    values["network"] = absolute_network(values["network"])
    if "resize" not in given:
        values["resize"] = rule.resize
    height, width = size or recipe_size or rule.size or own_size or (_DEFAULT_SIZE, _DEFAULT_SIZE)
    config = TrainConfig.from_dict(values | {"height": height, "width": width})
    return dataclasses.replace(config, loss=absolute_loss(config.loss))
