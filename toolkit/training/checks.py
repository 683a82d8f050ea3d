"""Whether settings, images and device go together, checked before any image is decoded."""

from __future__ import annotations

import torch

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import FROM_VIEWS
from hashkit.training.losses import LOSSES, check_batch_size, check_multi_label, find_loss

__all__ = ["check_learnable", "check_precision"]


def check_precision(config: TrainConfig, device: torch.device) -> None:
    """Raise ConfigError if a device cannot train in the precision of the settings."""
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError(
            '`precision="fp16"` needs a GPU, and the device is the CPU: use `precision="fp32"` or '
            '`precision="bf16"`'
        )


def check_learnable(
    config: TrainConfig, *, from_triplets: bool, is_multi_label: bool = False
) -> None:
    """Check that the loss of the settings can learn from the images.

    Parameters
    ----------
    from_triplets
        Whether the images come with a list of triplets.
    is_multi_label
        Whether an image may have several labels.

    Raises
    ------
    ConfigError
        If it cannot, or a batch would take too much memory.
    """
    loss = find_loss(config.loss)
    if from_triplets and not loss.takes_triplets:
        able = " or ".join(name for name, one in LOSSES.items() if one.takes_triplets)
        raise ConfigError(
            f"the loss {config.loss} cannot learn from a triplet list: use the loss {able}"
        )
    if not from_triplets:
        check_batch_size(config.loss, config.batch_size)
    check_multi_label(config.loss, is_multi_label=is_multi_label)
    if loss.learns_from == "views" and config.has_embedder and not config.learns_from_views:
        raise ConfigError(
            f"the loss {config.loss} learns from views, and on frozen features only these do: "
            f"{', '.join(FROM_VIEWS)}: use one of them, or a network that is trained"
        )
    if config.distill and not config.has_embedder:
        raise ConfigError(
            "`distill` needs the features of a frozen embedder, found the network "
            f'{config.network}: name one, as in `network="onnx:efficientnet-lite0"`, or use '
            "`distill=0`"
        )
    if config.cutmix:
        _check_cutmix(config, from_triplets=from_triplets)
    if config.unlabelled_ratio:
        _check_unlabelled(config, is_multi_label=is_multi_label)


def _check_cutmix(config: TrainConfig, *, from_triplets: bool) -> None:
    loss = find_loss(config.loss)
    if from_triplets or loss.learns_from != "labels" or loss.compares_images:
        able = ", ".join(
            name
            for name, other in LOSSES.items()
            if other.learns_from == "labels" and not other.compares_images
        )
        raise ConfigError(
            "`cutmix` needs a loss that learns from single images and their labels: use one of the "
            f"losses {able}, or `cutmix=0`"
        )


def _check_unlabelled(config: TrainConfig, *, is_multi_label: bool) -> None:
    if config.has_embedder:
        raise ConfigError(
            "`unlabelled_ratio` needs a network that is trained, found the frozen features of "
            f'{config.network}: name a network, or learn without labels, `recipe="unlabelled"`'
        )
    if not find_loss(config.loss).has_centres:
        able = ", ".join(name for name, other in LOSSES.items() if other.has_centres)
        raise ConfigError(
            f"`unlabelled_ratio` needs a loss with a code for each class, found {config.loss}: use "
            f"one of the losses {able}, or `unlabelled_ratio=0`"
        )
    if is_multi_label:
        raise ConfigError(
            "`unlabelled_ratio` needs images with one label each, and these have several: use "
            "`unlabelled_ratio=0`"
        )
