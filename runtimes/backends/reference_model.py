"""Models in ONNX's reference evaluator, which uses NumPy: slow and without optimisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.onnx_file import read_tensors
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["ReferenceModel"]


class ReferenceModel(LoadedModel):
    """A model that follows the model contract, computed operator by operator as ONNX defines them.

    It is the oracle where runtimes disagree.

    Parameters
    ----------
    path
        The ONNX file.
    settings
        Not used, because NumPy computes.

    Raises
    ------
    ModelError
        If the file is missing, not an ONNX model, or breaks the contract.
    """

    provider = "ReferenceEvaluator"

    def __init__(self, path: Path, settings: RuntimeSettings) -> None:
        del settings
        file = ModelFile.read(path)
        super().__init__(file)
        try:
            # Missing shapes are inferred, as in other runtimes.
            model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(file.data))
            self._evaluator = ReferenceEvaluator(model)
        except Exception as error:
            raise self._not_loaded(self.name, error) from None
        self._describe(file, *read_tensors(model.SerializeToString()))
        self._try()

    @property
    def name(self) -> str:
        """Name and version of the runtime."""
        return f"onnx-reference {onnx.__version__}"

    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        codes, logits = self._evaluator.run(["code", "logit"], {"image": images})
        return np.asarray(codes), np.asarray(logits)
