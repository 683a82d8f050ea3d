"""Faiss binary indexes: codes only, in whole bytes, so the file lacks the number of bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes, code_size
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError, MissingExtraError
from hashkit.formats.format import Format, WriteProgress, whole_file
from hashkit.formats.rows import kept_codes
from hashkit.meter import Meter

__all__ = ["FAISS"]

_INNER: Final = ("index", "storage")
"""Attributes that hold the wrapped index, in indexes with ids and in multi-index hashing."""


def _read(path: Path, n_bits: int | None) -> CodeSet:
    """Read codes from any index that can reconstruct them; ids become the names of the rows."""
    faiss = _faiss()
    if not path.is_file():
        raise CodesError(f"{path}: there is no such file")
    try:
        index = faiss.read_index_binary(str(path))
    except RuntimeError as error:
        raise CodesError(
            f"{path}: expected a Faiss binary index ({_reason(error)}); the vectors of a float "
            "index must be binarised first"
        ) from None
    bits = index.d if n_bits is None else n_bits
    if code_size(bits) * 8 != index.d:
        raise CodesError(
            f"{path}: expected codes of {bits} bits, {code_size(bits) * 8} with padding, "
            f"found an index of {index.d}"
        )
    try:
        return CodeSet(check_codes(_codes(faiss, index), bits), bits, names=_ids(faiss, index))
    except (CodesError, RuntimeError) as error:
        raise CodesError(f"{path}: {_reason(error)}") from None


def _codes(faiss: Any, index: Any) -> NDArray[np.uint8]:
    """Codes of an index in the order they were added, uint8 [n, d / 8]."""
    n_rows, size = index.ntotal, index.d // 8
    for name in _INNER:
        inner = getattr(index, name, None)
        if inner is not None and isinstance(index, _wrappers(faiss)):
            return _codes(faiss, faiss.downcast_IndexBinary(inner))
    if not n_rows:
        return np.empty((0, size), dtype=np.uint8)
    try:
        codes: NDArray[np.uint8] = index.reconstruct_n(0, n_rows)
    except RuntimeError:
        raise CodesError(
            f"expected an index that can reconstruct its codes, found {type(index).__name__}: "
            "save the codes in an IndexBinaryFlat"
        ) from None
    return codes


def _ids(faiss: Any, index: Any) -> list[str]:
    if not isinstance(index, faiss.IndexBinaryIDMap):
        return []
    return [str(number) for number in faiss.vector_to_array(index.id_map).tolist()]


def _wrappers(faiss: Any) -> tuple[Any, ...]:
    return faiss.IndexBinaryIDMap, faiss.IndexBinaryMultiHash


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    faiss = _faiss()
    meter = Meter(n_kept_rows(database), progress)
    index = faiss.IndexBinaryFlat(code_size(database.n_bits) * 8)
    with whole_file(path, overwrite) as part:
        for codes in kept_codes(database):
            index.add(np.ascontiguousarray(codes))
            meter.add(len(codes))
        try:
            faiss.write_index_binary(index, str(part))
        except RuntimeError as error:
            raise CodesError(f"{path}: cannot be written ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """Message of an exception, without the leading position in the sources of Faiss."""
    text = " ".join(str(error).split())
    return text.rpartition(".cpp:")[2].partition(": ")[2] if ".cpp:" in text else text


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss", "faiss", "a Faiss index") from None
    return faiss


FAISS = Format(
    "Faiss binary index",
    _read,
    _write,
    keeps_names=False,
    keeps_labels=False,
    keeps_bits=False,
)
