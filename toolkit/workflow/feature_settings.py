"""Settings of trainings on frozen features, checked before an image is decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ConfigError
from hashkit.features.embedder import Embedder
from hashkit.manifest import REDUCED
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import FITTED
from hashkit.runs.named_code import absolute_loss, absolute_network, recorded_network
from hashkit.runtimes.cuda import not_on_cuda, why_no_cuda
from hashkit.runtimes.settings import DEVICES
from hashkit.training.recipes import RECIPES, settings_of
from hashkit.workflow.embedders import open_embedder
from hashkit.workflow.extras import require
from hashkit.workflow.reporter import Reporter, plural

__all__ = [
    "check_device",
    "check_labels",
    "configured",
    "require_packages",
    "with_enough_images",
]

_LEAST_IMAGES: Final = 2

_LOSS_OFF: Final = {
    "hidden": 0,
    "start": "random",
    "dropout": 0.0,
    "standardise": False,
    "holdout": 0.0,
}
"""Values of settings that only a loss needs, for methods that are fitted instead."""

_NOT_REFUSED: Final = frozenset(
    {"recipe", "network", "lengths", "height", "width", "resize", "loss", "seed"}
    | {"preprocessing", "pixel_mean", "pixel_std", "layout", "output", "pooling"}
    | {"augmentation", "policy", "cutout", "cutmix", "mirror", "freeze", "calibrate"}
    | {"pretrained"}
    | {"stage_decay", "display_steps", "snapshot_steps", "keep_snapshots"}
)
"""Settings not refused here: a fitted method takes or ignores them, or other code refuses them."""


def configured(
    settings: Mapping[str, Any], size: tuple[int, int] | None, device: str, reporter: Reporter
) -> tuple[TrainConfig, Embedder]:
    """Settings of a training on frozen features, and its embedder.

    Parameters
    ----------
    settings, size
        See `hashkit.workflow.settings.make_config`.
    device
        Where it will run; checked before the embedder is opened.

    Raises
    ------
    ConfigError, DeviceError, MissingExtraError, ModelError
        If a setting does not go with frozen features, the device or a package is not there, or the
        embedder cannot be used.
    """
    values, recipe_size = settings_of(dict(settings))
    usual = RECIPES[values["recipe"]].config
    if values["network"] != usual.network:
        recipe_size = None
    sides = {} if size is None else {"height": size[0], "width": size[1]}
    if settings.get("loss") in FITTED:
        values |= {"start": settings.get("start", "random")}
    probe = TrainConfig.from_dict(values | sides | {"freeze": -1})
    if probe.is_fitted:
        values = _without_learning(values, settings)
    require_packages(probe)
    _refuse_image_settings(settings)
    check_device(device, probe)
    reporter.note(f"opening the embedder {recorded_network(probe.network)}")
    embedder = open_embedder(probe, size or recipe_size)
    _note_facts(embedder, reporter)
    if "resize" not in settings:
        # Large JPEG files are decoded at a fraction of their size: decoding takes most of the time.
        is_usual = values["network"] == usual.network
        values["resize"] = embedder.resize + REDUCED if is_usual else embedder.resize
    embedder = dataclasses.replace(embedder, resize=values["resize"])
    values |= {"network": absolute_network(values["network"]), "freeze": -1}
    values["loss"] = absolute_loss(probe.loss)
    values |= {"augmentation": "none", "policy": "none", "cutout": 0.0, "cutmix": 0.0}
    values |= {"mirror": False}
    values |= {"height": embedder.height, "width": embedder.width, "calibrate": False}
    return TrainConfig.from_dict(values), embedder


def _note_facts(embedder: Embedder, reporter: Reporter) -> None:
    """Note what may make an embedder's features differ from those that it was made for."""
    differences = embedder.facts.get("resize_differences")
    if differences:
        several = [differences] if isinstance(differences, str) else differences
        reporter.note(f"warning: {embedder.name}: {'; '.join(map(str, several))}")
    operators = embedder.facts.get("other_operators")
    if operators:
        reporter.note(
            f"warning: {embedder.name} has operators that not every runtime knows: "
            f"{', '.join(map(str, operators))}"
        )


def _without_learning(values: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a method that is fitted, with `_LOSS_OFF` for those that only a loss needs."""
    usual, _ = settings_of({"recipe": values["recipe"]})
    usual |= _LOSS_OFF
    for name, value in settings.items():
        if name not in _NOT_REFUSED and value != usual[name]:
            raise ConfigError(
                f"`{name}` cannot be combined with {values['loss']}, which is fitted to the "
                "features, not trained: leave it out, or choose a loss that is trained"
            )
    return values | _LOSS_OFF


def with_enough_images(
    config: TrainConfig, settings: Mapping[str, Any], n_images: int, reporter: Reporter
) -> TrainConfig:
    """Replace the recipe's ITQ, which needs a principal component per bit, for a few images."""
    if config.is_fitted and n_images < _LEAST_IMAGES:
        raise ConfigError(
            f"expected at least {_LEAST_IMAGES} training images to fit {config.loss}, found "
            f"{n_images}: add images, or use fewer of them as queries with `n_queries`"
        )
    if config.loss != "itq" or "loss" in settings or n_images >= 2 * max(config.lengths):
        return config
    reporter.note(
        f"method lsh: {n_images} training images are too few to fit itq to "
        f"{plural(max(config.lengths), 'bit')}"
    )
    return dataclasses.replace(config, loss="lsh")


def _refuse_image_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of networks that process the images in every epoch."""
    of_images = ("augmentation", "policy", "cutout", "cutmix", "mirror", "freeze", "calibrate")
    given = [name for name in of_images if settings.get(name) not in (None, "none", 0, -1)]
    if given:
        raise ConfigError(
            f"`{given[0]}` cannot be combined with frozen features, which are computed once: leave "
            "it out"
        )
    if settings.get("pretrained") is False or settings.get("stage_decay", 1) != 1:
        name = "stage_decay" if settings.get("pretrained", True) else "pretrained"
        raise ConfigError(
            f"`{name}` cannot be combined with frozen features, whose network keeps its weights: "
            "leave it out"
        )


def check_labels(config: TrainConfig, images: ImageSet) -> None:
    """Check that the loss can learn from the images, before any is decoded."""
    if config.is_fitted:
        return
    from hashkit.training.checks import check_learnable
    from hashkit.training.prepare import check_classes, learns_from_labels, no_labels

    has_labels = images.labels is not None
    check_learnable(
        config,
        from_triplets=False,
        is_multi_label=learns_from_labels(config) and has_labels and images.is_multi_label,
    )
    if learns_from_labels(config):
        if not has_labels:
            raise no_labels(images)
        check_classes(images)


def require_packages(config: TrainConfig) -> None:
    """Raise MissingExtraError if a training on frozen features lacks a package."""
    require("onnx", "a training on frozen features", "onnx", "safetensors")
    if not config.is_fitted:
        require("train", f"the loss {config.loss}", "torch")


def check_device(device: str, config: TrainConfig) -> None:
    """Check that ``cuda`` is there if it was asked for, before anything is computed or written.

    Raises
    ------
    ConfigError, DeviceError
        If the name is unknown, or there is no CUDA device.
    """
    kind, _, number = device.partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"unknown device {device!r}; known: auto, cpu, cuda, cuda:<number>")
    if kind != "cuda":
        return
    if reason := why_no_cuda():
        raise not_on_cuda(reason)
    if not config.is_fitted:
        from hashkit.training.devices import choose_device

        choose_device(device)
