"""Recipes: named sets of settings.

docs/results.md has their measured results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.manifest import Manifest
from hashkit.runs.config import LOSS_OPTIONS, TrainConfig
from hashkit.runs.named_code import recorded_loss, recorded_network

__all__ = ["RECIPES", "Recipe", "describe_recipe", "model_manifest", "settings_of"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named set of settings.

    Attributes
    ----------
    about
        Short description of its purpose.
    config
        The settings; the seed, the code lengths and the input size are only defaults.
    size
        Input size (height, width) in pixels; None for the size of the network, or of the images.
    """

    about: str
    config: TrainConfig
    size: tuple[int, int] | None = None


_BEST: Final = TrainConfig()
"""The recipe of the default settings of `TrainConfig`."""

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

_FEW_LABELS: Final = dataclasses.replace(
    _BEST,
    recipe="few-labels",
    unlabelled_ratio=4,
    epochs=100.0,
)

_FEATURES: Final = dataclasses.replace(
    _BEST,
    recipe="features",
    network="onnx:efficientnet-lite0",
    freeze=-1,
    hidden=1024,
    dropout=0.3,
    optimiser="sgd",  # Muon's matrix products take most of the time of so wide a layer
    learning_rate=0.05,
    augmentation="none",
    cutout=0.0,
    mirror=False,
    calibrate=False,
)

_OPEN: Final = dataclasses.replace(
    _FEATURES,
    recipe="open",
    hidden=0,
    dropout=0.0,
    loss="supcon",
    scale=None,
    label_smoothing=None,
    temperature=0.5,
    quantisation=2.0,  # keeps most of the initial bits
    start="itq",
    learning_rate=0.005,
    epochs=10.0,
    holdout=0.0,  # a score on seen classes prefers codes that know only these
)

_UNLABELLED: Final = dataclasses.replace(
    _FEATURES,
    recipe="unlabelled",
    hidden=0,
    dropout=0.0,
    loss="itq",
    scale=None,
    label_smoothing=None,
    standardise=False,
    holdout=0.0,
)

RECIPES: Final[Mapping[str, Recipe]] = {
    "best": Recipe("from scratch, for small images", _BEST),
    "few-labels": Recipe(
        "from scratch, for a few images with labels and many without", _FEW_LABELS
    ),
    "pretrained": Recipe("from ImageNet weights, for photographs", _PRETRAINED, size=(128, 128)),
    "features": Recipe(
        "a head on frozen ImageNet features, in minutes; needs labels", _FEATURES, size=(128, 128)
    ),
    "open": Recipe(
        "the same for databases with classes that training never sees", _OPEN, size=(128, 128)
    ),
    "unlabelled": Recipe(
        "codes for images without labels, from frozen ImageNet features",
        _UNLABELLED,
        size=(128, 128),
    ),
    "paper": Recipe("the DNNH paper's network and loss, with a faster solver", _PAPER),
    "caffe-dnnh": Recipe(
        "the same with the network of the paper's Caffe implementation",
        dataclasses.replace(_PAPER, recipe="caffe-dnnh", network="dnnh-caffe"),
    ),
}
"""Recipes by name."""

_RUN_SETTINGS: Final = frozenset(
    {"recipe", "lengths", "height", "width", "resize", "seed"}
    | {"display_steps", "snapshot_steps", "keep_snapshots"}
)
"""Settings that a recipe leaves to the run, or that change nothing in the model."""


def settings_of(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """Settings of a recipe with changes, and the recipe's input size.

    Parameters
    ----------
    settings
        The changes, by field of `TrainConfig`. ``recipe`` names the recipe; the default recipe is
        used without it. If another loss is chosen, options of the recipe's loss are left out.

    Raises
    ------
    ConfigError
        If the recipe is unknown.
    """
    name = settings.get("recipe", _BEST.recipe)
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    values = recipe.config.to_dict()
    if settings.get("loss", values["loss"]) != values["loss"]:
        values |= dict.fromkeys(LOSS_OPTIONS)
    return values | dict(settings) | {"recipe": name}, recipe.size


def model_manifest(
    config: TrainConfig,
    *,
    dataset: str,
    protocol: str,
    versions: Mapping[str, str],
    class_names: tuple[str, ...] = (),
) -> Manifest:
    """Metadata of the model of a run with these settings.

    Parameters
    ----------
    dataset, protocol, class_names
        What it learns from.
    versions
        Versions of the libraries, by name.
    """
    return Manifest(
        n_bits=sum(config.lengths),
        height=config.height,
        width=config.width,
        resize=config.resize,
        network=recorded_network(config.network),
        loss=recorded_loss(config.loss),
        recipe=describe_recipe(config),
        dataset=dataset,
        protocol=protocol,
        class_names=class_names,
        seed=config.seed,
        versions=versions,
    )


def describe_recipe(config: TrainConfig) -> str:
    """Name of the settings' recipe and what differs from it: ``best with epochs=50, loss=csq``.

    The code lengths, the input size, the seed and the folders of files are left out.
    The text is the name alone if nothing differs, or if it is none of `RECIPES`.
    """
    if config.recipe not in RECIPES:
        return config.recipe
    usual, _ = settings_of({"recipe": config.recipe, "loss": config.loss})
    usual["loss"] = RECIPES[config.recipe].config.loss
    values = config.to_dict() | {
        "network": recorded_network(config.network),
        "loss": recorded_loss(config.loss),
    }
    changes = [
        f"{name}={_text(value)}"
        for name, value in values.items()
        if name not in _RUN_SETTINGS and value != usual[name]
    ]
    return f"{config.recipe} with {', '.join(changes)}" if changes else config.recipe


def _text(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
