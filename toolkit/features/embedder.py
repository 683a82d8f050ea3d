"""Embedders: frozen networks as ONNX graphs, from images to features."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["FEATURE", "IMAGE", "Embedder"]

IMAGE: Final = "image"
FEATURE: Final = "feature"
"""Names of the input and the output of an embedder's graph."""


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """A frozen network as one ONNX graph that contains all of its weights.

    Attributes
    ----------
    name
        Such as ``efficientnet-lite0``, or the name of the file that it comes from.
    graph
        The serialised graph: ``image``, uint8 [N, height, width, 3], RGB, N dynamic, to
        ``feature``, float32 [N, n_features]. Normalisation and pooling are part of it.
    height, width
        Input size, pixels.
    resize
        One of `hashkit.manifest.RESIZE_RULES`.
    n_features
        Numbers per image.
    facts
        What is known about it, as JSON-ready values: source, normalisation, licence.
    """

    name: str
    graph: bytes
    height: int
    width: int
    resize: str
    n_features: int
    facts: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Input size as (height, width), pixels."""
        return self.height, self.width

    @property
    def sha256(self) -> str:
        """SHA-256 of the graph, hexadecimal."""
        return hashlib.sha256(self.graph).hexdigest()
