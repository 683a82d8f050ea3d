"""Names of a bank's rows: encoding, lazy reading and the fingerprint of a list."""

from __future__ import annotations

import abc
import hashlib
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import BankError

__all__ = [
    "ListDigest",
    "Names",
    "NoNames",
    "StoredNames",
    "encode_names",
    "hash_names",
    "rows_named",
]

_BLOCK = 65_536
_FEW = 32  # with more names, decoding all rows once is faster than a search for each


def encode_names(names: Sequence[str]) -> tuple[bytes, NDArray[np.uint64]]:
    """UTF-8 text of all names back to back, and the offset where each name ends, uint64 [n].

    Raises
    ------
    BankError
        If a name contains NUL, or is not Unicode text (a file name that is not UTF-8).
    """
    try:
        encoded = [name.encode() for name in names]
    except UnicodeEncodeError as error:
        raise BankError(
            f"names must be UTF-8 text, found {error.object!r}: rename the file"
        ) from None
    text = b"".join(encoded)
    if b"\0" in text:
        bad = next(name for name in names if "\0" in name)
        raise BankError(f"names must not contain NUL, found {bad!r}")
    lengths = np.fromiter(map(len, encoded), dtype=np.uint64, count=len(encoded))
    return text, np.cumsum(lengths, dtype=np.uint64)


def hash_names(names: Sequence[str], labels: NDArray[Any] | None) -> str:
    """Fingerprint of an image list: hexadecimal SHA-256 of its names and labels, in order.

    Parameters
    ----------
    names
        One name per image.
    labels
        int [n], or multi-hot [n, n_classes], or None.

    Raises
    ------
    BankError
        If a name cannot be stored in a bank; checked here so that encoding does not start.
    """
    digest = ListDigest()
    for start in range(0, len(names), _BLOCK):
        digest.add_names(names[start : start + _BLOCK])
    digest.begin_labels(None if labels is None else np.shape(labels))
    if labels is not None:
        digest.add_labels(labels)
    return digest.hexdigest()


def rows_named(names: Sequence[str], wanted: Collection[str]) -> dict[str, list[int]]:
    """Rows of each wanted name, ascending; a name may have several rows, or none.

    Raises
    ------
    BankError
        If the names of a bank are damaged.
    """
    return names.rows_named(wanted) if isinstance(names, StoredNames) else _in_a_pass(names, wanted)


