"""Search a bank while another thread adds to it, as a server does.

    python examples/growing_bank.py

Codes are 64 bits: which of a digit's 8 x 8 pixels are bright. With a trained model they would be
`hashkit.Encoder.encode`'s; nothing else would change.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import hashkit
from hashkit.bank.header import BankHeader
from hashkit.codes import binarize
from hashkit.datasets.sets import open_image_set

BATCH = 100
N_QUERIES = 97


def codes_of(pixels: np.ndarray) -> np.ndarray:
    """uint8 [n, 8, 8, 3] to packed codes, uint8 [n, 8]."""
    return binarize(pixels[..., 0].reshape(len(pixels), 64).astype(np.float32) - 128)


def header(class_names: tuple[str, ...]) -> BankHeader:
    """A bank of 64 bits with one label per image, whose codes come from no model."""
    return BankHeader(64, class_names=class_names, label_kind="single")


class Writer(threading.Thread):
    """Adds images to a bank in two deliveries, the second one to a bank that was complete."""

    def __init__(self, path: Path, images: hashkit.CodeSet, ready: threading.Event) -> None:
        super().__init__()
        self._path, self._images, self._ready = path, images, ready

    def run(self) -> None:
        """Create the bank and fill its first half, then append the second half."""
        images, half = self._images, len(self._images) // 2
        sizes = {"n_rows": half, "n_name_bytes": 16 * half}  # more may come: the bank grows
        with hashkit.BankWriter.create(self._path, header(images.class_names), **sizes) as writer:
            self._add(writer, range(0, half, BATCH), half)
        with hashkit.BankWriter.append(self._path, header(images.class_names), **sizes) as writer:
            self._add(writer, range(half, len(images), BATCH), len(images))

    def _add(self, writer: hashkit.BankWriter, starts: range, end: int) -> None:
        for start in starts:
            rows = slice(start, min(start + BATCH, end))
            n_consumed = rows.stop - starts.start
            writer.write(
                self._images.codes[rows],
                self._images.names[rows],
                self._images.labels[rows],
                n_consumed=n_consumed,
            )
            writer.flush()  # from now on whoever opens the bank sees these rows
            self._ready.set()
            time.sleep(0.05)  # images come in bit by bit
        writer.complete()


def answers(path: Path, queries: hashkit.CodeSet, writer: Writer) -> Iterator[tuple[int, float]]:
    """Search until the writer has ended: rows searched, and the share of right labels.

    A bank shows the rows that were committed when it was opened. Opening takes the same short time
    whatever its size, so a server opens it again whenever it wants to see what came since.
    """
    is_last = False
    while not is_last:
        is_last = not writer.is_alive()  # before opening, so that the last look sees every row
        with hashkit.Bank.open(path) as bank:
            nearest = hashkit.search(queries.codes, bank, top_k=1).rows[:, 0]
            yield len(bank), float(np.mean(bank.labels[nearest] == queries.labels))


def main(path: Path) -> None:
    """Write and search at the same time, and print how the bank grew."""
    digits = open_image_set("digits")
    codes, names = codes_of(digits.pixels), list(digits.names)
    everything = [codes, digits.labels, np.array(names)]
    queries, images = (
        hashkit.CodeSet(part[0], 64, part[1], part[2].tolist(), digits.class_names)
        for part in zip(*(np.split(column, [N_QUERIES]) for column in everything), strict=True)
    )
    ready = threading.Event()
    writer = Writer(path, images, ready)
    writer.start()
    ready.wait(timeout=60)
    n_seen = 0
    for n_rows, right in answers(path, queries, writer):
        if n_rows > n_seen:
            print(f"{n_rows:5,} images: the nearest one is of the right digit for {right:.0%}")
            n_seen = n_rows
    writer.join()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "images.h5")
