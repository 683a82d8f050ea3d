"""A process that encodes slowly, for tests that kill it: MODEL BANK as arguments."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.datasets.imageset import ImageSet
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import EncodeProgress, encode_to_bank

N_IMAGES, HEIGHT, WIDTH = 2000, 4, 5


class FaultySet(ImageSet):
    """An image set whose rows 3, 13, 23, ... cannot be read."""

    def source(self, row: int) -> Path | NDArray[np.uint8]:
        return Path("there-is-no-such-file") if row % 10 == 3 else super().source(row)


def numbered_set() -> ImageSet:
    """The images, the same in every process."""
    shape = (N_IMAGES, HEIGHT, WIDTH, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    names = [f"numbered/{row}" for row in range(N_IMAGES)]
    return FaultySet("numbered", names, pixels=pixels, labels=np.arange(N_IMAGES) % 7)


def source_of(image_set: ImageSet) -> BankSource:
    """What a bank remembers of a whole set."""
    fingerprint = hash_names(image_set.names, image_set.labels)
    root = None if image_set.root is None else str(image_set.root)
    return BankSource(image_set.name, root, "", "all", None, len(image_set), fingerprint)


def main(model: str, bank: str) -> None:
    """Encode, printing how far it is after every 8 images, 20 ms apart."""

    def wait(progress: EncodeProgress) -> None:
        print(progress.n_done, flush=True)
        time.sleep(0.02)

    images, encoder = numbered_set(), Encoder.load(model, device="cpu", n_threads=1)
    source = source_of(images)
    encode_to_bank(encoder, images, Path(bank), source=source, batch_size=8, progress=wait)


if __name__ == "__main__":
    # A shell starts background commands with SIGINT ignored, and their children inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:])
