"""The embedder that settings name: an ONNX file, one that is built in, or a network of torch."""

from __future__ import annotations

from hashkit.features import embedders
from hashkit.features.embedder import Embedder
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import is_exported_network, split_network
from hashkit.workflow.extras import require

__all__ = ["open_embedder"]


def open_embedder(config: TrainConfig, size: tuple[int, int] | None) -> Embedder:
    """Open the embedder of the settings; a network of torch is exported to ONNX.

    Parameters
    ----------
    size
        Input size (height, width), pixels; None for that of the embedder.

    Raises
    ------
    ConfigError, ModelError, MissingExtraError
        See `hashkit.features.embedders.open_embedder` and
        `hashkit.exporters.torch_embedder.embedder_of_network`.
    """
    _, argument = split_network(config.network)
    if not is_exported_network(argument):
        return embedders.open_embedder(config.network, config.embedder_settings, size)
    config.embedder_settings.refuse(f"the network {argument}")
    require("train", f"the network {argument}", "torch", "onnxscript")
    from hashkit.exporters.torch_embedder import embedder_of_network

    return embedder_of_network(argument, size)