def _in_a_pass(names: Sequence[str], wanted: Collection[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {name: [] for name in wanted}
    for row, name in enumerate(names if rows else ()):
        if name in rows:
            rows[name].append(row)
    return rows


class ListDigest:
    """The fingerprint of `hash_names` of a list in blocks: all names, then all labels."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add_names(self, names: Sequence[str]) -> None:
        """Add the next names.

        Raises
        ------
        BankError
            If a name cannot be stored in a bank.
        """
        encode_names(names)
        self._digest.update("".join(f"{name}\0" for name in names).encode())

    def begin_labels(self, shape: Sequence[int] | None) -> None:
        """End the names; ``shape`` is that of the labels of all images, None without labels."""
        text = "none" if shape is None else f"labels {list(shape)}"
        self._digest.update(f"\0{text}".encode())

    def add_labels(self, labels: NDArray[Any]) -> None:
        """Add the next labels, int [n] or multi-hot [n, n_classes]."""
        values = np.ascontiguousarray(labels, dtype="<i8")
        self._digest.update(values.data if values.size else b"")

    def hexdigest(self) -> str:
        """The fingerprint, hexadecimal."""
        return self._digest.hexdigest()


class StoredNames(Sequence[str]):
    """Names that are read from a file on access; a slice gives a list."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._read(start, max(start, stop))
            return [self[row] for row in range(start, stop, step)]
        row = range(len(self))[index]
        return self._read(row, row + 1)[0]

    def rows_named(self, wanted: Collection[str]) -> dict[str, list[int]]:
        """See the function `rows_named`."""
        return _in_a_pass(self, wanted)

    @abc.abstractmethod
    def _read(self, start: int, stop: int) -> list[str]:
        """Names of the rows ``start`` to ``stop``; an empty list if they are equal."""


class Names(StoredNames):
    """Names of a bank's rows, decoded on access.

    Indexing by a slice gives a list; iteration decodes in blocks.

    Parameters
    ----------
    text
        uint8 [n_bytes], UTF-8 of all names back to back.
    ends
        uint64 [n], the offset in ``text`` where each name ends.
    bank
        Name of the bank in error messages.
    """

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.uint64], bank: str) -> None:
        self._text = text
        self._ends = ends
        self._bank = bank

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self._read(start, min(start + _BLOCK, len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} names of {self._bank}>"

    def rows_named(self, wanted: Collection[str]) -> dict[str, list[int]]:
        """See the function `rows_named`; rows of a few names are found without decoding others.

        Raises
        ------
        BankError
            If the names are damaged.
        """
        if len(wanted) > _FEW:
            return super().rows_named(wanted)
        return {name: self._rows_of(name) for name in wanted}

    def _rows_of(self, name: str) -> list[int]:
        wanted = name.encode(errors="surrogatepass")
        found: list[int] = []
        for start in range(0, len(self), _BLOCK):
            bounds = self._bounds(start, min(start + _BLOCK, len(self)))
            text = self._text[bounds[0] : bounds[-1]]
            starts = bounds[:-1] - bounds[0]
            rows = np.flatnonzero(np.diff(bounds) == len(wanted))
            for at in reversed(range(len(wanted))):  # the ends of names differ most
                if not rows.size:
                    break
                rows = rows[text[starts[rows] + at] == wanted[at]]
            found += (start + rows).tolist()
        return found

    def _bounds(self, start: int, stop: int) -> NDArray[np.int64]:
        """Where names of rows begin in the text, and where the last ends: int64 [n + 1]."""
        bounds = self._ends[max(start - 1, 0) : stop].astype(np.int64)
        if not start:
            bounds = np.insert(bounds, 0, 0)
        if bounds[0] < 0 or np.any(bounds[1:] < bounds[:-1]) or bounds[-1] > len(self._text):
            raise self._damaged(start, stop)
        return bounds

    def _damaged(self, start: int, stop: int) -> BankError:
        return BankError(
            f"{self._bank}: damaged: name_ends of rows {start} to {stop - 1} do not ascend"
        )

    def _offsets(self, start: int, stop: int) -> list[int]:
        """`_bounds` as a list; for one row, such as that of a hit, without the cost of arrays."""
        if stop - start > 1:
            return list(self._bounds(start, stop).tolist())
        begin, end = int(self._ends[start - 1]) if start else 0, int(self._ends[start])
        if not begin <= end <= len(self._text):
            raise self._damaged(start, stop)
        return [begin, end]

    def _read(self, start: int, stop: int) -> list[str]:
        if start == stop:
            return []
        offsets = self._offsets(start, stop)
        first = offsets[0]
        text = self._text[first : offsets[-1]].tobytes()
        try:
            return [text[a - first : b - first].decode() for a, b in itertools.pairwise(offsets)]
        except UnicodeDecodeError:
            raise BankError(
                f"{self._bank}: damaged: a name of rows {start} to {stop - 1} is not UTF-8"
            ) from None


class NoNames(StoredNames):
    """The names of a bank that stores none: empty texts.

    Parameters
    ----------
    n_rows
        Number of rows.
    bank
        Name of the bank in messages.
    """

    def __init__(self, n_rows: int, bank: str) -> None:
        self._n_rows = n_rows
        self._bank = bank

    def __len__(self) -> int:
        return self._n_rows

    def __iter__(self) -> Iterator[str]:
        return itertools.repeat("", self._n_rows)

    def __repr__(self) -> str:
        return f"<{self._n_rows} empty names of {self._bank}>"

    def _read(self, start: int, stop: int) -> list[str]:
        return [""] * (stop - start)
