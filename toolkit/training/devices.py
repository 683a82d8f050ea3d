"""The device that training runs on, and how it computes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hashkit.errors import ConfigError, DeviceError

__all__ = ["choose_device", "repeatable_kernels", "seed_generators", "thread_count", "to_device"]


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
        raise DeviceError(
            f'`device="{name}"`: torch {torch.__version__} {reason}; use `device="cpu"`'
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise DeviceError(f'`device="{name}"`: {first}') from None
    return device


def thread_count() -> int:
    """Threads of torch's sums on the CPU; weights depend on it in their last bits."""
    return torch.get_num_threads()


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a copy to a GPU goes on while the host does other work.

    Only page-locked memory is copied so. Without it every small copy would wait for the GPU, which
    is what slows a loop of short steps most.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's global generators on the CPU and on a GPU.

    `torch.manual_seed` does the same for all devices there could be, at ten times the cost.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def repeatable_kernels(device: torch.device) -> Iterator[None]:
    """Let cuDNN choose convolutions by rule, sum in a fixed order, and keep fp32 at 32 bits.

    By default it may pick kernels that add up in any order, and rounds the factors of fp32
    convolutions to TF32. On the CPU this changes nothing.
    """
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
