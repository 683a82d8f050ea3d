"""The HDF5 structure of a code bank: made whole, once, and read back; see docs/bank-format.md.

Everything that HDF5 has to do happens here. Rows are never written through HDF5, so its
metadata does not change while a bank is being written, and no kill can damage it.
"""

from __future__ import annotations

import dataclasses
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

import hashkit
from hashkit.bank_header import BankHeader, BankSource, header_attributes, header_of
from hashkit.codes import code_size
from hashkit.errors import BankError, BankMismatchError, HashkitError

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Commit",
    "Layout",
    "create_file",
    "read_commit",
    "read_layout",
    "row_widths",
]

FORMAT: Final = "hashkit-bank"
FORMAT_VERSION: Final = 1

# No dataset's start may let the commit record straddle a memory page or disk sector, as a kill
# between two pages would tear it. 64 also keeps every column aligned for its element type.
_ALIGNMENT: Final = 64
_COMMIT: Final = struct.Struct("<5Q")
_COMMIT_TRIES: Final = 50


@dataclasses.dataclass(frozen=True)
class Commit:
    """How much of a bank is valid: the one part of the file that is written more than once.

    Attributes
    ----------
    n_rows, n_name_bytes
        Rows, and bytes of names, that are valid.
    n_consumed
        Images taken from the (last) source list, those that gave no row included.
    is_complete
        Whether the job that writes the bank has finished.
    """

    n_rows: int = 0
    n_name_bytes: int = 0
    n_consumed: int = 0
    is_complete: bool = False

    def to_bytes(self) -> bytes:
        """The commit record: five little-endian uint64, the last a CRC-32 of the others."""
        values = (self.n_rows, self.n_name_bytes, self.n_consumed, int(self.is_complete))
        return _COMMIT.pack(*values, zlib.crc32(_COMMIT.pack(*values, 0)[:-8]))

    @classmethod
    def from_bytes(cls, record: bytes) -> Commit | None:
        """Commit of a record; None if it is cut off or its checksum does not fit."""
        if len(record) != _COMMIT.size:
            return None
        n_rows, n_name_bytes, n_consumed, complete, check = _COMMIT.unpack(record)
        if check != zlib.crc32(record[:-8]):
            return None
        return cls(n_rows, n_name_bytes, n_consumed, bool(complete))


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a bank file holds, and where.

    Attributes
    ----------
    header, sources
        The header, and all image lists in the order in which they were added.
    n_rows, n_name_bytes
        Capacity: what the file has room for.
    offsets
        Byte position in the file of each dataset, by name.
    """

    header: BankHeader
    sources: tuple[BankSource, ...]
    n_rows: int
    n_name_bytes: int
    offsets: Mapping[str, int]


def row_widths(header: BankHeader) -> dict[str, int]:
    """Bytes a row takes in each dataset that has one entry a row."""
    widths = {"codes": code_size(header.n_bits), "name_ends": 8}
    if header.label_kind == "single":
        widths["labels"] = 4
    elif header.label_kind == "multi":
        widths["labels"] = len(header.class_names)
    return widths


def create_file(
    path: Path, header: BankHeader, sources: tuple[BankSource, ...], n_rows: int, n_name_bytes: int
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
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["created_by"] = f"hashkit {hashkit.__version__}"
        file.attrs.update(header_attributes(header, sources))
        for name, (dtype, shape) in _datasets(header, n_rows, n_name_bytes).items():
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


def read_commit(file: BinaryIO, layout: Layout, path: Path) -> Commit:
    """Read the commit record of an open bank file, and check it against the file's capacity.

    Raises
    ------
    BankError
        If the record is damaged, or contradicts the rest of the file.
    """
    for _ in range(_COMMIT_TRIES):
        file.seek(layout.offsets["commit"])
        commit = Commit.from_bytes(file.read(_COMMIT.size))
        if commit is not None:
            _check_commit(file, layout, commit, path)
            return commit
        # A reader can meet the writer half way through the record.
        time.sleep(0.001)
    raise BankError(f"{path}: the commit record is damaged; make the bank again with --overwrite")


def _datasets(
    header: BankHeader, n_rows: int, n_name_bytes: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    n_rows, n_name_bytes = max(n_rows, 1), max(n_name_bytes, 1)  # an empty dataset has no place
    datasets: dict[str, tuple[str, tuple[int, ...]]] = {
        "commit": ("<u8", (_COMMIT.size // 8,)),
        "codes": ("|u1", (n_rows, code_size(header.n_bits))),
        "name_ends": ("<u8", (n_rows,)),
        "names": ("|u1", (n_name_bytes,)),
    }
    if header.label_kind == "single":
        datasets["labels"] = ("<i4", (n_rows,))
    elif header.label_kind == "multi":
        datasets["labels"] = ("|u1", (n_rows, len(header.class_names)))
    return datasets


def _create_dataset(file: h5py.File, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # equal banks are equal files
    kind = h5py.h5t.py_create(np.dtype(dtype))
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), plan)


def _read_open(hdf5: h5py.File, path: Path) -> Layout:
    if hdf5.attrs.get("format") != FORMAT:
        raise BankError(f"{path}: an HDF5 file, but not a code bank (no format = {FORMAT!r})")
    version = int(hdf5.attrs["format_version"])
    if version != FORMAT_VERSION:
        raise BankMismatchError(
            f"{path}: expected a bank of format version {FORMAT_VERSION}, found {version}: "
            "use the hashkit release that wrote it, or make the bank again"
        )
    try:
        header, sources = header_of(hdf5.attrs)
    except HashkitError as error:
        raise BankError(f"{path}: damaged: {error}") from None
    n_rows, n_name_bytes = len(hdf5["codes"]), len(hdf5["names"])
    offsets: dict[str, int] = {}
    for name, (dtype, shape) in _datasets(header, n_rows, n_name_bytes).items():
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
    return Layout(header, sources, n_rows, n_name_bytes, offsets)


def _check_commit(file: BinaryIO, layout: Layout, commit: Commit, path: Path) -> None:
    if commit.n_rows > layout.n_rows or commit.n_name_bytes > layout.n_name_bytes:
        raise BankError(
            f"{path}: damaged: {commit.n_rows} rows and {commit.n_name_bytes} bytes of names are "
            f"committed, with room for {layout.n_rows} and {layout.n_name_bytes}"
        )
    end = 0
    if commit.n_rows:
        file.seek(layout.offsets["name_ends"] + 8 * (commit.n_rows - 1))
        end = int.from_bytes(file.read(8), "little")
    if end != commit.n_name_bytes:
        raise BankError(
            f"{path}: damaged: the last name should end at byte {commit.n_name_bytes}, "
            f"but name_ends says {end}"
        )


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "signature not found" in text:
        return "expected a code bank, found a file that is not HDF5"
    if "truncated file" in text:
        return "the file is cut off; copy it again, or make the bank again with --overwrite"
    return f"expected a code bank, found a damaged HDF5 file ({text})"
