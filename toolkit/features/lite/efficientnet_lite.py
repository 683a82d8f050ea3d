"""Embedders from the EfficientNet-Lite networks, without torch."""

from __future__ import annotations

from typing import Final

from hashkit.errors import ConfigError, MissingExtraError
from hashkit.features.embedder import Embedder
from hashkit.features.lite.weights import find_variant, lite_weights
from hashkit.inputs.arguments import whole_number
from hashkit.runs.config import MIN_INPUT_SIZE

__all__ = ["build_efficientnet_lite"]

_EXTRA: Final = "lite"
_MAX_SIZE: Final = 4096


def build_efficientnet_lite(name: str, size: tuple[int, int] | None = None) -> Embedder:
    """EfficientNet-Lite with its ImageNet weights: pixels to 1,280 features.

    The features are those of the last layer before the classifier, averaged over the image. The
    graph is the same, byte for byte, on every machine that has the same version of onnx.

    Parameters
    ----------
    name
        A name of `hashkit.features.lite.weights.LITE_VARIANTS`, such as ``efficientnet-lite0``.
    size
        Input size as (height, width), pixels; the size that the network was trained with by
        default.

    Raises
    ------
    ConfigError
        If the name is unknown, or the size is out of range.
    MissingExtraError
        If onnx, or the package with the weights, is not installed.
    ModelError
        If the weights are not the expected ones.
    """
    variant = find_variant(name)
    height, width = (
        whole_number(side, "size", MIN_INPUT_SIZE, _MAX_SIZE, ConfigError)
        for side in size or (variant.size, variant.size)
    )
    try:
        from hashkit.features.lite.graph import lite_graph
    except ImportError:
        raise MissingExtraError("onnx", _EXTRA, f"the embedder {name}") from None
    graph, n_features = lite_graph(variant, lite_weights(variant, _EXTRA), (height, width))
    return Embedder(
        name=name,
        graph=graph,
        height=height,
        width=width,
        resize=variant.resize,
        n_features=n_features,
        facts={
            "source": variant.file.rpartition("/")[2],
            "source_sha256": variant.sha256,
            "package": f"{variant.package} {variant.version}",
            "licence": variant.licence,
            "origin": variant.origin,
            "preprocessing": "efficientnet-lite",
            "pixel_mean": [variant.mean] * 3,
            "pixel_std": [variant.std] * 3,
            "layout": "nchw",
            "output": "the last layer before the classifier",
            "pooling": "mean",
        },
    )
