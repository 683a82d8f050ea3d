"""What the checksums of a bank, and the digests of image files, cost while encoding.

    python tests/benchmarks/bench_checksums.py [--n-images N] [--images FOLDER] [--model MODEL]

Prints shares of the CPU time of the whole encoding, within this run, and the time of a commit
with and without checksums, in alternation. Without arguments the model is a single matrix product,
which gives the largest possible shares, and the files are photographs of 640 x 427.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

sys.path.append(str(Path(__file__).parents[1] / "support"))
from linear_models import linear_model

from hashkit.bank import layout
from hashkit.bank.checksums import RowChecksums
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.writer import BankWriter
from hashkit.datasets.imageset import ImageSet
from hashkit.imaging.content import FileContent
from hashkit.machine import processor
from hashkit.preprocess import IMAGE_SUFFIXES
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import encode_to_bank

SPENT: collections.Counter[str] = collections.Counter()
"""Seconds of CPU time, by what was timed."""


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with its CPU time added to `SPENT`."""

    def run(*arguments: Any) -> Any:
        started = time.thread_time()
        try:
            return work(*arguments)
        finally:
            SPENT[name] += time.thread_time() - started

    return run


def main() -> None:
    """Print all shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, help="an ONNX file that keeps the contract")
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--n-images", type=int, default=500, help="images to make or to take")
    options = parser.parse_args()
    print(f"machine               {processor()}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        images = _image_set(options.images or make_photographs(scratch / "images"))
        images = images.subset(np.arange(options.n_images) % len(images))
        model = options.model or linear_model(scratch / "m.onnx", n_bits=64, height=64, width=64)
        shares_of_encoding(Encoder.load(model, "cpu"), images, scratch / "bank.h5")
        rows_without_images(scratch)
        commits(scratch)


def shares_of_encoding(encoder: Encoder, images: ImageSet, path: Path) -> None:
    """Encode image files; checksums and digests as shares of all CPU time."""
    RowChecksums.continued = timed("checksums", RowChecksums.continued)  # type: ignore[method-assign]
    FileContent.digest = timed("digests", FileContent.digest)  # type: ignore[method-assign]
    names = hash_names(images.names, None)
    source = BankSource(images.name, str(images.root), "", "all", None, len(images), names)
    started = time.process_time()
    encode_to_bank(encoder, images, path, source=source)
    seconds = time.process_time() - started
    print(f"encoding              {1e3 * seconds / len(images):.2f} ms per image")
    for name, spent in SPENT.items():
        each = 1e6 * spent / len(images)
        print(f"{name:21} {each:.2f} us per image, {spent / seconds:.2%} of encoding")


def rows_without_images(folder: Path) -> None:
    """Time writing rows of 64 bits with names, with and without checksums, in alternation."""
    codes = np.random.default_rng(0).integers(0, 256, (500_000, 8), dtype=np.uint8)
    names = [f"images/{row % 1000:03}/{row:08}.jpg" for row in range(len(codes))]

    def write(version: int) -> float:
        started = time.process_time()
        with _writer(folder / f"rows-{version}.h5", version, len(codes)) as writer:
            for first in range(0, len(codes), 1024):
                rows = slice(first, first + 1024)
                stop = min(first + 1024, len(codes))
                writer.write(codes[rows], names[rows], n_consumed=stop)
            writer.complete()
        return (time.process_time() - started) / len(codes)

    old, new = (statistics.median(column) for column in zip(*_alternating(write, 5), strict=True))
    print(f"writing a row         {1e9 * old:.0f} ns without, {1e9 * new:.0f} ns with checksums")


def commits(folder: Path) -> None:
    """Adding 64 rows and committing them, with and without checksums."""
    codes, names = np.zeros((64, 8), np.uint8), ["x"] * 64

    def commit(version: int) -> float:
        seconds = []
        with _writer(folder / f"commit-{version}.h5", version, 64 * 50) as writer:
            for number in range(1, 51):
                started = time.perf_counter()
                writer.write(codes, names, n_consumed=64 * number)
                writer.flush()
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    old, new = (statistics.median(column) for column in zip(*_alternating(commit, 7), strict=True))
    print(f"a commit, with fsync  {1e6 * old:.0f} us without, {1e6 * new:.0f} us with checksums")


def _alternating(work: Callable[[int], float], rounds: int) -> Iterator[tuple[float, float]]:
    for _ in range(rounds):
        yield work(2), work(layout.FORMAT_VERSION)


def _writer(path: Path, version: int, n_rows: int) -> BankWriter:
    """A writer of a new bank; format version 2 has no checksums."""
    header = BankHeader(64)
    defaults = layout.create_file.__defaults__
    layout.create_file.__defaults__ = (version,)
    try:
        return BankWriter.create(
            path, header, n_rows=n_rows, n_name_bytes=32 * n_rows, overwrite=True, commit_seconds=1
        )
    finally:
        layout.create_file.__defaults__ = defaults


def make_photographs(folder: Path) -> Path:
    """Two photographs of scikit-learn as JPEG files of 640 x 427."""
    folder.mkdir()
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.jpg", quality=90)
    return folder


def _image_set(folder: Path) -> ImageSet:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return ImageSet(folder.name, names, root=folder)


if __name__ == "__main__":
    main()
