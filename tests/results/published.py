"""Figures that others published for CIFAR-10, 1,000 queries against the other 59,000 images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

__all__ = ["PROTOCOL", "PUBLISHED", "SET", "Published"]

SET: Final = "cifar10"
PROTOCOL: Final = "cifar10-59k"


@dataclasses.dataclass(frozen=True)
class Published:
    """What a publication says of a method.

    Attributes
    ----------
    name
        Of the method.
    network, loss
        As the table calls them.
    maps
        Bits to mean average precision, as it was printed.
    source
        Where that is, and what is known of how it was measured.
    """

    name: str
    network: str
    loss: str
    maps: Mapping[int, float]
    source: str


_PAPER: Final = (
    "Lai, Pan, Liu, Yan, *Simultaneous Feature Learning and Hash Coding with Deep Neural "
    "Networks*, CVPR 2015, arXiv 1504.03410; the cut-off and the order of ties are not said"
)

PUBLISHED: Final = (
    Published(
        "DNNH, the paper", "dnnh", "triplet", {12: 0.552, 24: 0.566, 32: 0.558, 48: 0.581}, _PAPER
    ),
    Published(
        "CNNH+, best deep method before it",
        "CNN",
        "two stages",
        {12: 0.465, 24: 0.521, 32: 0.521, 48: 0.532},
        f"as printed in {_PAPER.partition(';')[0]}",
    ),
    Published(
        "caffe-dnnh, 95,000 iterations",
        "dnnh-caffe",
        "triplet",
        {12: 0.413, 24: 0.453, 48: 0.474},
        "slides of the Caffe implementation; average precision of the first 10,000 ranks over "
        "min(pool / 10, 10,000), mean over N + 1 queries: see [caffe-dnnh.md](caffe-dnnh.md)",
    ),
)
