"""Published results for CIFAR-10 with 1,000 queries and a database of the other 59,000 images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

__all__ = ["PROTOCOL", "PUBLISHED", "SET", "Published"]

SET: Final = "cifar10"
PROTOCOL: Final = "cifar10-59k"


@dataclasses.dataclass(frozen=True)
class Published:
    """Published results of a method.

    Attributes
    ----------
    name
        Name of the method.
    network, loss
        Names for the table.
    maps
        Published mean average precision by number of bits.
    source
        Citation, and known details of the measurement.
    """

    name: str
    network: str
    loss: str
    maps: Mapping[int, float]
    source: str


_PAPER: Final = (
    "Lai, Pan, Liu, Yan, *Simultaneous Feature Learning and Hash Coding with Deep Neural "
    "Networks*, CVPR 2015, arXiv 1504.03410; the paper does not state its cut-off or order of ties"
)

PUBLISHED: Final = (
    Published(
        "DNNH, the paper", "dnnh", "triplet", {12: 0.552, 24: 0.566, 32: 0.558, 48: 0.581}, _PAPER
    ),
    Published(
        "CNNH+, best earlier deep method",
        "CNN",
        "two stages",
        {12: 0.465, 24: 0.521, 32: 0.521, 48: 0.532},
        f"from {_PAPER.partition(';')[0]}",
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
