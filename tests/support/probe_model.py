"""The tiny model that `hashkit doctor` runs: how it is made, and its expected logits.

``python tests/support/probe_model.py`` writes it to runtimes/probe.onnx.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from packed_graph import packed_graph

PATH = Path(__file__).parents[2] / "runtimes" / "probe.onnx"
SIZE, N_CHANNELS, N_BITS = 8, 6, 12


def weights() -> dict[str, NDArray[np.float32]]:
    """Small whole numbers, so float32 sums of them are exact in any order."""
    kernel = (np.arange(N_CHANNELS * 27) * 7 % 11 % 5 - 2).reshape(N_CHANNELS, 3, 3, 3)
    last = (np.arange(N_BITS * N_CHANNELS) * 5 % 13 % 5 - 2).reshape(N_BITS, N_CHANNELS)
    return {"kernel": kernel.astype(np.float32), "last": last.astype(np.float32)}


def model_bytes() -> bytes:
    """The model: convolution, ReLU, global average, linear layer, packing."""
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "middle"], ["centred"]),
        helper.make_node("Conv", ["centred", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("Gemm", ["features", "last"], ["logit"], transB=1),
    ]
    constants = weights() | {"middle": np.float32(128)}
    model = packed_graph("probe", nodes, constants, (SIZE, SIZE), N_BITS)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def expected_logits(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The model's logits, computed in plain loops over kernel positions."""
    planes = images.astype(np.float64).transpose(0, 3, 1, 2) - 128
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    maps = np.zeros((len(images), N_CHANNELS, SIZE, SIZE))
    for row in range(3):
        for column in range(3):
            window = padded[:, :, row : row + SIZE, column : column + SIZE]
            taps = weights()["kernel"][:, :, row, column]
            maps += np.einsum("nchw,oc->nohw", window, taps)
    logits: NDArray[np.float64] = np.maximum(maps, 0).mean(axis=(2, 3)) @ weights()["last"].T
    return logits


if __name__ == "__main__":
    PATH.write_bytes(model_bytes())
