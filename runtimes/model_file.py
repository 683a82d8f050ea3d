"""A model file, read once for whichever runtime is to load it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from hashkit.errors import ModelError
from hashkit.manifest import Manifest
from hashkit.runtimes.contract import Tensor, check_contract, read_precision
from hashkit.runtimes.onnx_file import read_metadata

__all__ = ["ModelFile"]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """The bytes of an ONNX file, and what they are held against.

    Attributes
    ----------
    path
        Where the file is.
    data
        Its bytes.
    """

    path: Path
    data: bytes = dataclasses.field(repr=False)

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read a file whole.

        Raises
        ------
        ModelError
            If it is missing or cannot be read.
        """
        try:
            return cls(path, path.read_bytes())
        except FileNotFoundError:
            raise ModelError(f"{path}: there is no such model file") from None
        except OSError as error:
            raise ModelError(f"{path}: the model cannot be read ({error.strerror})") from None

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def describe(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Manifest, str]:
        """Manifest and precision, once the graph has been held against the contract.

        Parameters
        ----------
        inputs, outputs
            The graph's, as the runtime that loaded it sees them: it knows shapes that the file
            leaves out or gets wrong.

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
