"""How a model is to be run: which runtime, on what, in which profile, how many images at a time."""

from __future__ import annotations

import dataclasses
from typing import Final

from hashkit.errors import ConfigError
from hashkit.manifest import Manifest

__all__ = ["DEVICES", "GPU_PROVIDERS", "PROFILES", "RuntimeSettings", "batch_size_for"]

DEVICES: Final = ("auto", "cpu", "cuda")
PROFILES: Final = ("exact", "fast")
GPU_PROVIDERS: Final = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """How a model is to be run; free of any runtime's imports.

    Attributes
    ----------
    runtime
        One of `hashkit.runtimes.protocol.RUNTIMES`; looked up when a model is opened.
    device
        ``auto`` (CUDA if the model runs there, else the CPU), ``cpu``, or ``cuda``, which fails
        rather than fall back.
    n_threads
        Threads on the CPU; None for the cores this process may use.
    profile
        What CUDA aims at. ``exact``: the same bits for an image in every batch and every run.
        ``fast``: TF32, and convolutions chosen by timing. On the CPU both are the same.
    batch_size
        Images that a GPU is given at a time, where the profile fixes that; None to choose by
        input size. Callers may still ask for any number of images.

    Raises
    ------
    ConfigError
        If device or profile is unknown, or a number less than 1.
    """

    runtime: str = "onnxruntime"
    device: str = "auto"
    n_threads: int | None = None
    profile: str = "exact"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"unknown device {self.device!r}; known: {', '.join(DEVICES)}")
        if self.profile not in PROFILES:
            raise ConfigError(f"unknown profile {self.profile!r}; known: {', '.join(PROFILES)}")
        for name in ("n_threads", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")


def batch_size_for(manifest: Manifest, provider: str) -> int:
    """Images in a batch: few on a CPU, whose caches are small; many on a GPU, to fill it.

    Fewer for large inputs, as activations grow with the pixels.
    """
    most, pixels = (256, 2**24) if provider in GPU_PROVIDERS else (32, 2**20)
    return max(1, min(most, pixels // (manifest.height * manifest.width)))
