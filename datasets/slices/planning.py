"""Cuts an image list into slices, as files."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from hashkit.bank_set.plan_files import SLICES_FOLDER
from hashkit.datasets.slices.entries import blocks_of
from hashkit.datasets.slices.plan import PlannedSlice, slice_start
from hashkit.datasets.slices.spool import Spool
from hashkit.errors import DatasetError
from hashkit.files.writing import written_whole

__all__ = ["write_slices"]


def write_slices(folder: Path, spool: Spool, n_shards: int) -> tuple[PlannedSlice, ...]:
    """Write the slices of a list, each whole or not at all.

    Which image comes into which slice is a function of the list and of ``n_shards``, so that two
    processes that plan at once write equal files.

    Raises
    ------
    DatasetError
        If the list has no images.
    OSError
        If a slice cannot be written.
    """
    if not spool.n_images:
        raise DatasetError(f"{folder}: expected a list of images to cut into slices, found none")
    (folder / SLICES_FOLDER).mkdir(parents=True, exist_ok=True)
    lines = itertools.chain.from_iterable(spool.blocks())
    slices = []
    for number in range(n_shards):
        start, stop = (slice_start(spool.n_images, n_shards, at) for at in (number, number + 1))
        name = f"{SLICES_FOLDER}/{number:05}.jsonl"
        slices.append(PlannedSlice(name, start, stop, _write(folder / name, lines, stop - start)))
    next(lines, None)  # the digest of the list is known at its end
    return tuple(slices)


def _write(path: Path, lines: Iterator[bytes], n_lines: int) -> str:
    """Write the next lines; returns the SHA-256 of the file."""
    digest = hashlib.sha256()
    with written_whole(path) as part, part.open("wb") as file:
        for block in blocks_of(itertools.islice(lines, n_lines)):
            data = b"".join(block)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()
