"""How many images a model is given at a time."""

from __future__ import annotations

from typing import Final

from hashkit.manifest import Manifest

__all__ = ["GPU_PROVIDERS", "batch_size_for"]

GPU_PROVIDERS: Final = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})


def batch_size_for(manifest: Manifest, provider: str) -> int:
    """Images in a batch: few on a CPU, whose caches are small; many on a GPU, to fill it.

    Fewer for large inputs, as activations grow with the pixels.
    """
    most, pixels = (256, 2**24) if provider in GPU_PROVIDERS else (32, 2**20)
    return max(1, min(most, pixels // (manifest.height * manifest.width)))
