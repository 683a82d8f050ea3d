"""The HDF5 structure of a code bank: made whole, once, and read back; see docs/bank-format.md.

Everything that HDF5 has to do happens here. Rows are never written through HDF5, so its
metadata does not change while a bank is being written, and no kill can damage it.
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
"""The version that new banks have."""

VERSIONS: Final = (1, 2)
"""The versions that are read and gone on with; version 1 has no deleted rows."""

COMMIT_WORDS: Final = {1: 5, 2: 7}
"""Numbers of the commit record, by format version."""

# No dataset's start may let the commit record straddle a memory page or disk sector, as a kill
# between two pages would tear it. 64 also keeps every column aligned for its element type.
_ALIGNMENT: Final = 64


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a bank file holds, and where.

    Attributes
    ----------
    format_version
        One of `VERSIONS`.
    header, sources
        The header, and all image lists in the order in which they were added.
    n_rows, n_name_bytes
        Capacity: what the file has room for.
    offsets
        Byte position in the file of each dataset, by name.
    """

    format_version: int
    header: BankHeader
    sources: tuple[BankSource, ...]
    n_rows: int
    n_name_bytes: int
    offsets: Mapping[str, int]

    def deleted_offset(self, slot: int) -> int:
        """Byte position in the file of one of the two bitmaps of deleted rows."""
        return self.offsets["deleted"] + slot * bitmap_size(self.n_rows)


def bitmap_size(n_rows: int) -> int:
    """Bytes of a bitmap with one bit a row."""
    return (n_rows + 7) // 8


def row_widths(header: BankHeader) -> dict[str, int]:
    """Bytes a row takes in each dataset that has one entry a row."""
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
    """Write an empty bank file with room for ``n_rows`` rows; what is there is overwritten.

    The file is sparse where the file system allows it, and its commit record is left zero,
    which is not a valid one: the caller writes the rows and the commit before renaming it.
    """
    # The classic bounds keep the file readable by every HDF5 since 1.8.
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
    """Read the structure of an open bank file, without touching its rows.

    Raises
    ------
    BankError
        If it is not HDF5, not a bank, or damaged.
    BankMismatchError
        If it is a bank of a later format version.
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
    n_rows, n_name_bytes = max(n_rows, 1), max(n_name_bytes, 1)  # an empty dataset has no place
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
    # Room for rows may hold anything, but a row that comes must not find itself deleted.
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
            f"{path}: expected a bank of format version {FORMAT_VERSION} or less, found {version}: "
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
                f"{path}: {name} must be stored contiguously, without chunks or filters; "
                "the file was rewritten by another program"
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
