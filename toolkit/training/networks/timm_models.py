"""Models of the timm library, with its pretrained weights: ``timm:NAME``."""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Final

from torch import nn

from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.library_weights import no_analytics, only_tensors
from hashkit.training.networks.wrapped import Wrapped, to_pixel_range

__all__ = ["build_timm", "import_timm", "timm_input_rule"]

_N_SUGGESTIONS: Final = 5


def import_timm(purpose: str) -> ModuleType:
    """Import timm.

    Raises
    ------
    MissingExtraError
        If timm is not installed; the message names ``purpose``.
    """
    no_analytics()
    try:
        import timm
    except ImportError:
        raise MissingExtraError("timm", "pretrained", purpose) from None
    return timm


def build_timm(name: str, dropout: float, pretrained: bool) -> Wrapped:
    """Features of a timm model: without its classifier, with its global pooling.

    Parameters
    ----------
    name
        Name of the model from ``timm.list_models()``, optionally with the tag of its weights from
        ``timm.list_pretrained()``: ``resnet50``, ``resnet50.a1_in1k``.
    dropout
        Fraction of features dropped before the head.
    pretrained
        Whether to load weights, from timm's cache or from their download location.

    Raises
    ------
    ConfigError
        If timm has no such model, or the model does not return features.
    MissingExtraError
        If timm is not installed.
    ModelError
        If the weights are not available.
    """
    config = _configuration(name)
    any_size = not config.fixed_input_size
    try:
        # With this option, transformers that can adapt their position embeddings take any size.
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

    Without weights, the rule holds only the size of a model that takes a single size.

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
        mean=to_pixel_range(config.mean),
        std=to_pixel_range(config.std),
    )


def _configuration(name: str) -> Any:
    """Configuration of a model's weights, a ``timm.models.PretrainedCfg``."""
    timm = import_timm(f"network timm:{name}")
    architecture, _, tag = name.partition(".")
    models = timm.list_models()
    if architecture not in models:
        close = difflib.get_close_matches(architecture, models, n=_N_SUGGESTIONS)
        hint = f"similar names: {', '.join(close)}" if close else "timm.list_models() lists them"
        raise ConfigError(f"timm has no model {architecture or name!r}; {hint}")
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        known = ", ".join(weights) or "none"
        raise ConfigError(f"timm has no weights {name!r}; weights of {architecture}: {known}")
    return timm.get_pretrained_cfg(name)


def _create(name: str, pretrained: bool, config: Any, options: dict[str, bool]) -> nn.Module:
    if pretrained and not config.has_weights:
        raise ModelError(
            f"timm has no weights for {name}; train it from scratch with `pretrained=False`"
        )
    create = import_timm(f"network timm:{name}").create_model
    try:
        with only_tensors():
            body: nn.Module = create(name, pretrained=pretrained, num_classes=0, **options)
    except Exception as error:  # each download library raises its own error types
        if not pretrained or isinstance(error, TypeError):
            raise
        place = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise ModelError(
            f"the weights of timm:{name} could not be downloaded from {place} "
            f"({foreign_message(error)}); download them on a machine with network access and copy "
            "its Hugging Face cache (the folder HF_HOME), or train from scratch with "
            "`pretrained=False`"
        ) from error
    return body
