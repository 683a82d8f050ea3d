"""A session that only ever sees one batch size, with buffers that stay on its device."""

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
    """Runs any number of images in batches of one size, the last one padded.

    A GPU's libraries choose a kernel by the shape it is given, and kernels sum in different
    orders. With one shape there is one kernel, so an image's logits do not depend on how many
    others came with it: a query alone and the same image in a database get the same bits.

    Parameters
    ----------
    session
        A session of ONNX Runtime whose graph keeps the model contract.
    manifest
        Bits and size of the graph.
    batch_size
        Images a batch.
    device
        Where the buffers are, as ONNX Runtime names it: ``cuda`` or ``cpu``.
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
        """Codes and logits of at least one image; safe to call from several threads."""
        with self._lock:  # the buffers are one set
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
        # Copies: on the CPU, numpy() shows the buffer that the next batch overwrites.
        return self._code.numpy()[:n_images].copy(), self._logit.numpy()[:n_images].copy()


def _buffer(shape: tuple[int, ...], dtype: type[np.generic], device: str) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, device, 0)
