"""A checkpoint in torch as a runtime, to compare its ONNX file with.

``python -m hashkit.exporters.torch_model`` is its measuring process
(`hashkit.runtimes.measuring.worker`).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.errors import ModelError
from hashkit.files.writing import file_digest
from hashkit.runtimes.measuring.measuring import MeasuringJob, OpenEncoder
from hashkit.runtimes.measuring.worker import serve
from hashkit.runtimes.protocol import why_no_package
from hashkit.threads import available_cpus

if TYPE_CHECKING:
    from torch import nn

    from hashkit.runtimes.encoder import Encoder

__all__ = ["WORKER", "ModuleSource", "TorchModel", "main", "run_module", "why_no_torch"]

WORKER: Final = "hashkit.exporters.torch_model"
"""Module of the process that measures a checkpoint."""


class TorchModel:
    """A checkpoint of hashkit on the CPU, as a `hashkit.runtimes.protocol.Runtime`.

    Parameters
    ----------
    checkpoint
        The file.
    weights_sha256
        SHA-256 that the weights must have; empty for any.
    network
        See `hashkit.training.checkpoint.load_model`.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    ConfigError
        If its network runs code and was not named.
    ModelError
        If its weights differ.
    """

    provider = "cpu"
    precision = "fp32"

    def __init__(
        self, checkpoint: Path, weights_sha256: str = "", network: str | None = None
    ) -> None:
        import torch

        from hashkit.training.checkpoint import load_model

        torch.set_num_threads(available_cpus())
        loaded = load_model(checkpoint, network=network)
        found = loaded.manifest.weights_sha256
        if weights_sha256 and found != weights_sha256:
            raise ModelError(
                f"{checkpoint} has different weights than the exported model: export it again"
            )
        self.name = f"torch {torch.__version__}"
        self.manifest = loaded.manifest
        self.model_sha256 = file_digest(checkpoint, "sha256")
        self._model = loaded.model

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes, uint8 [n, ceil(n_bits / 8)], and logits, float32 [n, n_bits], of images."""
        return run_module(self._model, images)


class ModuleSource:
    """A torch model as a `hashkit.exporters.parity.Source`.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU: uint8 [n, H, W, 3] -> logits float32 [n, n_bits].
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of images."""
        return run_module(self._model, images)

    def exact(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Logits in float64."""
        import torch

        try:
            with torch.inference_mode():
                logits = copy.deepcopy(self._model).double()(torch.from_numpy(images))
        except Exception:  # the network's own code may take float32 only
            return None
        exact: NDArray[np.float64] = logits.numpy().astype(np.float64)
        return exact


def run_module(
    model: nn.Module, images: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Codes and logits of a batch, with a module on the CPU: uint8 [n, H, W, 3] -> logits."""
    import torch

    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.from_numpy(images)).numpy()
    return binarize(logits), logits


def why_no_torch() -> str | None:
    """Why checkpoints cannot be run here, with the install command; None if they can."""
    for package in ("torch", "safetensors"):
        reason = why_no_package(package, "train")
        if reason is not None:
            return reason
    return None


def main() -> None:
    """Measure a checkpoint."""
    serve(lambda _: why_no_torch(), _opener)


def _opener(job: MeasuringJob) -> OpenEncoder:
    def open_encoder(batch_size: int | None) -> Encoder:
        del batch_size  # torch accepts any
        from hashkit.runtimes.encoder import Encoder

        return Encoder(TorchModel(Path(job.model), job.weights_sha256, job.network))

    return open_encoder


if __name__ == "__main__":
    main()
