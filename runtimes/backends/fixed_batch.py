"""Runs a session with one batch size and with buffers that stay on the device."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.manifest import Manifest

__all__ = ["FixedBatch"]


class FixedBatch:
    """Runs any number of images in batches of one size; the last batch is padded.

    GPU libraries choose kernels by input shape, and kernels sum in different orders. With one
    shape there is one kernel, so an image's logits do not depend on the number of other images:
    a query and the same image in a database get the same bits.

    Parameters
    ----------
    session
        A session of ONNX Runtime whose graph follows the model contract.
    manifest
        Number of bits and image size.
    batch_size
        Images per batch.
    device
        Device of the buffers, as ONNX Runtime names it: ``cuda`` or ``cpu``.
    """

    def __init__(self, session: Any, manifest: Manifest, batch_size: int, device: str) -> None:
        self.batch_size = batch_size
        self._session = session
        shape = (batch_size, manifest.height, manifest.width, 3)
        self._batch = np.zeros(shape, np.uint8)
        self._image = _buffer(shape, np.uint8, device)
        self._code = _buffer((batch_size, code_size(manifest.n_bits)), np.uint8, device)
        self._logit = _buffer((batch_size, manifest.n_bits), np.float32, device)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("image", self._image)
        self._binding.bind_ortvalue_output("code", self._code)
        self._binding.bind_ortvalue_output("logit", self._logit)
        self._lock = threading.Lock()

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of at least one image; thread-safe."""
        with self._lock:  # there is one set of buffers
            starts = range(0, len(images), self.batch_size)
            parts = [self._run_batch(images[start : start + self.batch_size]) for start in starts]
        codes, logits = (np.concatenate(values) for values in zip(*parts, strict=True))
        return codes, logits

    def _run_batch(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        n_images = len(images)
        if n_images < self.batch_size:
            self._batch[:n_images] = images
            self._batch[n_images:] = 0
            images = self._batch
        self._image.update_inplace(images)
        self._session.run_with_iobinding(self._binding)
        # Copied: on the CPU numpy() is a view of the buffer, which the next batch overwrites.
        return self._code.numpy()[:n_images].copy(), self._logit.numpy()[:n_images].copy()


def _buffer(shape: tuple[int, ...], dtype: type[np.generic], device: str) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, device, 0)
