"""Creates and reads the HDF5 structure of a code bank; see docs/bank-format.md.

All use of HDF5 is in this file. Rows are never written through HDF5, so its metadata does not
change while a bank is being written, and a killed writer cannot damage it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

from hashkit._version import __version__
from hashkit.bank.attributes import (
    ATTRIBUTES,
    FORMAT,
    bank_attributes,
    header_of,
    identity_of,
    whole_attribute,
)
from hashkit.bank.hdf5_checks import check_heaps, check_links
from hashkit.bank.hdf5_creation import created_hdf5
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import FILE_DIGEST_BYTES
from hashkit.codes import code_size
from hashkit.errors import BankError, BankMismatchError, HashkitError
from hashkit.inputs.text import shown
from hashkit.messages.foreign_errors import foreign_message
from hashkit.rows_digest import BLOCK_ROWS

__all__ = [
    "COMMIT_WORDS",
    "FORMAT_VERSION",
    "VERSIONS",
    "Layout",
    "bitmap_size",
    "checksum_columns",
    "create_file",
    "new_identity",
    "read_layout",
    "row_widths",
]

FORMAT_VERSION: Final = 3
"""The version of new banks."""

VERSIONS: Final = (1, 2, 3)
"""The versions that can be read and appended to. Version 1 has no deleted rows, and only version 3
has checksums."""

COMMIT_WORDS: Final = {1: 5, 2: 7, 3: 8}
"""Words (uint64) of the commit record, by format version."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The header, capacity and byte positions of a bank file.

    Attributes
    ----------
    format_version
        One of `VERSIONS`.
    header, sources
        The header, and all image lists in the order in which they were added.
    identity
        32 hexadecimal digits; empty before format version 3.
    n_rows, n_name_bytes
        Capacity of the file.
    offsets
        Byte position of each dataset in the file, by name.
    """

    format_version: int
    header: BankHeader
    sources: tuple[BankSource, ...]
    identity: str
    n_rows: int
    n_name_bytes: int
    offsets: Mapping[str, int]

    @property
    def has_checksums(self) -> bool:
        """Whether the bank has checksums and an identity."""
        return self.format_version >= 3

    def deleted_offset(self, slot: int) -> int:
        """Byte position of one of the two bitmaps of deleted rows in the file."""
        return self.offsets["deleted"] + slot * bitmap_size(self.n_rows)


def bitmap_size(n_rows: int) -> int:
    """Bytes of a bitmap with one bit per row."""
    return (n_rows + 7) // 8


def new_identity() -> str:
    """A random identity for a new bank, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def row_widths(header: BankHeader) -> dict[str, int]:
    """Bytes per row of each dataset that has one entry per row."""
    shapes = _row_datasets(header)
    return {
        name: np.dtype(dtype).itemsize * math.prod(rest) for name, (dtype, rest) in shapes.items()
    }


def checksum_columns(header: BankHeader) -> tuple[str, ...]:
    """The datasets that have checksums from format version 3 on, in the order of the file."""
    names = tuple(_row_datasets(header))
    return (*names, "names") if header.has_names else names


def create_file(
    path: Path,
    header: BankHeader,
    sources: tuple[BankSource, ...],
    n_rows: int,
    n_name_bytes: int,
    identity: str,
    format_version: int = FORMAT_VERSION,
) -> None:
    """Write an empty bank file with room for ``n_rows`` rows; an existing file is overwritten.

    The file is sparse where the file system allows it. Its commit record is zero, which is not
    valid: the caller writes the rows and the commit record before renaming the file.
    """
    with created_hdf5(path) as file:
        file.attrs["created_by"] = f"hashkit {__version__}"
        file.attrs.update(
            bank_attributes(header, sources, format_version, identity, checksum_columns(header))
        )
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
            n_bytes = os.fstat(file.fileno()).st_size
            check_links(hdf5, path)
            check_heaps(file, hdf5, n_bytes, path)
            return _read_open(hdf5, path, n_bytes)
    except BankError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise BankError(f"{path}: {_explain(error)}") from None


