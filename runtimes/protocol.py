"""The interface of a runtime, and the table of runtimes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.distribution import find_package, install_command
from hashkit.errors import ConfigError, DeviceError
from hashkit.manifest import Manifest
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["RUNTIMES", "Runtime", "RuntimeKind", "open_runtime", "why_no_package"]


class Runtime(Protocol):
    """A loaded model that computes codes of pixels."""

    @property
    def name(self) -> str:
        """Name and version of the runtime, for example ``onnxruntime 1.20.0``."""
        ...

    @property
    def provider(self) -> str:
        """The provider in use, for example ``CPUExecutionProvider``."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic of the network: ``fp32``, ``tf32``, ``int8``."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The model's metadata."""
        ...

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file, hexadecimal."""
        ...

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes uint8 [n, ceil(n_bits / 8)] and logits float32 [n, n_bits].

        ``images`` is uint8 [n, height, width, 3] RGB; n may be 0. The method is thread-safe.
        """
        ...


@dataclasses.dataclass(frozen=True)
class RuntimeKind:
    """An entry of `RUNTIMES`.

    Attributes
    ----------
    summary
        One line about it.
    open
        Opens a model, given path and settings, and imports the runtime's packages.
    why_absent
        Returns why the runtime is not available on this machine, with the command that installs
        it; None if it is available.
    devices
        Devices it can run on, ``cpu`` or ``cuda``; others are refused.
    is_slow
        Whether it is meant for a few images only; commands that use it warn.
    """

    summary: str
    open: Callable[[Path, RuntimeSettings], Runtime]
    why_absent: Callable[[], str | None]
    devices: tuple[str, ...]
    is_slow: bool = False


def open_runtime(path: Path, settings: RuntimeSettings) -> Runtime:
    """Open a model in the runtime that the settings name, and in no other.

    Raises
    ------
    ConfigError
        If the runtime is unknown.
    DeviceError
        If the runtime is not installed, or the device is not available.
    ModelError
        If the file is missing or breaks the model contract.
    """
    name = settings.runtime
    if name not in RUNTIMES:
        raise ConfigError(f"unknown runtime {name!r}; known: {', '.join(RUNTIMES)}")
    kind = RUNTIMES[name]
    if settings.device not in ("auto", *kind.devices):
        raise DeviceError(
            f"the runtime {name} runs on {' or '.join(kind.devices)}, but {settings.device} was "
            f'asked for; use `device="{kind.devices[0]}"`, or `runtime="onnxruntime"`'
        )
    reason = kind.why_absent()
    if reason is not None:
        raise DeviceError(f"the runtime {name} is not available: {reason}")
    return kind.open(path, settings)


def _open_onnxruntime(path: Path, settings: RuntimeSettings) -> Runtime:
    from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

    return OnnxRuntimeSession(
        path,
        settings.device,
        n_threads=settings.n_threads,
        profile=settings.profile,
        batch_size=settings.batch_size,
    )


def _open_tensorrt(path: Path, settings: RuntimeSettings) -> Runtime:
    from hashkit.runtimes.backends.tensorrt_session import TensorRtSession

    return TensorRtSession(path, settings)


def _open_openvino(path: Path, settings: RuntimeSettings) -> Runtime:
    from hashkit.runtimes.backends.openvino_model import OpenVinoModel

    return OpenVinoModel(path, settings)


def _open_reference(path: Path, settings: RuntimeSettings) -> Runtime:
    from hashkit.runtimes.backends.reference_model import ReferenceModel

    return ReferenceModel(path, settings)


def _why_no_onnxruntime() -> str | None:
    return why_no_package("onnxruntime")


def _why_no_tensorrt() -> str | None:
    reason = _why_no_onnxruntime()
    if reason is not None:
        return reason
    from hashkit.runtimes.cuda import why_no_tensorrt

    return why_no_tensorrt()


def _why_no_openvino() -> str | None:
    return why_no_package("openvino", "openvino")


def _why_no_onnx() -> str | None:
    return why_no_package("onnx", "train")


def why_no_package(package: str, extra: str | None = None) -> str | None:
    """Why a package cannot be imported, and the command that installs it; None if it can be.

    ``extra`` is the extra that brings it; None if the base install does.
    """
    if find_package(package) is not None:
        return None
    return f"{package} is not installed: {install_command(extra)}"


RUNTIMES: Final[dict[str, RuntimeKind]] = {
    "onnxruntime": RuntimeKind(
        "ONNX Runtime on CUDA or the CPU, as `device` says.",
        _open_onnxruntime,
        _why_no_onnxruntime,
        ("cpu", "cuda"),
    ),
    "onnxruntime-tensorrt": RuntimeKind(
        "TensorRT on an NVIDIA GPU, through ONNX Runtime; builds an engine first.",
        _open_tensorrt,
        _why_no_tensorrt,
        ("cuda",),
    ),
    "openvino": RuntimeKind(
        "OpenVINO on the CPU, in fp32.",
        _open_openvino,
        _why_no_openvino,
        ("cpu",),
    ),
    "reference": RuntimeKind(
        "ONNX's reference evaluator in NumPy: an oracle, about thirty times slower.",
        _open_reference,
        _why_no_onnx,
        ("cpu",),
        is_slow=True,
    ),
}
"""Runtimes by name; a new one is an entry here."""
