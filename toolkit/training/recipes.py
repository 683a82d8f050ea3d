"""Recipes: names for settings that go together.

What each gives is measured in docs/results.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.training.config import LOSS_OPTIONS, TrainConfig

__all__ = ["RECIPES", "SELF_TRAINED", "Recipe", "settings_of"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings that go together.

    Attributes
    ----------
    about
        What it is for, a few words.
    config
        Its settings; the seed, the code lengths and the input size are only defaults.
    size
        (height, width) in pixels that images are brought to; None for the network's own, or the
        images'.
    """

    about: str
    config: TrainConfig
    size: tuple[int, int] | None = None


_BEST: Final = TrainConfig(scale=4.0, label_smoothing=0.1)
"""The defaults of `TrainConfig` are those of this recipe."""

_PAPER: Final = dataclasses.replace(
    _BEST,
    recipe="paper",
    network="dnnh",
    loss="triplet",
    scale=None,
    label_smoothing=None,
    learning_rate=0.02,
    clip_norm=1.0,
    cutout=0.0,
    mirror=False,
)

_PRETRAINED: Final = dataclasses.replace(
    _BEST,
    recipe="pretrained",
    network="efficientnet-lite0",
    optimiser="sgd",
    learning_rate=0.06,
    stage_decay=0.9,
    batch_size=50,
    epochs=6.0,
    cutout=0.0,
)

_PRETRAINED_SELF_TRAINED: Final = dataclasses.replace(
    _PRETRAINED,
    recipe="pretrained-self-trained",
    pseudo_share=0.8,
    learning_rate=0.04,
    epochs=1.0,
)

RECIPES: Final[Mapping[str, Recipe]] = {
    "best": Recipe("from scratch, for small images", _BEST),
    "pretrained": Recipe("from ImageNet weights, for photographs", _PRETRAINED, size=(128, 128)),
    "pretrained-self-trained": Recipe(
        "pretrained, and a teacher's labels of the database's images",
        _PRETRAINED_SELF_TRAINED,
        size=(128, 128),
    ),
    "paper": Recipe("the DNNH paper's network and loss, with a faster solver", _PAPER),
    "caffe-dnnh": Recipe(
        "its Caffe implementation's network, likewise",
        dataclasses.replace(_PAPER, recipe="caffe-dnnh", network="dnnh-caffe"),
    ),
}
"""Recipes by name."""

SELF_TRAINED: Final = tuple(name for name in RECIPES if RECIPES[name].config.pseudo_share)
"""Those that learn from a teacher's labels too."""


def settings_of(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """Settings of a recipe with changes, and the input size that the recipe asks for.

    Parameters
    ----------
    settings
        Values by field of `TrainConfig`: the changes. ``recipe`` names the recipe; without it,
        the default one. Options of the recipe's loss are left out if another loss is chosen.

    Raises
    ------
    ConfigError
        If there is no such recipe, or pseudo-labels are switched on or off: whether the images
        of the database were learned from must show in the recipe's name.
    """
    name = settings.get("recipe", _BEST.recipe)
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    values = recipe.config.to_dict()
    if bool(settings.get("pseudo_share", values["pseudo_share"])) != bool(values["pseudo_share"]):
        raise ConfigError(
            f"pseudo-share must be above 0 for {' and '.join(SELF_TRAINED)}, and 0 for other "
            "recipes, so that a run's recipe says whether it learned from the database's images"
        )
    if settings.get("loss", values["loss"]) != values["loss"]:
        values |= dict.fromkeys(LOSS_OPTIONS)
    return values | dict(settings) | {"recipe": name}, recipe.size
