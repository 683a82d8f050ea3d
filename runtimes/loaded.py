"""The base class of all runtimes: checks of images, outputs and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.errors import DeviceError, ModelError
from hashkit.manifest import Manifest
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.contract import Tensor
from hashkit.runtimes.model_file import ModelFile

__all__ = ["LoadedModel"]


class LoadedModel(ABC):
    """A model that follows the contract of docs/model-contract.md, loaded by a runtime.

    A subclass loads the file, passes it and the graph's tensors to `_describe`, calls `_try`, and
    computes in `_compute`. The file's bytes are not kept, because runtimes copy the weights.

    Attributes
    ----------
    path
        The ONNX file.
    model_sha256
        SHA-256 of the file, hexadecimal.
    provider
        The provider in use; set by the subclass.
    manifest
        The model's metadata.
    precision
        Arithmetic of the network.
    """

    provider: str
    manifest: Manifest
    precision: str

    def __init__(self, file: ModelFile) -> None:
        self.path: Path = file.path
        self.model_sha256: str = file.sha256

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and version of the runtime."""

    @abstractmethod
    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Codes and logits of checked images, at least one, contiguous.

        It may raise any exception, and must be thread-safe.
        """

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of a batch of images.

        Parameters
        ----------
        images
            uint8 [n, height, width, 3], RGB, at the model's size.

        Returns
        -------
        tuple
            Codes uint8 [n, ceil(n_bits / 8)] and logits float32 [n, n_bits].

        Raises
        ------
        ModelError
            If ``images`` has another shape or dtype, or the model fails or gives other shapes.
        DeviceError
            If the device runs out of memory.
        """
        manifest, n_images = self.manifest, len(images)
        expected = (n_images, manifest.height, manifest.width, 3)
        if images.dtype != np.uint8 or images.shape != expected:
            raise ModelError(
                f"{self.path}: images must be uint8 [n, {manifest.height}, {manifest.width}, 3], "
                f"not {images.dtype} {list(images.shape)}"
            )
        size = code_size(manifest.n_bits)
        if not n_images:
            return np.empty((0, size), np.uint8), np.empty((0, manifest.n_bits), np.float32)
        codes, logits = self._guarded(np.ascontiguousarray(images))
        if codes.shape != (n_images, size) or logits.shape != (n_images, manifest.n_bits):
            raise ModelError(
                f"{self.path}: {n_images} images of {manifest.n_bits} bits must give code "
                f"[{n_images}, {size}] and logit [{n_images}, {manifest.n_bits}], not "
                f"{list(codes.shape)} and {list(logits.shape)}"
            )
        return codes, logits

    def _guarded(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            return self._compute(images)
        except Exception as error:
            text = foreign_message(error)
            if "allocate" in text or "out of memory" in text.lower():
                raise DeviceError(
                    f"{self.path}: out of memory on a batch of {len(images)} images; "
                    f"use a smaller batch size ({text})"
                ) from None
            raise ModelError(f"{self.path}: the model failed to run ({text})") from None

    def _describe(
        self, file: ModelFile, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Check the graph, as the runtime sees it, against the contract."""
        self.manifest, self.precision = file.describe(inputs, outputs)

    def _try(self) -> None:
        """Check that the model runs."""
        # Two images: a graph traced with one image often has that batch size built in.
        self.run(np.zeros((2, self.manifest.height, self.manifest.width, 3), np.uint8))

    def _not_loaded(self, runtime: str, error: Exception) -> ModelError:
        return ModelError(
            f"{self.path}: not an ONNX model that {runtime} can load ({foreign_message(error)})"
        )
