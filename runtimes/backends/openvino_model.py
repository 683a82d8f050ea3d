"""Models in OpenVINO on the CPU, in fp32 arithmetic."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.runtimes.backends.openvino_import import openvino
from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.onnx_file import GraphTensor
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.threads import check_threads

__all__ = ["OpenVinoModel"]

_properties = openvino.properties
_hint = openvino.properties.hint

_TYPES: Final = {"u8": "uint8", "f32": "float"}
_NAMES: Final = ("image", "code", "logit")


class OpenVinoModel(LoadedModel):
    """A model that follows the model contract, compiled by OpenVINO for this machine's CPU.

    Parameters
    ----------
    path
        The ONNX file.
    settings
        Only the number of threads is used.

    Raises
    ------
    ModelError
        If the file is missing, OpenVINO cannot load it, or it breaks the contract.
    """

    provider = "CPU"

    def __init__(self, path: Path, settings: RuntimeSettings) -> None:
        file = ModelFile.read(path)
        super().__init__(file)
        self.n_threads = check_threads(settings.n_threads, "n_threads")
        try:
            self._core = openvino.Core()
            model = self._core.read_model(file.data)
        except Exception as error:
            raise self._not_loaded(self.name, error) from None
        self._describe(file, _tensors(model.inputs), _tensors(model.outputs))
        try:
            compiled = self._core.compile_model(model, "CPU", self._properties())
        except Exception as error:
            raise self._not_loaded(self.name, error) from None
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        self._try()

    @property
    def name(self) -> str:
        """Name and version of the runtime."""
        return f"openvino {openvino.__version__.partition('-')[0]}"

    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        # One request uses all threads. The next run overwrites its tensors, hence lock and copies.
        with self._lock:
            self._request.infer({"image": images})
            codes, logits = (
                self._request.get_tensor(name).data.copy() for name in ("code", "logit")
            )
        return codes, logits

    def _properties(self) -> dict[str, Any]:
        return {
            # Without these two, CPUs with bfloat16 would use it.
            _hint.inference_precision: openvino.Type.f32,
            _hint.execution_mode: _hint.ExecutionMode.ACCURACY,
            _hint.performance_mode: _hint.PerformanceMode.LATENCY,
            # Pinned threads would compete for cores with the threads that decode.
            _hint.enable_cpu_pinning: False,
            _properties.inference_num_threads: self.n_threads,
        }


def _tensors(ports: Any) -> list[GraphTensor]:
    """Inputs or outputs of a graph as ONNX describes them."""
    return [GraphTensor(_name(port), _type(port), _shape(port)) for port in ports]


def _name(port: Any) -> str:
    names = port.get_names()  # a set: an output may have several names
    return next((name for name in _NAMES if name in names), min(names, default=""))


def _type(port: Any) -> str:
    name = port.get_element_type().get_type_name()
    return f"tensor({_TYPES.get(name, name)})"


def _shape(port: Any) -> tuple[int | str | None, ...]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
