"""Models of the torchvision library, with its pretrained weights: ``torchvision:NAME``."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Final

from torch import nn

from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.library_weights import only_tensors
from hashkit.training.networks.wrapped import Wrapped, to_pixel_range

__all__ = ["build_torchvision", "torchvision_input_rule"]

_N_SUGGESTIONS: Final = 5

_FIXED_SIZE: Final = ("vit_", "maxvit_")
"""Name prefixes of models that take a single input size."""

_INCEPTIONS: Final = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
"""Models with auxiliary classifiers, which hashing does not need, and their names.

When built with weights, these models also convert their input from the usual normalisation to mean
0.5 and standard deviation 0.5. Here the input rule does that, so that a model loaded from a
checkpoint computes the same.
"""


def build_torchvision(name: str, dropout: float, pretrained: bool) -> Wrapped:
    """Features of a torchvision classification model: all layers but the last.

    For AlexNet and VGG these are the 4,096 values of the second fully connected layer. Dropout
    before the removed layer is removed too; ``dropout`` replaces it.

    Parameters
    ----------
    name
        Name of the model from ``torchvision.models.list_models()``, optionally with the name of
        its weights: ``resnet50``, ``resnet50.IMAGENET1K_V1``.
    dropout
        Fraction of features dropped before the head.
    pretrained
        Whether to load weights, from torch's cache or from their download location.

    Raises
    ------
    ConfigError
        If torchvision has no such model.
    MissingExtraError
        If torchvision is not installed.
    ModelError
        If the weights are not available.
    """
    weights = _weights(name)
    body = _create(name, weights if pretrained else None, weights.url)
    _remove_classifier(body)
    (side,) = weights.transforms().crop_size
    return Wrapped(
        body,
        name=f"torchvision:{name}",
        size=(side, side),
        any_size=not name.startswith(_FIXED_SIZE),
        dropout=dropout,
    )


def torchvision_input_rule(name: str, pretrained: bool) -> InputRule:
    """Size, resize rule and normalisation that a torchvision model's weights were trained with.

    Without weights, the rule holds only the size of a model that takes a single size.

    Raises
    ------
    ConfigError
        If torchvision has no such model.
    MissingExtraError
        If torchvision is not installed.
    """
    transforms = _weights(name).transforms()
    (side,) = transforms.crop_size
    if not pretrained:
        return InputRule(size=(side, side) if name.startswith(_FIXED_SIZE) else None)
    kernel = "bilinear" if transforms.interpolation.value == "bilinear" else "bicubic"
    is_inception = name.partition(".")[0] in _INCEPTIONS
    return InputRule(
        size=(side, side),
        resize=f"crop-{kernel}",
        mean=to_pixel_range((0.5,) * 3 if is_inception else transforms.mean),
        std=to_pixel_range((0.5,) * 3 if is_inception else transforms.std),
    )


def _models(name: str) -> ModuleType:
    try:
        from torchvision import models
    except ImportError:
        raise MissingExtraError(
            "torchvision", "pretrained", f"network torchvision:{name}"
        ) from None
    return models  # type: ignore[no-any-return]


def _weights(name: str) -> Any:
    """Torchvision's description of a model's weights, a ``torchvision.models.WeightsEnum``."""
    models = _models(name)
    architecture, _, version = name.partition(".")
    known = models.list_models(module=models)
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=_N_SUGGESTIONS)
        hint = f"similar names: {', '.join(close)}" if close else "list_models() lists them"
        raise ConfigError(f"torchvision has no model {architecture or name!r}; {hint}")
    weights = models.get_model_weights(architecture)
    if not version:
        return weights.DEFAULT
    if version not in weights.__members__:
        names = ", ".join(f"{architecture}.{other.name}" for other in weights)
        raise ConfigError(
            f"torchvision has no weights {name!r}; weights of {architecture}: {names}"
        )
    return weights[version]


def _create(name: str, weights: Any, url: str) -> nn.Module:
    import torch

    architecture = name.partition(".")[0]
    # Without this option, both models warn that its default will change.
    options = {"init_weights": True} if architecture in _INCEPTIONS and weights is None else {}
    try:
        with only_tensors():
            body: nn.Module = _models(name).get_model(architecture, weights=weights, **options)
    except (OSError, RuntimeError) as error:  # no network, or a damaged file
        if weights is None:
            raise
        raise ModelError(
            f"the weights of torchvision:{name} could not be downloaded from {url} "
            f"({foreign_message(error)}); download the file elsewhere and put it into "
            f"{torch.hub.get_dir()}/checkpoints, or train from scratch with `pretrained=False`"
        ) from error
    for classifier in _INCEPTIONS.get(architecture, ()):
        setattr(body, classifier, None)
        body.aux_logits = False  # type: ignore[assignment]
        body.transform_input = False  # type: ignore[assignment]
    return body


def _remove_classifier(body: nn.Module) -> None:
    """Replace the last layer with parameters, and dropout directly before it, by identities."""
    leaves = [(path, leaf) for path, leaf in body.named_modules() if not list(leaf.children())]
    while leaves:
        path, leaf = leaves.pop()
        is_classifier = next(leaf.parameters(), None) is not None
        if is_classifier:
            body.set_submodule(path, nn.Identity())
            break
    for path, leaf in reversed(leaves):
        if next(leaf.parameters(), None) is not None:
            break
        if isinstance(leaf, nn.Dropout):
            body.set_submodule(path, nn.Identity())
