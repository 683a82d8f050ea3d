"""Networks of the library timm, with the weights that it knows: ``timm:NAME``."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Final

from torch import nn

from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.wrapped import Wrapped, of_pixels, one_line

__all__ = ["build_timm", "import_timm", "timm_input_rule"]

_N_SUGGESTIONS: Final = 5


def import_timm(purpose: str) -> ModuleType:
    """The library timm.

    Raises
    ------
    MissingExtraError
        If it is not installed; ``purpose`` is what needs it.
    """
    try:
        import timm
    except ImportError:
        raise MissingExtraError("timm", "pretrained", purpose) from None
    return timm


def build_timm(name: str, dropout: float, pretrained: bool) -> Wrapped:
    """Features of a timm model: its classifier is left out, its pool over the grid is kept.

    Parameters
    ----------
    name
        Of the model as ``timm.list_models()`` has it, or with the tag of one of its weights as
        ``timm.list_pretrained()`` has them: ``resnet50``, ``resnet50.a1_in1k``.
    dropout
        Share of features dropped before the head.
    pretrained
        Whether to load weights, from timm's cache or else from where timm says they are.

    Raises
    ------
    ConfigError
        If timm has no such model, or it does not give features.
    MissingExtraError
        If timm is not installed.
    ModelError
        If the weights cannot be had.
    """
    config = _configuration(name)
    any_size = not config.fixed_input_size
    try:
        # A transformer that can adapt its position embeddings then takes any size.
        body = _create(name, pretrained, config, {} if any_size else {"dynamic_img_size": True})
        any_size = True
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        body = _create(name, pretrained, config, {})
    return Wrapped(
        body,
        name=f"timm:{name}",
        size=config.input_size[1:],
        any_size=any_size,
        dropout=dropout,
    )


def timm_input_rule(name: str, pretrained: bool) -> InputRule:
    """Size, resize rule and normalisation that a timm model's weights were trained with.

    From scratch there is no rule, but for a model that is made for one size.

    Raises
    ------
    ConfigError
        If timm has no such model.
    MissingExtraError
        If timm is not installed.
    """
    config = _configuration(name)
    if not pretrained:
        return InputRule(size=config.input_size[1:] if config.fixed_input_size else None)
    shape = "stretch" if config.crop_mode == "squash" else "crop"
    kernel = "bilinear" if config.interpolation == "bilinear" else "bicubic"
    return InputRule(
        size=config.input_size[1:],
        resize=f"{shape}-{kernel}",
        mean=of_pixels(config.mean),
        std=of_pixels(config.std),
    )


def _configuration(name: str) -> Any:
    """What timm knows of a model's weights, a ``timm.models.PretrainedCfg``."""
    timm = import_timm(f"network timm:{name}")
    architecture, _, tag = name.partition(".")
    models = timm.list_models()
    if architecture not in models:
        close = difflib.get_close_matches(architecture, models, n=_N_SUGGESTIONS)
        hint = f"close to it: {', '.join(close)}" if close else "timm.list_models() gives all"
        raise ConfigError(f"timm has no model {architecture!r}; {hint}")
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        known = ", ".join(weights) or "none"
        raise ConfigError(f"timm has no weights {name!r}; those of {architecture}: {known}")
    return timm.get_pretrained_cfg(name)


def _create(name: str, pretrained: bool, config: Any, options: dict[str, bool]) -> nn.Module:
    if pretrained and not config.has_weights:
        raise ModelError(
            f"timm has no weights for {name}; train it from scratch with `pretrained=False`"
        )
    create = import_timm(f"network timm:{name}").create_model
    try:
        body: nn.Module = create(name, pretrained=pretrained, num_classes=0, **options)
    except Exception as error:  # each of the libraries that fetch has errors of its own
        if not pretrained or isinstance(error, TypeError):
            raise
        place = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise ModelError(
            f"the weights of timm:{name} could not be had from {place} ({one_line(error)}); get "
            "them on a machine with a network and copy its Hugging Face cache, the folder that "
            "HF_HOME names, or train from scratch with `pretrained=False`"
        ) from error
    return body
