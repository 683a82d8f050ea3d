"""Networks of the library torchvision, with its weights: ``torchvision:NAME``."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Final

from torch import nn

from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.wrapped import Wrapped, of_pixels, one_line

__all__ = ["build_torchvision", "torchvision_input_rule"]

_N_SUGGESTIONS: Final = 5

_ONE_SIZE: Final = ("vit_", "maxvit_")
"""What the names of models begin with that take images of one size alone."""

_INCEPTIONS: Final = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
"""Models that have more classifiers halfway, which are of use to classification alone.

With weights, and only then, they also change the normalisation of their input, from the usual one
to one by 0.5 and 0.5. Here that is the input rule's, lest a model answers otherwise once it is
loaded from a checkpoint.
"""


def build_torchvision(name: str, dropout: float, pretrained: bool) -> Wrapped:
    """Features of a torchvision model for classification: all but its last layer.

    Of AlexNet and VGG these are the 4,096 values of the second fully connected layer. Dropout
    in front of the layer that is left out is switched off, since ``dropout`` takes its place.

    Parameters
    ----------
    name
        Of the model as ``torchvision.models.list_models()`` has it, or with that of one of its
        weights: ``resnet50``, ``resnet50.IMAGENET1K_V1``.
    dropout
        Share of features dropped before the head.
    pretrained
        Whether to load weights, from torch's cache or else from where torchvision says they are.

    Raises
    ------
    ConfigError
        If torchvision has no such model.
    MissingExtraError
        If torchvision is not installed.
    ModelError
        If the weights cannot be had.
    """
    weights = _weights(name)
    body = _create(name, weights if pretrained else None, weights.url)
    _leave_out_classifier(body)
    (side,) = weights.transforms().crop_size
    return Wrapped(
        body,
        name=f"torchvision:{name}",
        size=(side, side),
        any_size=not name.startswith(_ONE_SIZE),
        dropout=dropout,
    )


def torchvision_input_rule(name: str, pretrained: bool) -> InputRule:
    """Size, resize rule and normalisation that a torchvision model's weights were trained with.

    From scratch there is no rule, but for a model that is made for one size.

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
        return InputRule(size=(side, side) if name.startswith(_ONE_SIZE) else None)
    kernel = "bilinear" if transforms.interpolation.value == "bilinear" else "bicubic"
    is_inception = name.partition(".")[0] in _INCEPTIONS
    return InputRule(
        size=(side, side),
        resize=f"crop-{kernel}",
        mean=of_pixels((0.5,) * 3 if is_inception else transforms.mean),
        std=of_pixels((0.5,) * 3 if is_inception else transforms.std),
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
    """A model's weights as torchvision describes them, a ``torchvision.models.WeightsEnum``."""
    models = _models(name)
    architecture, _, version = name.partition(".")
    known = models.list_models(module=models)
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=_N_SUGGESTIONS)
        hint = f"close to it: {', '.join(close)}" if close else "list_models() gives all"
        raise ConfigError(f"torchvision has no model {architecture!r}; {hint}")
    weights = models.get_model_weights(architecture)
    if not version:
        return weights.DEFAULT
    if version not in weights.__members__:
        names = ", ".join(f"{architecture}.{other.name}" for other in weights)
        raise ConfigError(f"torchvision has no weights {name!r}; those of {architecture}: {names}")
    return weights[version]


def _create(name: str, weights: Any, url: str) -> nn.Module:
    import torch

    architecture = name.partition(".")[0]
    # Not said, these two warn that their default will change.
    options = {"init_weights": True} if architecture in _INCEPTIONS and weights is None else {}
    try:
        body: nn.Module = _models(name).get_model(architecture, weights=weights, **options)
    except (OSError, RuntimeError) as error:  # no network; a file that is not what it should be
        if weights is None:
            raise
        raise ModelError(
            f"the weights of torchvision:{name} could not be had from {url} ({one_line(error)}); "
            f"get that file elsewhere and put it into {torch.hub.get_dir()}/checkpoints, or train "
            "from scratch with `pretrained=False`"
        ) from error
    for classifier in _INCEPTIONS.get(architecture, ()):
        setattr(body, classifier, None)
        body.aux_logits = False  # type: ignore[assignment]
        body.transform_input = False  # type: ignore[assignment]
    return body


def _leave_out_classifier(body: nn.Module) -> None:
    """Make the last layer with parameters pass on what it is given, and dropout before it too."""
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
