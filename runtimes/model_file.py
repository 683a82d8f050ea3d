"""A model file, read once for the runtime that loads it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from hashkit.errors import ModelError
from hashkit.inputs.opening import read_file
from hashkit.manifest import Manifest
from hashkit.runtimes.builtin import no_such_model
from hashkit.runtimes.contract import Tensor, check_contract, read_precision
from hashkit.runtimes.onnx_file import read_metadata
from hashkit.runtimes.own_weights import check_is_whole
from hashkit.runtimes.protobuf import Message

__all__ = ["ModelFile"]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """The bytes of an ONNX file, and their check against the model contract.

    Attributes
    ----------
    path
        Path of the file.
    data
        Bytes of the file.
    """

    path: Path
    data: bytes = dataclasses.field(repr=False)

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read a file.

        Raises
        ------
        ModelError
            If the file is missing, cannot be read, is not an ONNX model, or has weights in other
            files.
        """
        try:
            file = cls(path, read_file(path, "model_bytes"))
            check_is_whole(Message(file.data, 0, len(file.data)), path)
        except FileNotFoundError:
            raise ModelError(no_such_model(path)) from None
        except OSError as error:
            raise ModelError(f"{path}: the model cannot be read ({error.strerror})") from None
        except ValueError:
            raise ModelError(f"{path}: expected an ONNX model, found other data") from None
        return file

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def describe(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Manifest, str]:
        """Check the graph against the contract; return manifest and precision.

        Parameters
        ----------
        inputs, outputs
            Inputs and outputs as the runtime sees them: it knows shapes that are missing or wrong
            in the file.

        Raises
        ------
        ModelError
            If graph or metadata break the contract.
        """
        try:
            metadata = read_metadata(self.data)
            precision = read_precision(metadata)
            n_bits, height, width = check_contract(inputs, outputs)
            manifest = Manifest.from_metadata(metadata, n_bits=n_bits, height=height, width=width)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None
        return manifest, precision
