"""The device that training runs on, and its numerical settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hashkit.errors import DeviceError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.known_names import check_training_device

__all__ = [
    "choose_device",
    "repeatable_kernels",
    "seed_generators",
    "seeded",
    "thread_count",
    "to_device",
]


def choose_device(name: str) -> torch.device:
    """Device by name: ``cpu``, ``cuda`` (or ``cuda:1``), or ``auto`` for the GPU if there is one.

    Raises
    ------
    DeviceError
        If ``cuda`` is requested and torch has no CUDA device that works.
    ConfigError
        If the name is unknown.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    check_training_device(name)
    if not torch.cuda.is_available():
        reason = "was built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise DeviceError(
            f'`device="{name}"`: torch {torch.__version__} {reason}; use `device="cpu"`'
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except RuntimeError as error:
        raise DeviceError(f'`device="{name}"`: {foreign_message(error)}') from None
    return device


def thread_count() -> int:
    """Threads that torch uses on the CPU; the last bits of weights depend on it."""
    return torch.get_num_threads()


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; a copy to a GPU is asynchronous.

    Asynchronous copies need page-locked memory. Synchronous copies wait for the GPU, which is the
    main cost in a loop of short steps.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's global generators on the CPU and on a GPU.

    `torch.manual_seed` seeds all possible devices, at ten times the cost.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators; that of the CPU is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def repeatable_kernels(device: torch.device) -> Iterator[None]:
    """Make cuDNN deterministic, without benchmarking and without TF32.

    By default cuDNN may select kernels that sum in varying order, and it rounds the inputs of fp32
    convolutions to TF32. On the CPU this has no effect.
    """
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
