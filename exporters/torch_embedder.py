"""Embedders from frozen torch networks: a model of timm or torchvision as an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.errors import ConfigError, ModelError
from hashkit.exporters.onnx_files import PRODUCER
from hashkit.exporters.tracing import traced
from hashkit.features.embedder import FEATURE, IMAGE, Embedder
from hashkit.features.foreign.graph_parts import strip_notes
from hashkit.features.foreign.trial import (
    TrialInput,
    check_features,
    open_graph,
    pictures,
    run_graph,
)
from hashkit.messages.foreign_errors import foreign_message
from hashkit.training.networks import build_network, find_network
from hashkit.training.networks.base import pooled

__all__ = ["embedder_of_network"]

_OPSET: Final = 20
_SHARE: Final = 1e-3
"""Largest difference from torch, relative to the differences between pictures."""


def embedder_of_network(name: str, size: tuple[int, int] | None = None) -> Embedder:
    """Export a torch network with its weights, and compare the graph with it on pictures.

    Parameters
    ----------
    name
        ``timm:NAME`` or ``torchvision:NAME``.
    size
        Input size (height, width), pixels; None for that of the weights.

    Raises
    ------
    ConfigError, MissingExtraError
        If there is no such network.
    ModelError
        If its weights are not available, it does not take images of the size, it cannot be
        expressed in ONNX, or the graph computes something else.
    """
    kind, argument = find_network(name)
    rule = kind.input_rule(argument, True)
    sides = size or rule.size
    if sides is None or rule.mean is None or rule.std is None:
        raise ConfigError(
            f"expected a network whose weights have a size and a normalisation, found {name}: name "
            "a model of timm or torchvision"
        )
    height, width = sides
    network = build_network(name, dropout=0.0, pretrained=True)
    model = _Features(network, rule.mean, rule.std).eval()
    expected = _run(model, (height, width), name)
    graph = traced(model, (height, width), _OPSET, [FEATURE])
    graph.producer_name, graph.producer_version = PRODUCER, ""
    strip_notes(graph)
    embedder = Embedder(
        name=name,
        graph=graph.SerializeToString(deterministic=True),
        height=height,
        width=width,
        resize=rule.resize,
        n_features=expected.shape[1],
        facts={
            "source": name,
            "mean": list(rule.mean),
            "std": list(rule.std),
        },
    )
    _compare(embedder, expected)
    return embedder


class _Features(nn.Module):
    """Normalisation, network and global average pooling: image -> feature."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).to(torch.float32)
        return pooled(self.network((pixels - self.mean) / self.std)).to(torch.float32)


@torch.inference_mode()
def _run(model: nn.Module, size: tuple[int, int], name: str) -> NDArray[np.float32]:
    try:
        features = model(torch.from_numpy(pictures(size)))
    except (AssertionError, RuntimeError, ValueError) as error:  # depends on the network
        raise ModelError(
            f"network {name} cannot take images of {size[0]}x{size[1]}: choose another `size=...` "
            f"({foreign_message(error)})"
        ) from None
    found: NDArray[np.float32] = features.numpy()
    return found


def _compare(embedder: Embedder, expected: NDArray[np.float32]) -> None:
    path = Path(embedder.name)
    session = open_graph(embedder.graph, path)
    trial = TrialInput(path, embedder.size, is_half=False, fixed_batch=None)
    check_features(session, embedder.n_features, trial)
    (found,) = run_graph(session, {IMAGE: pictures(embedder.size)}, path)
    difference = float(np.abs(found - expected).max())
    spread = float(np.ptp(expected, axis=0).max())
    if not difference <= _SHARE * spread:
        raise ModelError(
            f"{embedder.name}: expected an ONNX graph with torch's features, found a difference of "
            f"{difference:.2g}, where pictures differ by {spread:.2g}: update torch and onnxscript"
        )
