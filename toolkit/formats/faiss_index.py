"""Faiss binary indexes: codes only, in whole bytes, so the file lacks the number of bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hashkit.codes import check_codes, code_size
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError, MissingExtraError
from hashkit.formats.faiss_reading import read_faiss
from hashkit.formats.format import Format, WriteProgress, naming, whole_file
from hashkit.formats.rows import kept_codes
from hashkit.messages.foreign_errors import foreign_message
from hashkit.meter import Meter

__all__ = ["FAISS"]


def _read(path: Path, n_bits: int | None) -> CodeSet:
    """Read the codes of any binary index; if it has its own ids, they become the rows' names."""
    found, width = read_faiss(path)
    bits = width if n_bits is None else n_bits
    if code_size(bits) * 8 != width:
        raise CodesError(
            f"{path}: expected codes of {bits} bits, {code_size(bits) * 8} with padding, "
            f"found an index of {width}"
        )
    names = [] if found.ids is None else [str(number) for number in found.ids.tolist()]
    with naming(path):
        return CodeSet(check_codes(found.codes, bits), bits, names=names)


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
    """Message of an exception, without the position in Faiss's source at its start."""
    text = foreign_message(error)
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
