"""Checks of an HDF5 file before HDF5 reads from it: links, and texts it would read for ever.

HDF5 stores texts of variable length, such as a bank's attributes, in *global heap collections*,
which have no checksum. One wrong size there makes HDF5 (seen with 2.0) step through a collection
without advancing, and nothing can stop it. The layout of a collection is described in the HDF5
File Format Specification, section III.E.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import h5py

from hashkit.errors import BankError
from hashkit.inputs.text import shown

__all__ = ["check_heaps", "check_links"]

_SIGNATURE: Final = b"GCOL"
_ALIGNMENT: Final = 8
_COLLECTION: Final = struct.Struct("<4sB3xQ")  # signature, version, bytes with this header
_OBJECT: Final = struct.Struct("<HH4xQ")  # index (0: free space), reference count, bytes
_MOST_BYTES: Final = 64 << 20
"""The most bytes searched for collections; those of a bank take a few kilobytes."""


def check_links(hdf5: h5py.File, path: Path) -> None:
    """Refuse datasets that are links: HDF5 would open the file that a link names.

    Raises
    ------
    BankError
        If there is one.
    """
    links = hdf5.id.links
    for name in hdf5:
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise BankError(
                f"{path}: expected all datasets in the file, found the link {shown(name)}: the "
                "file was not made by hashkit"
            )


def check_heaps(file: BinaryIO, hdf5: h5py.File, n_bytes: int, path: Path) -> None:
    """Check that HDF5 can reach the end of each global heap collection of a file.

    Parameters
    ----------
    file, hdf5
        The file, and the same as HDF5 has opened it.
    n_bytes
        Its size.

    Raises
    ------
    BankError
        If it cannot.
    """
    n_left = _MOST_BYTES
    for first, last in _outside_datasets(_extents(hdf5), n_bytes):
        size = min(last - first, n_left)
        n_left -= size
        file.seek(first)
        if not _are_sound(file.read(size), first):
            raise BankError(
                f"{path}: damaged: the texts of its attributes cannot be read; restore a copy of "
                "the bank, or make it again with `overwrite=True`"
            )


def _are_sound(data: bytes, offset: int) -> bool:
    """Whether the collections in a part of the file, from byte ``offset`` on, can be read."""
    place = data.find(_SIGNATURE)
    while place >= 0:
        step = 1
        if (offset + place) % _ALIGNMENT == 0 and place + _COLLECTION.size <= len(data):
            step = _sound_size(data, place)
            if not step:
                return False
        place = data.find(_SIGNATURE, place + step)
    return True


def _extents(hdf5: h5py.File) -> list[tuple[int, int]]:
    """First byte, and the byte after the last one, of each contiguous dataset."""
    found = []
    for name in hdf5:
        place = h5py.h5o.open(hdf5.id, name.encode())  # a third of the time of hdf5[name]
        offset = place.get_offset() if isinstance(place, h5py.h5d.DatasetID) else None
        if offset is not None:
            found.append((int(offset), int(offset) + int(place.get_storage_size())))
    return sorted(found)


def _outside_datasets(datasets: list[tuple[int, int]], n_bytes: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that belong to no dataset."""
    position = 0
    for first, last in datasets:
        if position < min(first, n_bytes):
            yield position, min(first, n_bytes)
        position = max(position, last)
    if position < n_bytes:
        yield position, n_bytes


def _sound_size(data: bytes, start: int) -> int:
    """Bytes of the collection at ``start``; 0 if its objects do not add up to them."""
    _, version, size = _COLLECTION.unpack_from(data, start)
    if version != 1 or size < _COLLECTION.size or start + size > len(data):
        return 0
    place, end = start + _COLLECTION.size, start + size
    while end - place >= _OBJECT.size:
        index, _, length = _OBJECT.unpack_from(data, place)
        # The size of free space includes its header; an object's is padded to 8 bytes.
        step = length if index == 0 else _OBJECT.size + length + -length % _ALIGNMENT
        if not _OBJECT.size <= step <= end - place:
            return 0
        place += step
    return int(size)
