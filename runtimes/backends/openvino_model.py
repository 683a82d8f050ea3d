"""A model file in OpenVINO, on the CPU, in fp32 arithmetic."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import properties
from openvino.properties import hint

from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.onnx_file import GraphTensor
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.threads import check_threads

__all__ = ["OpenVinoModel"]

_TYPES: Final = {"u8": "uint8", "f32": "float"}
_NAMES: Final = ("image", "code", "logit")


class OpenVinoModel(LoadedModel):
    """A model that keeps the model contract, compiled by OpenVINO for this machine's CPU.

    Parameters
    ----------
    path
        The ONNX file.
    settings
        Of these, the number of threads counts.

    Raises
    ------
    ModelError
        If the file is missing, not a model that OpenVINO can load, or breaks the contract.
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
        # One request, as all threads work for it already; its tensors are those of the last run.
        with self._lock:
            self._request.infer({"image": images})
            codes, logits = (
                self._request.get_tensor(name).data.copy() for name in ("code", "logit")
            )
        return codes, logits

    def _properties(self) -> dict[str, Any]:
        return {
            # Without these two, CPUs that have bfloat16 would compute in it.
            hint.inference_precision: openvino.Type.f32,
            hint.execution_mode: hint.ExecutionMode.ACCURACY,
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            # Pinned threads would fight over cores with those that decode.
            hint.enable_cpu_pinning: False,
            properties.inference_num_threads: self.n_threads,
        }


def _tensors(ports: Any) -> list[GraphTensor]:
    """Inputs or outputs of a graph in the words of ONNX."""
    return [GraphTensor(_name(port), _type(port), _shape(port)) for port in ports]


def _name(port: Any) -> str:
    names = port.get_names()  # a set: an output may be known by several
    return next((name for name in _NAMES if name in names), min(names, default=""))


def _type(port: Any) -> str:
    name = port.get_element_type().get_type_name()
    return f"tensor({_TYPES.get(name, name)})"


def _shape(port: Any) -> tuple[int | str | None, ...]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
