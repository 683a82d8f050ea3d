"""The list of images that encoding skipped, stored next to the bank."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from hashkit.datasets.decoding import Fault, write_fault_report
from hashkit.errors import BankError
from hashkit.files.writing import append_whole
from hashkit.inputs.json_lines import read_json_lines

__all__ = ["FaultLog", "SkippedImage", "faults_path", "read_faults", "write_faults"]


@dataclasses.dataclass(frozen=True)
class SkippedImage(Fault):
    """An image that has no row in a bank because it cannot be used.

    Attributes
    ----------
    source
        Index of the bank's image list that contains it, from 0; ``row`` counts within that list.
    """

    source: int = 0


def faults_path(bank_path: str | os.PathLike[str]) -> Path:
    """Path of the list of a bank's skipped images: one JSON object per line."""
    path = Path(bank_path)
    return path.with_name(path.name + ".faults.jsonl")


def read_faults(bank_path: str | os.PathLike[str]) -> list[SkippedImage]:
    """Images that were skipped when a bank was made, in order; empty if it has no such file.

    An incomplete last line, left by a killed process, is ignored.

    Raises
    ------
    BankError
        If the file cannot be read, or any other line is not a skipped image.
    """
    return read_json_lines(
        faults_path(bank_path),
        SkippedImage,
        BankError,
        what="a list of skipped images",
        remedy="delete the file, or make the bank again with `overwrite=True`",
    )


def write_faults(bank_path: str | os.PathLike[str], faults: Sequence[Fault]) -> None:
    """Write the list of a bank whose image list grows: all images that cannot be used now.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = faults_path(bank_path)
    skipped = [SkippedImage(at, one.name, one.reason, one.message) for at, one in enumerate(faults)]
    if not faults:
        path.unlink(missing_ok=True)
    elif skipped != _listed(bank_path):
        write_fault_report(skipped, path)


def _listed(bank_path: str | os.PathLike[str]) -> list[SkippedImage] | None:
    """The list as it is; None if it is damaged."""
    try:
        return read_faults(bank_path)
    except BankError:
        return None


class FaultLog:
    """Appends to the list of a bank's skipped images.

    A fault is written before the bank commits the images around it. After a kill the list may
    therefore be ahead of the bank, but never behind. Entries ahead of the bank are removed here,
    because their images are read again.

    Parameters
    ----------
    bank_path
        The bank; the list is next to it, and exists only if an image was skipped.
    source
        Index of the bank's image list that is encoded, from 0.
    n_consumed
        Images of that list that the bank has committed.
    """

    def __init__(self, bank_path: str | os.PathLike[str], source: int, n_consumed: int) -> None:
        self.path = faults_path(bank_path)
        self._source = source
        listed = read_faults(bank_path)
        kept = [f for f in listed if (f.source, f.row) < (source, n_consumed)]
        self.n_skipped = sum(fault.source == source for fault in kept)
        if self.path.exists():
            self._rewrite(kept)

    def add(self, faults: Sequence[Fault]) -> None:
        """Append faults of the image list; they are in the file when this returns."""
        if not faults:
            return
        skipped = [SkippedImage(**vars(fault), source=self._source) for fault in faults]
        lines = "".join(image.to_json() + "\n" for image in skipped)
        append_whole(self.path, lines.encode(), is_synced=True)
        self.n_skipped += len(faults)

    def _rewrite(self, faults: Sequence[SkippedImage]) -> None:
        if not faults:
            self.path.unlink()
            return
        write_fault_report(faults, self.path)
