"""Settings for running a model: runtime, device, threads, profile and batch size."""

from __future__ import annotations

import dataclasses
from typing import Final

from hashkit.errors import ConfigError
from hashkit.manifest import Manifest

__all__ = [
    "DEVICES",
    "GPU_PROVIDERS",
    "PROFILES",
    "RuntimeSettings",
    "batch_size_for",
    "batch_size_for_size",
]

DEVICES: Final = ("auto", "cpu", "cuda")
PROFILES: Final = ("exact", "fast")
GPU_PROVIDERS: Final = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """Settings for running a model; imports no runtime.

    Attributes
    ----------
    runtime
        One of `hashkit.runtimes.protocol.RUNTIMES`; checked when a model is opened.
    device
        ``auto`` (CUDA if the model runs there, otherwise the CPU), ``cpu``, or ``cuda``, which
        raises an error instead of falling back.
    n_threads
        Threads on the CPU; None for one per CPU available to this process.
    profile
        Profile on CUDA. ``exact``: an image has the same bits in every batch and every run.
        ``fast``: TF32, and convolutions chosen by timing. On the CPU both are the same.
    batch_size
        Batch size on a GPU where the profile fixes it; None to choose by input size. Callers may
        still pass any number of images.

    Raises
    ------
    ConfigError
        If device or profile is unknown, or a number is less than 1.
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
                raise ConfigError(f"`{name}` must be at least 1, not {value}")


def batch_size_for(manifest: Manifest, provider: str) -> int:
    """Default batch size of a model; see `batch_size_for_size`."""
    return batch_size_for_size(manifest.size, provider)


def batch_size_for_size(size: tuple[int, int], provider: str) -> int:
    """Default batch size: small on a CPU, whose caches are small; large on a GPU, to fill it.

    On a CPU, batches of 8 are as fast as larger ones, and a writer that is interrupted loses less.
    It is smaller for large inputs, (height, width) in pixels, because activations grow with the
    number of pixels.
    """
    most, pixels = (256, 2**24) if provider in GPU_PROVIDERS else (8, 2**18)
    return max(1, min(most, pixels // (size[0] * size[1])))
