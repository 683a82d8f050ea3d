"""Makes the graphs of the built-in models ``lite0`` and ``lite0-256``.

    python -m hashkit.exporters.lite0 FOLDER

EfficientNet-Lite0 with its ImageNet weights, and a fixed projection of its features to bits. The
projection is fitted to no images: it is ITQ of the rows of the network's own classifier, one per
class of ImageNet. Features vary most along these directions, since the classifier tells the classes
apart by them. The mean of the rows is subtracted from each, so that a part that all features have
in common hardly moves a logit, and no mean of features is needed.

The graphs are written without the weights of the convolutions, which `make_model` of
`hashkit.runtimes.installed_weights` adds where they are installed. The projection is part of the
graph, because the last digits of a decomposition differ between CPUs.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from hashkit.baselines.itq import fit_itq
from hashkit.exporters.feature_model import feature_graph
from hashkit.exporters.onnx_files import written_model
from hashkit.features.head import Affine, Head
from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite
from hashkit.manifest import Manifest
from hashkit.runtimes.lite_folding import convolutions
from hashkit.runtimes.lite_weights import find_variant, lite_weights

__all__ = ["fitted_projection", "lite0_graph"]

_NETWORK: Final = "efficientnet-lite0"
_SIZE: Final = (128, 128)
"""Pixels, as in the recipes on frozen features: a third of the arithmetic of 224 x 224."""

_N_BITS: Final = {"lite0-v1": 64, "lite0-256-v1": 256}
"""Code lengths by the name that the metadata give."""

_SEED: Final = 0
_GRID: Final = 512
"""Values of the projection are multiples of 1/512. Rounding changes 4 bits of 1,000, and lets the
file be compressed to a third of its size."""


def fitted_projection(n_bits: int) -> NDArray[np.float32]:
    """ITQ of the classifier's rows: float32 [1280, n_bits], multiples of 1/512."""
    rows = lite_weights(find_variant(_NETWORK), "lite")["_fc.weight"]
    fitted = fit_itq(np.array(rows), None, n_bits, _SEED)
    return np.rint(fitted.directions * _GRID).astype(np.float32) / np.float32(_GRID)


def lite0_graph(name: str, projection: NDArray[np.float32]) -> onnx.ModelProto:
    """The graph of a name, ``lite0-v1`` or ``lite0-256-v1``, without the convolutions' weights.

    Parameters
    ----------
    name
        Name of the model.
    projection
        float32 [1280, n_bits].
    """
    height, width = _SIZE
    embedder = build_efficientnet_lite(_NETWORK, _SIZE)
    n_bits = projection.shape[1]
    head = Head((Affine(projection, np.zeros(n_bits, np.float32)),))
    manifest = Manifest(n_bits, height, width, resize=embedder.resize, network=name)
    facts = {"projection": "ITQ of the rows of the network's classifier", **embedder.facts}
    model = feature_graph(dataclasses.replace(embedder, facts=facts), head, manifest)
    weights = set(convolutions(lite_weights(find_variant(_NETWORK), "lite")))
    kept = [one for one in model.graph.initializer if one.name.rpartition(".")[0] not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def main(folder: str) -> None:
    """Write every graph into a folder."""
    for name, n_bits in _N_BITS.items():
        with written_model(Path(folder) / f"{name}.graph") as part:
            onnx.save_model(lite0_graph(name, fitted_projection(n_bits)), str(part), "protobuf")


if __name__ == "__main__":
    main(*sys.argv[1:])
