"""Names that settings may have, so that settings are checked without importing what they name.

The dictionaries of training and of the image sets have the same names, which a test checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hashkit.errors import ConfigError

__all__ = [
    "ACTIVATIONS",
    "AUGMENTATIONS",
    "BUILT_IN_EMBEDDERS",
    "CHOICES",
    "EXPORTED_NETWORKS",
    "FITTED",
    "FROM_VIEWS",
    "LOGGERS",
    "LOSSES",
    "NETWORKS",
    "NETWORK_OPTIONS",
    "OPTIMISERS",
    "OWN_CODE",
    "POLICIES",
    "PROTOCOLS",
    "SAMPLERS",
    "SCHEDULES",
    "SPECTRAL",
    "STARTS",
    "check_loss_options",
    "check_name",
    "check_network_options",
    "check_training_device",
    "is_exported_network",
    "split_loss",
    "split_network",
]

NETWORKS: Final[dict[str, bool]] = {
    "compact": False,
    "compact-wide": False,
    "compact-deep": False,
    "compact-wider": False,
    "dnnh": False,
    "dnnh-caffe": False,
    "efficientnet-lite0": False,
    "efficientnet-lite1": False,
    "efficientnet-lite2": False,
    "timm": True,
    "torchvision": True,
    "module": True,
    "onnx": True,
}
"""Whether a network's name continues after a colon, by name."""

NETWORK_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "activation": ("compact", "compact-wide", "compact-deep", "compact-wider"),
    "patch": ("compact", "compact-wide", "compact-deep", "compact-wider"),
}
"""Networks that have an option of their own, by its name."""

LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "triplet": ("margin", "average", "epsilon"),
    "dpsh": ("quantisation",),
    "dtsh": ("margin", "quantisation"),
    "dsh": ("margin", "quantisation"),
    "hashnet": ("scale",),
    "dch": ("scale", "quantisation"),
    "multi-similarity": ("scale", "margin", "epsilon", "quantisation"),
    "supcon": ("temperature", "quantisation"),
    "csq": ("quantisation",),
    "orthohash": ("scale", "margin", "label_smoothing"),
    "dpn": ("margin",),
    "greedyhash": ("quantisation",),
    "bihalf": ("quantisation",),
    "cibhash": ("temperature", "quantisation"),
}
"""Options of a loss, by name."""

OWN_CODE: Final = "module"
"""Kind of networks and losses that are the user's own, as in ``module:FILE.py:NAME``."""

BUILT_IN_EMBEDDERS: Final = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
"""Embedders that ``onnx:`` can name without a file."""

EXPORTED_NETWORKS: Final = ("timm", "torchvision")
"""Kinds of torch networks that ``onnx:`` can name, as in ``onnx:timm:resnet50``."""

FITTED: Final[Mapping[str, str]] = {
    "itq": "Iterative quantisation: rotated principal components",
    "pcah": "Principal components",
    "lsh": "Random directions",
    "sh": "Spectral hashing: sine waves along principal components",
}
"""Methods that fit a head to frozen features without labels or gradients, in place of a loss.

Each has a short description.
"""

FROM_VIEWS: Final = ("cibhash",)
"""Losses that learn from two views of each image."""

SPECTRAL: Final = "sh"
"""The method whose logits are cosines."""

LOGGERS: Final = ("tensorboard", "wandb")
ACTIVATIONS: Final = ("relu", "celu", "gelu")
OPTIMISERS: Final = ("muon", "sgd")
SCHEDULES: Final = ("constant", "multistep", "cosine", "one-cycle")
AUGMENTATIONS: Final = ("none", "shift", "shift-flip", "crop", "views")
STARTS: Final = ("random", "itq")
SAMPLERS: Final = ("shuffled", "balanced")
POLICIES: Final = ("none", "trivial", "rand")
PROTOCOLS: Final = (
    "per-class",
    "random",
    "official",
    "unseen-classes",
    "cifar10-59k",
    "cifar10-54k",
    "cifar10-full",
    "per-class-unlabelled",
    "cifar10-59k-unlabelled",
)
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
    "augmentation": ("auto", *AUGMENTATIONS),
    "sampler": SAMPLERS,
    "start": STARTS,
    "policy": POLICIES,
    "strong_policy": POLICIES,
}
"""Values of settings that are always names, by setting."""


def check_name(field: str, name: str, names: Iterable[str]) -> None:
    """Raise ConfigError if a setting has an unknown name."""
    known = list(names)
    if name not in known:
        raise ConfigError(f"unknown {field} {name!r}; known: {', '.join(known)}")


def check_training_device(name: str) -> None:
    """Raise ConfigError if a name is not that of a device to train on, present or not."""
    if name not in ("auto", "cpu") and name.partition(":")[0] != "cuda":
        raise ConfigError(f"unknown device {name!r}; known: auto, cpu, cuda, cuda:<number>")


def split_network(name: str) -> tuple[str, str]:
    """Name of a network's kind, and what follows its colon.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    kind, colon, argument = name.partition(":")
    takes_argument = NETWORKS.get(kind)
    if takes_argument != bool(argument) or bool(colon) != bool(argument):
        known = ", ".join(f"{one}:NAME" if takes else one for one, takes in NETWORKS.items())
        raise ConfigError(f"unknown network {name!r}; known: {known}")
    return kind, argument


def split_loss(name: str) -> tuple[str, str]:
    """Name of a loss or method, and what follows its colon: empty unless it is the user's own.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    kind, _, argument = name.partition(":")
    if name in LOSSES or name in FITTED or (kind == OWN_CODE and argument):
        return kind, argument
    own = f"{OWN_CODE}:FILE.py:NAME"
    raise ConfigError(
        f"unknown loss {name!r}; known: {', '.join([*LOSSES, *FITTED])} and your own, {own}"
    )


def check_network_options(name: str, options: Iterable[str]) -> None:
    """Raise ConfigError if a network does not have one of the options."""
    for option in options:
        if name not in NETWORK_OPTIONS[option]:
            raise ConfigError(
                f"`{option}` works only with the networks {', '.join(NETWORK_OPTIONS[option])}, "
                f"not with {name}: leave it out"
            )


def is_exported_network(embedder: str) -> bool:
    """Whether an embedder, the part of a name after ``onnx:``, is a torch network."""
    kind, colon, argument = embedder.partition(":")
    return kind in EXPORTED_NETWORKS and bool(colon) and bool(argument)


def check_loss_options(name: str, options: Mapping[str, float | str]) -> None:
    """Raise ConfigError if a loss does not have one of the options.

    The options of the user's own loss are known where its code is imported.
    """
    if split_loss(name)[0] == OWN_CODE:
        return
    allowed = LOSSES.get(name, ())
    unknown = sorted(options.keys() - set(allowed))
    if unknown:
        known = ", ".join(allowed) or "no options"
        raise ConfigError(f"the loss {name} has no {', '.join(unknown)}; it has {known}")
