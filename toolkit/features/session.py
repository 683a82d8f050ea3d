"""Runs embedders in ONNX Runtime."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ModelError
from hashkit.features.embedder import FEATURE, IMAGE, Embedder
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes import cuda
from hashkit.runtimes.backends.onnxruntime_session import create_session, cuda_options
from hashkit.runtimes.settings import batch_size_for_size
from hashkit.threads import check_threads

__all__ = ["EmbedderSession"]

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_SILENT: Final = 4

logger = logging.getLogger(__name__)


class EmbedderSession:
    """An embedder, loaded by ONNX Runtime.

    Parameters
    ----------
    embedder
        The embedder.
    device
        ``cpu``; ``cuda`` (or ``cuda:0``), which raises an error instead of falling back; or
        ``auto``.
    n_threads
        Threads per operator on the CPU; None for one per CPU available to this process.

    Attributes
    ----------
    provider
        The execution provider.
    batch_size
        Images per batch that suit it.

    Raises
    ------
    DeviceError
        If ``device`` is ``cuda`` and the graph cannot run there.
    ModelError
        If ONNX Runtime cannot load the graph.
    """

    def __init__(
        self, embedder: Embedder, device: str = "auto", n_threads: int | None = None
    ) -> None:
        self._embedder = embedder
        self._n_threads = check_threads(n_threads, "n_threads")
        self.provider = _CPU
        if device == "cpu" or not self._open_cuda(required=device.startswith("cuda")):
            self._open(_CPU)
        self.batch_size = batch_size_for_size(embedder.size, self.provider)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features, float32 [n, n_features], of images, uint8 [n, height, width, 3].

        Raises
        ------
        ModelError
            If the graph fails, or gives other shapes.
        """
        try:
            (features,) = self._session.run([FEATURE], {IMAGE: images})
        except Exception as error:
            raise self._failed(error) from None
        found: NDArray[np.float32] = features
        expected = (len(images), self._embedder.n_features)
        if found.shape != expected or found.dtype != np.float32:
            raise ModelError(
                f"{self._embedder.name}: expected features float32 {list(expected)}, found "
                f"{found.dtype} {list(found.shape)}"
            )
        return found

    def _open(self, provider: str) -> None:
        options = cuda_options("exact") if provider == _CUDA else {}
        try:
            self._session = create_session(
                self._embedder.graph, provider, options, self._n_threads, _SILENT
            )
        except Exception as error:
            raise self._failed(error) from None
        self.provider = provider

    def _open_cuda(self, *, required: bool) -> bool:
        reason = cuda.why_no_cuda()
        if reason is None:
            cuda.load_libraries()
            try:
                self._open(_CUDA)
            except ModelError as error:
                reason = str(error)
            else:
                if _CUDA in self._session.get_providers():
                    return True
                reason = "ONNX Runtime could not load its CUDA provider"
        if required:
            raise cuda.not_on_cuda(reason)
        logger.info("running on the CPU: %s", reason)
        return False

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._embedder.name}: ONNX Runtime cannot run this embedder "
            f"({foreign_message(error)})"
        )
