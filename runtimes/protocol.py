"""What a runtime is, and the runtimes there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.manifest import Manifest
from hashkit.runtimes.onnxruntime_session import OnnxRuntimeSession

__all__ = ["RUNTIMES", "OpenRuntime", "Runtime"]


class Runtime(Protocol):
    """A loaded model that turns pixels into codes."""

    @property
    def name(self) -> str:
        """Name and version of what runs the model, for example ``onnxruntime 1.20.0``."""
        ...

    @property
    def provider(self) -> str:
        """What it really runs on: for example ``CPUExecutionProvider``."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic of the network: ``fp32``, ``tf32``, ``int8``."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        ...

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file, hexadecimal."""
        ...

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes uint8 [n, ceil(n_bits / 8)] and logits float32 [n, n_bits].

        ``images`` is uint8 [n, height, width, 3] RGB, n from 0; it must be safe to call from
        several threads.
        """
        ...


OpenRuntime = Callable[[Path, str, int | None], Runtime]
"""Opens a model: path, device (``auto``, ``cpu`` or ``cuda``), number of threads or None."""


def _open_onnxruntime(path: Path, device: str, n_threads: int | None) -> Runtime:
    return OnnxRuntimeSession(path, device, n_threads=n_threads)


RUNTIMES: Final[dict[str, OpenRuntime]] = {"onnxruntime": _open_onnxruntime}
"""Runtimes by name; a new one is an entry here."""
