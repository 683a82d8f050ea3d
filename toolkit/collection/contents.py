"""Reads image files for their digests, ahead of use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.datasets.decoding import Fault
from hashkit.errors import ImageError
from hashkit.imaging.content import read_image_file

__all__ = ["FileFacts", "as_files", "codes_by_digest", "read_file_facts"]


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """Size, time and digest of an image file; see `hashkit.bank.image_files.ImageFiles`."""

    size: int
    mtime_ns: int
    digest: bytes


def read_file_facts(
    folder: Path,
    names: Sequence[str],
    *,
    n_workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[FileFacts | Fault]:
    """Read files of a folder in several threads; their facts or faults, in the order of ``names``.

    Parameters
    ----------
    progress
        Called with the number of files read so far, and of all files.
    """
    with ThreadPoolExecutor(n_workers, thread_name_prefix="hashkit-read") as pool:
        try:
            facts = pool.map(lambda name: _facts_of(folder, name), names)
            for done, one in enumerate(facts, start=1):
                yield one
                if progress is not None:
                    progress(done, len(names))
        finally:
            pool.shutdown(cancel_futures=True)


def as_files(facts: Sequence[FileFacts]) -> ImageFiles:
    """Facts as columns of a bank."""
    files = ImageFiles.unknown(len(facts))
    for row, one in enumerate(facts):
        files.set(row, one.size, one.mtime_ns, one.digest)
    return files


def codes_by_digest(
    codes: NDArray[np.uint8], files: ImageFiles, sizes: NDArray[np.uint64]
) -> dict[bytes, NDArray[np.uint8]]:
    """Codes by the digest of their file, for all files with one of ``sizes``.

    Parameters
    ----------
    codes, files
        Codes and files of the rows of a bank, deleted or not: a code does not depend on the name.
    """
    rows = np.flatnonzero(np.isin(files.sizes, sizes))
    rows = rows[files.digests[rows].any(axis=1)]
    codes_of_rows = np.asarray(codes)[rows]
    return {
        digest.tobytes(): code
        for digest, code in zip(np.asarray(files.digests[rows]), codes_of_rows, strict=True)
    }


def _facts_of(folder: Path, name: str) -> FileFacts | Fault:
    try:
        content = read_image_file(folder / name)
    except ImageError as error:
        return Fault(0, name, error.reason, str(error))
    return FileFacts(len(content.data), content.mtime_ns, content.digest())
