"""Networks by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hashkit.runs.known_names import split_network
from hashkit.training.networks.base import InputRule, Network
from hashkit.training.networks.compact import Compact
from hashkit.training.networks.dnnh import Dnnh
from hashkit.training.networks.dnnh_caffe import DnnhCaffe
from hashkit.training.networks.efficientnet_lite0 import (
    build_efficientnet_lite0,
    efficientnet_lite0_input_rule,
)
from hashkit.training.networks.own import absolute_own, build_own, own_input_rule
from hashkit.training.networks.timm_models import build_timm, timm_input_rule
from hashkit.training.networks.torchvision_models import build_torchvision, torchvision_input_rule

__all__ = ["NETWORKS", "InputRule", "Network", "NetworkKind", "build_network", "find_network"]


@dataclasses.dataclass(frozen=True)
class NetworkKind:
    """A name of the setting ``network``, or what it begins with.

    Attributes
    ----------
    about
        A few words for the list of networks.
    build
        Called with the part of the name after the colon (empty without), the share of features
        dropped, and whether weights that were trained elsewhere are wanted.
    input_rule
        Called with the same part of the name, and whether weights from elsewhere are wanted.
    takes_argument
        Whether the name goes on after a colon, as in ``timm:resnet50``.
    has_weights
        Whether there are weights that were trained elsewhere.
    absolute
        Called with the same part of the name: the part that means the same from any folder.
    """

    about: str
    build: Callable[[str, float, bool], Network]
    input_rule: Callable[[str, bool], InputRule] = lambda _, __: InputRule()
    takes_argument: bool = False
    has_weights: bool = False
    absolute: Callable[[str], str] = str


NETWORKS: dict[str, NetworkKind] = {
    "compact": NetworkKind(
        "small and fast from scratch, 8 to 96 pixels",
        lambda _, dropout, __: Compact(dropout=dropout, widths=(64, 128, 256)),
    ),
    "dnnh": NetworkKind("the DNNH paper's", lambda _, dropout, __: Dnnh(dropout=dropout)),
    "dnnh-caffe": NetworkKind(
        "its Caffe implementation's",
        lambda _, dropout, __: DnnhCaffe(dropout=dropout),
        lambda _, __: InputRule(subtracts_mean_image=True),
    ),
    "efficientnet-lite0": NetworkKind(
        "EfficientNet-Lite0, with ImageNet weights from a package",
        lambda _, dropout, pretrained: build_efficientnet_lite0(dropout, pretrained),
        lambda _, pretrained: efficientnet_lite0_input_rule(pretrained),
        has_weights=True,
    ),
    "timm": NetworkKind(
        "a model of timm's, with its weights",
        build_timm,
        timm_input_rule,
        takes_argument=True,
        has_weights=True,
    ),
    "torchvision": NetworkKind(
        "a model of torchvision's, with its weights",
        build_torchvision,
        torchvision_input_rule,
        takes_argument=True,
        has_weights=True,
    ),
    "module": NetworkKind(
        "your own: PACKAGE.MODULE:NAME or FILE.py:NAME",
        lambda argument, dropout, _: build_own(argument, dropout),
        lambda argument, _: own_input_rule(argument),
        takes_argument=True,
        absolute=absolute_own,
    ),
}


def find_network(name: str) -> tuple[NetworkKind, str]:
    """Kind of a network, and what its name has after the colon.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    kind, argument = split_network(name)
    return NETWORKS[kind], argument


def build_network(name: str, *, dropout: float, pretrained: bool) -> Network:
    """Network of a name.

    Parameters
    ----------
    name
        A name of `NETWORKS`, with what follows the colon.
    dropout
        Share of features dropped.
    pretrained
        Whether to start from weights that were trained elsewhere, where there are some; else
        weights are drawn from torch's global generator.

    Raises
    ------
    ConfigError
        If there is none of this name.
    ModelError
        If its weights cannot be had.
    """
    kind, argument = find_network(name)
    return kind.build(argument, dropout, pretrained and kind.has_weights)
