"""Networks by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.runs.known_names import split_network
from hashkit.training.networks.base import InputRule, Network
from hashkit.training.networks.compact import Compact
from hashkit.training.networks.dnnh import Dnnh
from hashkit.training.networks.dnnh_caffe import DnnhCaffe
from hashkit.training.networks.efficientnet_lite import (
    build_efficientnet_lite,
    efficientnet_lite_input_rule,
)
from hashkit.training.networks.own import build_own, own_input_rule
from hashkit.training.networks.timm_models import build_timm, timm_input_rule
from hashkit.training.networks.torchvision_models import build_torchvision, torchvision_input_rule

__all__ = ["NETWORKS", "InputRule", "Network", "NetworkKind", "build_network", "find_network"]


NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class NetworkKind:
    """A network, or a family of networks, that settings can name.

    Attributes
    ----------
    about
        Short description for the list of networks.
    build
        Called with the argument (the part of the name after the colon, or an empty string), the
        fraction of features dropped, whether to load pretrained weights, and the network's own
        options by name. None for an embedder, which ONNX Runtime runs (`hashkit.features`).
    input_rule
        Called with the argument, and whether pretrained weights are loaded.
    takes_argument
        Whether the name has an argument, as in ``timm:resnet50``.
    has_weights
        Whether pretrained weights are available.
    """

    about: str
    build: Callable[..., Network] | None
    input_rule: Callable[[str, bool], InputRule] = lambda _, __: InputRule()
    takes_argument: bool = False
    has_weights: bool = False


def _efficientnet_lite(name: str) -> NetworkKind:
    return NetworkKind(
        f"{name.replace('efficientnet-lite', 'EfficientNet-Lite')}, with ImageNet weights from a "
        "package",
        lambda _, dropout, pretrained: build_efficientnet_lite(name, dropout, pretrained),
        lambda _, pretrained: efficientnet_lite_input_rule(name, pretrained),
        has_weights=True,
    )


def _compact(about: str, widths: tuple[int, ...], *, is_deep: bool = False) -> NetworkKind:
    def build(_: str, dropout: float, __: bool, **options: Any) -> Compact:
        return Compact(dropout=dropout, widths=widths, is_deep=is_deep, **options)

    return NetworkKind(about, build)


NETWORKS: dict[str, NetworkKind] = {
    "compact": _compact("small and fast from scratch, 8 to 96 pixels", (64, 128, 256)),
    "compact-wide": _compact("compact with more filters, 1.8 times the work", (64, 256, 256)),
    "compact-deep": _compact(
        "compact-wide with residual blocks of three layers, 2.5 times the work",
        (64, 256, 256),
        is_deep=True,
    ),
    "compact-wider": _compact("compact with yet more filters, 4.6 times the work", (128, 384, 384)),
    "dnnh": NetworkKind("the DNNH paper's network", lambda _, dropout, __: Dnnh(dropout=dropout)),
    "dnnh-caffe": NetworkKind(
        "DNNH as in its Caffe implementation",
        lambda _, dropout, __: DnnhCaffe(dropout=dropout),
        lambda _, __: InputRule(subtracts_mean_image=True),
    ),
    "efficientnet-lite0": _efficientnet_lite("efficientnet-lite0"),
    "efficientnet-lite1": _efficientnet_lite("efficientnet-lite1"),
    "efficientnet-lite2": _efficientnet_lite("efficientnet-lite2"),
    "timm": NetworkKind(
        "a model of timm, with its weights",
        build_timm,
        timm_input_rule,
        takes_argument=True,
        has_weights=True,
    ),
    "torchvision": NetworkKind(
        "a model of torchvision, with its weights",
        build_torchvision,
        torchvision_input_rule,
        takes_argument=True,
        has_weights=True,
    ),
    "module": NetworkKind(
        "your own network: PACKAGE.MODULE:NAME or FILE.py:NAME",
        lambda argument, dropout, _: build_own(argument, dropout),
        lambda argument, _: own_input_rule(argument),
        takes_argument=True,
    ),
    "onnx": NetworkKind(
        "a frozen embedder: an ONNX file, efficientnet-lite0, or timm:NAME",
        None,
        takes_argument=True,
    ),
}


def find_network(name: str) -> tuple[NetworkKind, str]:
    """Kind of a network by name, and its argument: the part of the name after the colon.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    kind, argument = split_network(name)
    return NETWORKS[kind], argument


def build_network(
    name: str, *, dropout: float, pretrained: bool, options: Mapping[str, Any] = NO_OPTIONS
) -> Network:
    """Build a network by name.

    Parameters
    ----------
    name
        A name of `NETWORKS`, followed by a colon and an argument if it takes one.
    dropout
        Fraction of features dropped.
    pretrained
        Whether to load pretrained weights if the network has some; otherwise weights are drawn
        from torch's global generator.
    options
        The network's own options, see `hashkit.runs.known_names.NETWORK_OPTIONS`.

    Raises
    ------
    ConfigError
        If the name is unknown.
    ModelError
        If the weights are not available.
    """
    kind, argument = find_network(name)
    if kind.build is None:
        raise ConfigError(f"{name} is an embedder, which is not trained: leave its network frozen")
    return kind.build(argument, dropout, pretrained and kind.has_weights, **options)
