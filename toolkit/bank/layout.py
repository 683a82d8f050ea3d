"""Creates and reads the HDF5 structure of a code bank; see docs/bank-format.md.

All use of HDF5 is in this file. Rows are never written through HDF5, so its metadata does not
change while a bank is being written, and a killed writer cannot damage it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

from hashkit._version import __version__
from hashkit.bank.header import BankHeader, BankSource, header_attributes, header_of
from hashkit.codes import code_size
from hashkit.errors import BankError, BankMismatchError, HashkitError

__all__ = [
    "COMMIT_WORDS",
    "FORMAT",
    "FORMAT_VERSION",
    "VERSIONS",
    "Layout",
    "bitmap_size",
    "create_file",
    "read_layout",
    "row_widths",
]

FORMAT: Final = "hashkit-bank"
FORMAT_VERSION: Final = 2
"""The version of new banks."""

VERSIONS: Final = (1, 2)
"""The versions that can be read and appended to; version 1 has no deleted rows."""

COMMIT_WORDS: Final = {1: 5, 2: 7}
"""Words (uint64) of the commit record, by format version."""

# The commit record must not straddle a memory page or a disk sector: a kill between two pages would
# leave half of it. 64 also keeps every column aligned for its element type.
_ALIGNMENT: Final = 64


@dataclasses.dataclass(frozen=True)
class Layout:
    """The header, capacity and byte positions of a bank file.

    Attributes
    ----------
    format_version
        One of `VERSIONS`.
    header, sources
        The header, and all image lists in the order in which they were added.
    n_rows, n_name_bytes
        Capacity of the file.
    offsets
        Byte position of each dataset in the file, by name.
    """

    format_version: int
    header: BankHeader
    sources: tuple[BankSource, ...]
    n_rows: int
    n_name_bytes: int
    offsets: Mapping[str, int]

    def deleted_offset(self, slot: int) -> int:
        """Byte position of one of the two bitmaps of deleted rows in the file."""
        return self.offsets["deleted"] + slot * bitmap_size(self.n_rows)


def bitmap_size(n_rows: int) -> int:
    """Bytes of a bitmap with one bit per row."""
    return (n_rows + 7) // 8


def row_widths(header: BankHeader) -> dict[str, int]:
    """Bytes per row of each dataset that has one entry per row."""
    widths = {"codes": code_size(header.n_bits), "name_ends": 8}
    if header.label_kind == "single":
        widths["labels"] = 4
    elif header.label_kind == "multi":
        widths["labels"] = len(header.class_names)
    return widths


def create_file(
    path: Path,
    header: BankHeader,
    sources: tuple[BankSource, ...],
    n_rows: int,
    n_name_bytes: int,
    format_version: int = FORMAT_VERSION,
) -> None:
    """Write an empty bank file with room for ``n_rows`` rows; an existing file is overwritten.

    The file is sparse where the file system allows it. Its commit record is zero, which is not
    valid: the caller writes the rows and the commit record before renaming the file.
    """
    # These bounds keep the file readable by every HDF5 since 1.8.
    with h5py.File(
        path,
        "w",
        libver=("v108", "v110"),
        alignment_threshold=1,
        alignment_interval=_ALIGNMENT,
    ) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = format_version
        file.attrs["created_by"] = f"hashkit {__version__}"
        file.attrs.update(header_attributes(header, sources))
        datasets = _datasets(header, n_rows, n_name_bytes, format_version)
        for name, (dtype, shape) in datasets.items():
            _create_dataset(file, name, dtype, shape)


def read_layout(file: BinaryIO, path: Path) -> Layout:
    """Read the structure of an open bank file, but not its rows.

    Raises
    ------
    BankError
        If the file is not HDF5, not a bank, or damaged.
    BankMismatchError
        If the bank has a later format version.
    """
    try:
        with h5py.File(file, "r") as hdf5:
            return _read_open(hdf5, path)
    except BankError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BankError(f"{path}: {_explain(error)}") from None


def _datasets(
    header: BankHeader, n_rows: int, n_name_bytes: int, format_version: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    n_rows, n_name_bytes = max(n_rows, 1), max(n_name_bytes, 1)  # an empty dataset has no offset
    datasets: dict[str, tuple[str, tuple[int, ...]]] = {
        "commit": ("<u8", (COMMIT_WORDS[format_version],)),
        "codes": ("|u1", (n_rows, code_size(header.n_bits))),
        "name_ends": ("<u8", (n_rows,)),
        "names": ("|u1", (n_name_bytes,)),
    }
    if header.label_kind == "single":
        datasets["labels"] = ("<i4", (n_rows,))
    elif header.label_kind == "multi":
        datasets["labels"] = ("|u1", (n_rows, len(header.class_names)))
    if format_version > 1:
        datasets["deleted"] = ("|u1", (2, bitmap_size(n_rows)))
    return datasets


def _create_dataset(file: h5py.File, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    # Unused room may hold anything, but a new row must not be marked as deleted.
    is_bitmap = name == "deleted"
    plan.set_fill_time(h5py.h5d.FILL_TIME_ALLOC if is_bitmap else h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # equal banks are equal files
    kind = h5py.h5t.py_create(np.dtype(dtype))
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), plan)


def _read_open(hdf5: h5py.File, path: Path) -> Layout:
    if hdf5.attrs.get("format") != FORMAT:
        raise BankError(f"{path}: an HDF5 file, but not a code bank (no format = {FORMAT!r})")
    version = int(hdf5.attrs["format_version"])
    if version not in VERSIONS:
        raise BankMismatchError(
            f"{path}: expected a bank of format version {FORMAT_VERSION} or less, found {version}; "
            "use the hashkit release that wrote it, or make the bank again"
        )
    try:
        header, sources = header_of(hdf5.attrs)
    except HashkitError as error:
        raise BankError(f"{path}: damaged: {error}") from None
    n_rows, n_name_bytes = len(hdf5["codes"]), len(hdf5["names"])
    offsets: dict[str, int] = {}
    for name, (dtype, shape) in _datasets(header, n_rows, n_name_bytes, version).items():
        dataset = hdf5[name]
        if dataset.dtype.str != dtype or dataset.shape != shape:
            raise BankError(
                f"{path}: expected {name} to be {dtype} {list(shape)}, "
                f"found {dataset.dtype.str} {list(dataset.shape)}"
            )
        offset = dataset.id.get_offset()
        if offset is None:
            raise BankError(
                f"{path}: expected {name} to be stored contiguously, found chunks or filters: "
                "another program rewrote the file"
            )
        offsets[name] = int(offset)
    return Layout(version, header, sources, n_rows, n_name_bytes, offsets)


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "signature not found" in text:
        return "expected a code bank, found a file that is not HDF5"
    if "truncated file" in text:
        return "the file is cut off; copy it again, or make the bank again with `overwrite=True`"
    return f"expected a code bank, found a damaged HDF5 file ({text})"
