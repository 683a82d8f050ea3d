"""Settings of a training run: a recipe, changes, and the size of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hashkit.runs.config import TrainConfig

__all__ = ["make_config"]

_DEFAULT_SIZE = 64
"""Input size, pixels, for images that are files of any size."""


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
    if argument:
        values["network"] = f"{values['network'].partition(':')[0]}:{kind.absolute(argument)}"
    if "resize" not in given:
        values["resize"] = rule.resize
    height, width = size or recipe_size or rule.size or own_size or (_DEFAULT_SIZE, _DEFAULT_SIZE)
    return TrainConfig.from_dict(values | {"height": height, "width": width})
