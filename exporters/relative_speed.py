"""How fast a model is compared with the one it was made from, on this CPU."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.runtimes.protocol import Runtime, open_runtime
from hashkit.runtimes.settings import RuntimeSettings, batch_size_for

__all__ = ["relative_speed"]

_PAIRS: Final = 9
_SECONDS: Final = 0.05
"""Least time of one measurement, so that small networks are not timed by a single batch."""


def relative_speed(source: Path, model: Path, images: NDArray[np.uint8]) -> float:
    """Throughput of ``model`` relative to ``source``, in images per second, with all threads.

    It is the median over pairs that are timed one after the other, so that other work on the
    machine slows both. It takes about a second, and more for slow networks.

    Parameters
    ----------
    source, model
        Files that follow the model contract, with the same input size.
    images
        uint8 [n, H, W, 3], n > 0; only as many as a batch are used.

    Raises
    ------
    ModelError
        If a file cannot be opened or run, or violates the contract.
    """
    runtimes = [open_runtime(path, RuntimeSettings(device="cpu")) for path in (source, model)]
    size = batch_size_for(runtimes[0].manifest, runtimes[0].provider)
    batch = np.ascontiguousarray(images[np.arange(size) % len(images)])
    # The faster of the two is timed as often as the slower one.
    n_runs = max(1, round(_SECONDS / max(_seconds(runtimes[0], batch, 1), 1e-6)))
    ratios = []
    for _ in range(_PAIRS):
        of_source, of_model = (_seconds(one, batch, n_runs) for one in runtimes)
        ratios.append(of_source / of_model)
    return statistics.median(ratios)


def _seconds(runtime: Runtime, batch: NDArray[np.uint8], n_runs: int) -> float:
    started = time.perf_counter()
    for _ in range(n_runs):
        runtime.run(batch)
    return time.perf_counter() - started
