"""An embedder of a few hundred weights, and its features in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hashkit.features.embedder import Embedder

SIZE = 8
N_FEATURES = 20


def _weights(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((SIZE * SIZE * 3, N_FEATURES)).astype(np.float32) / 255


def tiny_embedder(seed: int = 0) -> Embedder:
    """A linear map of all pixels, 8x8, to 20 features."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["feature"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["N", N_FEATURES])],
        [numpy_helper.from_array(_weights(seed), "weights")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    return Embedder(
        name="tiny",
        graph=model.SerializeToString(deterministic=True),
        height=SIZE,
        width=SIZE,
        resize="stretch-bilinear",
        n_features=N_FEATURES,
        facts={"licence": "none", "seed": seed},
    )


def tiny_features(images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
    """What `tiny_embedder` gives for images, uint8 [n, 8, 8, 3]."""
    features: NDArray[np.float32] = images.reshape(len(images), -1).astype(np.float32) @ _weights(
        seed
    )
    return features
