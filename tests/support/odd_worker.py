"""A measuring process that does what the job's ``runtime`` says: compute, babble, crash or hang."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.manifest import Manifest
from hashkit.runtimes.measuring.measuring import MeasuringJob
from hashkit.runtimes.measuring.worker import serve

SIZE, N_BITS = 2, 8
FOR_EVER = 600
"""Seconds: longer than a test may take, so a test that waits for a hang to end fails."""


class PixelModel:
    """Logits are the first pixel values minus 100; codes are those of these logits."""

    runtime, precision = "pixels 1.0", "fp32"
    manifest = Manifest(N_BITS, SIZE, SIZE)

    def __init__(self, provider: str = "PixelProvider") -> None:
        self.provider = provider
        self.batches: list[int] = []

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        self.batches.append(len(images))
        logits = images.reshape(len(images), -1)[:, :N_BITS].astype(np.float32) - 100
        return binarize(logits), logits


class StallingModel(PixelModel):
    """Answers the first call, and hangs in the second."""

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if self.batches:
            time.sleep(FOR_EVER)
        return super().run(images)


def opener(job: MeasuringJob):
    Path(job.model).write_text(str(os.getpid()))
    if job.runtime == "babbles":
        print("native libraries write here")
        os.write(1, b"and so do others\n")
    if job.runtime == "aborts":
        print("first words\nlast words", file=sys.stderr, flush=True)
        os.abort()
    if job.runtime == "exits":
        os._exit(3)
    if job.runtime == "raises":
        raise RuntimeError("no such luck\nand more")
    if job.runtime == "hangs":
        time.sleep(FOR_EVER)
    if job.runtime == "is deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return lambda _: StallingModel() if job.runtime in ("stalls", "is deaf") else PixelModel()


if __name__ == "__main__":
    serve(lambda job: "it is not here" if job.runtime == "absent" else None, opener)