def _row_datasets(header: BankHeader) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of one row of each dataset that has one entry per row."""
    datasets: dict[str, tuple[str, tuple[int, ...]]] = {
        "codes": ("|u1", (code_size(header.n_bits),))
    }
    if header.has_names:
        datasets["name_ends"] = ("<u8", ())
    if header.label_kind == "single":
        datasets["labels"] = ("<i4", ())
    elif header.label_kind == "multi":
        datasets["labels"] = ("|u1", (len(header.class_names),))
    if header.has_files:
        datasets |= {
            "file_size": ("<u8", ()),
            "file_mtime_ns": ("<i8", ()),
            "file_digest": ("|u1", (FILE_DIGEST_BYTES,)),
        }
    return datasets


def _datasets(
    header: BankHeader, n_rows: int, n_name_bytes: int, format_version: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    n_rows, n_name_bytes = max(n_rows, 1), max(n_name_bytes, 1)  # an empty dataset has no offset
    datasets: dict[str, tuple[str, tuple[int, ...]]] = {
        "commit": ("<u8", (COMMIT_WORDS[format_version],))
    }
    # What a commit writes comes first, where space is allocated when the file is created.
    if format_version > 2:
        n_columns = len(checksum_columns(header))
        datasets["deleted_checksums"] = ("<u4", (2,))
        datasets["tail_checksums"] = ("<u4", (2, n_columns))
        datasets["checksums"] = ("<u4", (-(-n_rows // BLOCK_ROWS), n_columns))
    if format_version > 1:
        datasets["deleted"] = ("|u1", (2, bitmap_size(n_rows)))
    for name, (dtype, rest) in _row_datasets(header).items():
        datasets[name] = (dtype, (n_rows, *rest))
        if name == "name_ends":
            datasets["names"] = ("|u1", (n_name_bytes,))
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


def _read_open(hdf5: h5py.File, path: Path, n_bytes: int) -> Layout:
    stored = hdf5.attrs
    attributes = {name: stored[name] for name in stored if name in ATTRIBUTES}
    if attributes.get("format") != FORMAT:
        raise BankError(f"{path}: an HDF5 file, but not a code bank (no format = {FORMAT!r})")
    with _damage(path):
        version = whole_attribute(attributes, "format_version")
    if version not in VERSIONS:
        raise BankMismatchError(
            f"{path}: expected a bank of format version {FORMAT_VERSION} or less, found {version}; "
            "use the hashkit release that wrote it, or make the bank again"
        )
    with _damage(path):
        identity = identity_of(attributes, version)
        header, sources = header_of(attributes)
    columns = json.dumps(checksum_columns(header))
    if version > 2 and attributes["checksum_columns"] != columns:
        raise BankError(
            f"{path}: damaged: expected the checksums of {columns}, "
            f"found those of {shown(attributes['checksum_columns'])}"
        )
    n_rows = len(hdf5["codes"])
    n_name_bytes = len(hdf5["names"]) if header.has_names else 0
    offsets: dict[str, int] = {}
    for name, (dtype, shape) in _datasets(header, n_rows, n_name_bytes, version).items():
        dataset = h5py.h5o.open(hdf5.id, name.encode())  # a third of the time of hdf5[name]
        if dataset.dtype.str != dtype or dataset.shape != shape:
            raise BankError(
                f"{path}: expected {name} to be {dtype} {list(shape)}, "
                f"found {dataset.dtype.str} {list(dataset.shape)}"
            )
        offsets[name] = _offset_of(dataset, name, path, n_bytes)
    return Layout(version, header, sources, identity, n_rows, n_name_bytes, offsets)


def _offset_of(dataset: h5py.h5d.DatasetID, name: str, path: Path, n_bytes: int) -> int:
    """Byte of a file of ``n_bytes`` where a dataset begins."""
    offset = dataset.get_offset()
    if offset is None:
        raise BankError(
            f"{path}: expected {name} to be stored contiguously, found chunks or filters: "
            "another program rewrote the file"
        )
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if not 0 <= offset <= n_bytes - size:
        raise BankError(
            f"{path}: damaged: expected {name} within the {n_bytes} bytes of the file, "
            f"found it from byte {offset} to {offset + size}"
        )
    return int(offset)


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except HashkitError as error:
        raise BankError(f"{path}: damaged: {error}") from None


def _explain(error: Exception) -> str:
    text = foreign_message(error)
    if "signature not found" in text:
        return "expected a code bank, found a file that is not HDF5"
    if "truncated file" in text:
        return "the file is cut off; copy it again, or make the bank again with `overwrite=True`"
    return f"expected a code bank, found a damaged HDF5 file ({text})"
