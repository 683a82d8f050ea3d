"""Reads the codes of Faiss's binary indexes from their files, without Faiss.

An index is a name of four characters, a header, and parts that depend on the kind; an index may
contain another. Integers are little-endian, and a vector is preceded by its length. The layouts are
those that Faiss's ``write_index_binary`` has written since binary indexes were added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.inputs.binary import BinaryReader
from hashkit.inputs.opening import open_file
from hashkit.inputs.text import shown

__all__ = ["IDENTIFIERS", "FaissCodes", "read_faiss"]

_MAX_DEPTH: Final = 8
"""Most levels of indexes inside indexes: ids over inverted lists over a quantizer are three."""


@dataclasses.dataclass(frozen=True)
class FaissCodes:
    """The codes of an index.

    Attributes
    ----------
    codes
        uint8 [n, size].
    ids
        int64 [n], ids of the rows; None if they are the row numbers.
    """

    codes: NDArray[np.uint8]
    ids: NDArray[np.int64] | None = None


@dataclasses.dataclass(frozen=True)
class _Header:
    """What every binary index begins with."""

    n_bits: int
    size: int
    n_rows: int
    depth: int


def read_faiss(path: Path) -> tuple[FaissCodes, int]:
    """Codes of a binary index and its number of bits.

    Rows are in the order of the file if this is how it numbers them, or if it has a table of ids;
    otherwise in the order of their ids.

    Raises
    ------
    CodesError
        If the file is not a binary index, is damaged, is of a kind that cannot be read, or does
        not say to which row each code belongs.
    """
    try:
        file = open_file(path)
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror})") from None
    with file:
        reader = BinaryReader(file, CodesError, str(path))
        return _index(reader, 0)


def _index(reader: BinaryReader, depth: int) -> tuple[FaissCodes, int]:
    name = reader.read(4, "a Faiss index").decode("latin-1")
    if name not in _READERS:
        raise reader.fault(_unknown(name))
    if depth > _MAX_DEPTH:
        raise reader.fault(f"expected at most {_MAX_DEPTH} nested indexes, found more")
    n_bits, size, n_rows, _, _ = reader.numbers("<iiq?i", "an index's header")
    if n_bits < 8 or n_bits % 8 or size != n_bits // 8 or n_rows < 0:
        raise reader.fault(
            f"expected a header with a multiple of 8 bits, found {n_bits} bits in {size} bytes, "
            f"{n_rows} rows: the file is damaged"
        )
    found = _READERS[name](reader, _Header(n_bits, size, n_rows, depth))
    if len(found.codes) != n_rows:
        raise reader.fault(
            f"expected {n_rows} codes by the header, found {len(found.codes)}: the file is damaged"
        )
    return found, n_bits


def _unknown(name: str) -> str:
    if name.startswith(("Ix", "Iw", "IH", "IN", "Im", "IS")):
        return (
            "expected a Faiss binary index, found an index of float vectors: the vectors must be "
            "binarised first, for example in an IndexBinaryFlat"
        )
    return (
        f"expected a Faiss binary index ({', '.join(_READERS)}), found a file that begins with "
        f"{shown(name)}: save the codes in an IndexBinaryFlat"
    )


def _by_id(codes: NDArray[np.uint8], ids: NDArray[np.int64]) -> FaissCodes:
    """Rows by ascending id; ids that are the row numbers are dropped."""
    order = np.argsort(ids, kind="stable")
    codes, ids = codes[order], ids[order]
    return FaissCodes(codes, None if np.array_equal(ids, np.arange(len(ids))) else ids)


def _inner(reader: BinaryReader, header: _Header, what: str) -> NDArray[np.uint8]:
    """Codes of an index inside another one, which refers to them by row number."""
    found, n_bits = _index(reader, header.depth + 1)
    if n_bits != header.n_bits:
        raise reader.fault(f"expected {header.n_bits} bits in {what}, found {n_bits}")
    if found.ids is not None:
        found = _by_id(found.codes, found.ids)
    if found.ids is not None:
        raise reader.fault(
            f"expected {what} to number its rows from 0, found other ids: rows were removed, or "
            "added with ids of their own, so the codes cannot be matched with the outer ids; "
            "build the index again"
        )
    return found.codes


def _flat(reader: BinaryReader, header: _Header) -> FaissCodes:
    return FaissCodes(_code_vector(reader, header, header.n_rows))


def _code_vector(reader: BinaryReader, header: _Header, n_rows: int) -> NDArray[np.uint8]:
    """A vector of ``n_rows`` codes."""
    (n_bytes,) = reader.numbers("<Q", "the length of a vector")
    if n_bytes != n_rows * header.size:
        raise reader.fault(
            f"expected {n_rows} codes of {header.size} bytes, found {n_bytes} bytes: the file is "
            "damaged"
        )
    codes: NDArray[np.uint8] = reader.array(np.uint8, n_bytes, "codes")
    return codes.reshape(n_rows, header.size)


def _skip_vector(reader: BinaryReader, item_bytes: int) -> None:
    (n_items,) = reader.numbers("<Q", "the length of a vector")
    reader.skip(n_items * item_bytes, "a vector")


def _id_vector(reader: BinaryReader, n_rows: int) -> NDArray[np.int64]:
    (n_ids,) = reader.numbers("<Q", "the number of ids")
    if n_ids != n_rows:
        raise reader.fault(f"expected an id for each of {n_rows} rows, found {n_ids}")
    return reader.array(np.int64, n_ids, "ids")


def _with_ids(reader: BinaryReader, header: _Header) -> FaissCodes:
    codes = _inner(reader, header, "the index below the ids")
    return FaissCodes(codes, _id_vector(reader, header.n_rows))


def _graph(reader: BinaryReader, header: _Header) -> FaissCodes:
    for item_bytes in (8, 4, 4, 8, 4):  # probabilities, neighbours per level, levels, offsets, all
        _skip_vector(reader, item_bytes)
    reader.skip(5 * 4, "the settings of a graph")
    return FaissCodes(_inner(reader, header, "the storage of the graph"))


def _cagra_graph(reader: BinaryReader, header: _Header) -> FaissCodes:
    reader.skip(1 + 1 + 4, "the settings of a graph")
    return _graph(reader, header)


def _multi_hash(reader: BinaryReader, header: _Header) -> FaissCodes:
    return FaissCodes(_inner(reader, header, "the storage"))  # the tables follow; unused


def _inverted(reader: BinaryReader, header: _Header) -> FaissCodes:
    n_lists, _ = reader.numbers("<QQ", "the number of lists")
    _index(reader, header.depth + 1)  # the quantizer: centres, not codes
    (map_kind,) = reader.numbers("<b", "the kind of direct map")
    _skip_vector(reader, 8)
    if map_kind == 2:
        _skip_vector(reader, 16)
    sizes = _list_sizes(reader, header, n_lists)
    if int(sizes.sum(dtype=object)) != header.n_rows:
        raise reader.fault(f"expected {header.n_rows} rows in all lists: the file is damaged")
    reader.expect(header.n_rows * (header.size + 8), "codes and ids")
    codes = np.empty((header.n_rows, header.size), dtype=np.uint8)
    ids = np.empty(header.n_rows, dtype=np.int64)
    first = 0
    for n_rows in sizes[sizes > 0].tolist():
        rows = slice(first, first + n_rows)
        codes[rows] = reader.array(np.uint8, n_rows * header.size, "codes").reshape(
            n_rows, header.size
        )
        ids[rows] = reader.array(np.int64, n_rows, "ids")
        first += n_rows
    return _by_id(codes, ids)


def _list_sizes(reader: BinaryReader, header: _Header, n_lists: int) -> NDArray[np.uint64]:
    name = reader.read(4, "inverted lists")
    if name == b"il00":
        return np.zeros(0, np.uint64)
    if name != b"ilar":
        raise reader.fault(
            f"expected inverted lists within the file, found {shown(name.decode('latin-1'))}: save "
            "the index with ArrayInvertedLists, or its codes in an IndexBinaryFlat"
        )
    n_stored, size = reader.numbers("<QQ", "inverted lists")
    if n_stored != n_lists or size != header.size:
        raise reader.fault(
            f"expected {n_lists} lists of codes of {header.size} bytes, found {n_stored} of {size}"
        )
    kind, n_numbers = reader.numbers("<4sQ", "the sizes of lists")
    sizes = reader.array("<u8", n_numbers, "the sizes of lists")
    if kind == b"sprs" and not n_numbers % 2:
        return sizes[1::2]
    if kind != b"full" or n_numbers != n_lists:
        raise reader.fault(f"expected the sizes of {n_lists} lists, found {n_numbers} numbers")
    return sizes


def _hash(reader: BinaryReader, header: _Header) -> FaissCodes:
    n_key_bits, _ = reader.numbers("<ii", "the size of a hash")
    n_lists, n_size_bits = reader.numbers("<Qi", "hash lists")
    (n_bytes,) = reader.numbers("<Q", "the sizes of hash lists")
    if n_key_bits < 0 or n_size_bits < 0 or 8 * n_bytes < (n_key_bits + n_size_bits) * n_lists:
        raise reader.fault("expected a size for each hash list, found too few bytes")
    reader.skip(n_bytes, "the sizes of hash lists")
    reader.expect(header.n_rows * (header.size + 8), "codes and ids")
    codes = np.empty((header.n_rows, header.size), dtype=np.uint8)
    ids = np.empty(header.n_rows, dtype=np.int64)
    first = 0
    for _ in range(n_lists):
        (n_rows,) = reader.numbers("<Q", "the size of a hash list")
        if n_rows > header.n_rows - first:
            raise reader.fault(f"expected {header.n_rows} rows in all lists, found more")
        rows = slice(first, first + n_rows)
        ids[rows] = reader.array(np.int64, n_rows, "ids")
        codes[rows] = _code_vector(reader, header, n_rows)
        first += n_rows
    return _by_id(codes[:first], ids[:first])


def _from_float(reader: BinaryReader, header: _Header) -> FaissCodes:
    name = reader.read(4, "an index of float vectors")
    if name not in (b"IxF2", b"IxFI", b"IxFl"):
        raise reader.fault(
            f"expected flat float vectors in an IndexBinaryFromFloat, found "
            f"{shown(name.decode('latin-1'))}: save the codes in an IndexBinaryFlat"
        )
    n_bits, n_rows, _, _, _, metric = reader.numbers("<iqqq?i", "a float index's header")
    if metric > 1:
        reader.skip(4, "the argument of the metric")
    (n_values,) = reader.numbers("<Q", "the length of a vector")
    if n_bits != header.n_bits or n_rows != header.n_rows or n_values != n_bits * n_rows:
        raise reader.fault(f"expected {header.n_rows} vectors of {header.n_bits} values")
    signs = reader.array("<f4", n_values, "vectors").reshape(n_rows, n_bits)
    if not np.isin(signs, (-1, 1)).all():
        raise reader.fault("expected vectors of -1 and 1, as IndexBinaryFromFloat makes them")
    return FaissCodes(np.packbits(signs > 0, axis=1, bitorder="little"))


_READERS: Final[Mapping[str, Callable[[BinaryReader, _Header], FaissCodes]]] = {
    "IBxF": _flat,
    "IBwF": _inverted,
    "IBHf": _graph,
    "IBHc": _cagra_graph,
    "IBMp": _with_ids,
    "IBM2": _with_ids,
    "IBHh": _hash,
    "IBHm": _multi_hash,
    "IBFf": _from_float,
}

IDENTIFIERS: Final = tuple(name.encode("ascii") for name in _READERS)
"""First four bytes of the files that `read_faiss` reads."""
