"""Networks by name."""

from __future__ import annotations

from hashkit.training.networks.base import Network, ParameterGroup
from hashkit.training.networks.dnnh import Dnnh
from hashkit.training.networks.dnnh_caffe import DnnhCaffe

__all__ = ["NETWORKS", "Network", "ParameterGroup"]

NETWORKS: dict[str, type[Network]] = {"dnnh": Dnnh, "dnnh-caffe": DnnhCaffe}
