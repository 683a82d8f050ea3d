"""The device that training really runs on."""

from __future__ import annotations

import torch

from hashkit.errors import ConfigError, DeviceError

__all__ = ["choose_device", "thread_count"]


def choose_device(name: str) -> torch.device:
    """Device by name: ``cpu``, ``cuda`` (or ``cuda:1``), or ``auto`` for the GPU if there is one.

    Raises
    ------
    DeviceError
        If ``cuda`` is asked for and torch has none that works.
    ConfigError
        If the name is something else.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name.partition(":")[0] != "cuda":
        raise ConfigError(f"unknown device {name!r}; known: auto, cpu, cuda, cuda:<number>")
    if not torch.cuda.is_available():
        reason = "was built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise DeviceError(f"--device {name}: torch {torch.__version__} {reason}; use --device cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise DeviceError(f"--device {name}: {first}") from None
    return device


def thread_count() -> int:
    """Threads of torch's sums on the CPU; weights depend on it in their last bits."""
    return torch.get_num_threads()
