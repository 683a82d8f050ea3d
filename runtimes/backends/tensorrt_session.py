"""Models in TensorRT through ONNX Runtime, without silent fallback."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hashkit.errors import DeviceError, ModelError
from hashkit.files.cache import cache_folder
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes import cuda
from hashkit.runtimes.backends.fixed_batch import FixedBatch
from hashkit.runtimes.backends.onnxruntime_session import create_session
from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.settings import RuntimeSettings, batch_size_for
from hashkit.threads import check_threads

__all__ = ["TensorRtSession", "engine_folder"]

_TENSORRT: Final = "TensorrtExecutionProvider"
_SILENT: Final = 4


class TensorRtSession(LoadedModel):
    """A model that follows the model contract, built by TensorRT for this machine's GPU.

    The first use of a model builds an engine, which takes seconds to minutes and is stored in the
    user's cache (`engine_folder`). Batches have one size (`FixedBatch`), so one engine suffices.
    TensorRT times kernels while it builds, and may use TF32, which `precision` reports.

    Parameters
    ----------
    path
        The ONNX file.
    settings
        Only the number of threads and the batch size are used.

    Raises
    ------
    ModelError
        If the file is missing, not an ONNX model, or breaks the contract.
    DeviceError
        If the model does not run on TensorRT.
    """

    provider = _TENSORRT

    def __init__(self, path: Path, settings: RuntimeSettings) -> None:
        file = ModelFile.read(path)
        super().__init__(file)
        cuda.load_libraries()
        self._engines = engine_folder(file.sha256)
        self._session = self._open(file, check_threads(settings.n_threads, "n_threads"))
        self._describe(file, self._session.get_inputs(), self._session.get_outputs())
        if self.precision == "fp32":
            self.precision = "tf32"
        size = settings.batch_size or batch_size_for(self.manifest, self.provider)
        try:
            self._batches = FixedBatch(self._session, self.manifest, size, "cuda")
            self._try()
        except ModelError as error:
            raise self._refused(str(error)) from None
        except RuntimeError as error:  # from the buffers
            raise self._refused(foreign_message(error)) from None
        if not any(self._engines.glob("*.engine")):
            raise self._refused("TensorRT took no part of the graph")

    @property
    def name(self) -> str:
        """Name and version of the runtime."""
        return f"onnxruntime-tensorrt {onnxruntime.__version__}"

    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._batches.run(images)

    def _open(self, file: ModelFile, n_threads: int) -> Any:
        self._engines.mkdir(parents=True, exist_ok=True)
        options = {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(self._engines),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(self._engines),
        }
        try:
            session = create_session(file.data, _TENSORRT, options, n_threads, _SILENT)
        except Exception as error:
            raise self._refused(foreign_message(error)) from None
        # If the TensorRT libraries do not load, ONNX Runtime makes a CPU session without an error.
        if _TENSORRT not in session.get_providers():
            raise self._refused(
                "ONNX Runtime could not load its TensorRT provider (TensorRT, CUDA or cuDNN "
                "libraries are missing or of another version)"
            )
        return session

    def _refused(self, reason: str) -> DeviceError:
        return DeviceError(
            f'{self.path}: TensorRT was asked for, but {reason}; use `runtime="onnxruntime"`'
        )


def engine_folder(model_sha256: str) -> Path:
    """Folder of a model's engines for this version of ONNX Runtime.

    It is below the folder of `hashkit.files.cache.cache_folder`.
    """
    return (
        cache_folder() / "tensorrt" / f"{model_sha256[:16]}-onnxruntime-{onnxruntime.__version__}"
    )
