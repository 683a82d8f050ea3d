"""Embedders by name: an ONNX file, or one that is built in."""

from __future__ import annotations

from hashkit.features.embedder import Embedder
from hashkit.inputs.paths import with_home
from hashkit.runs.embedder_settings import EmbedderSettings
from hashkit.runs.known_names import BUILT_IN_EMBEDDERS, split_network

__all__ = ["open_embedder"]


def open_embedder(
    network: str, settings: EmbedderSettings, size: tuple[int, int] | None = None
) -> Embedder:
    """Open an embedder that settings name; needs onnx.

    Parameters
    ----------
    network
        ``onnx:NAME`` with a name of `hashkit.runs.known_names.BUILT_IN_EMBEDDERS`, or
        ``onnx:FILE``.
    settings
        How a file's images are prepared, and which output is used.
    size
        Input size (height, width), pixels; None for that of the embedder.

    Raises
    ------
    ConfigError, ModelError, MissingExtraError
        If the settings do not fit, the file is not an embedder, or weights are not installed.
    """
    _, argument = split_network(network)
    if argument in BUILT_IN_EMBEDDERS:
        from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite

        settings.refuse(f"the embedder {argument}")
        return build_efficientnet_lite(argument, size)
    from hashkit.features.foreign.onnx_embedder import wrap_onnx

    return wrap_onnx(with_home(argument), settings, size)
