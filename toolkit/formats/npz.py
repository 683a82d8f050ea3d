"""Reads and writes ``.npz`` archives of codes.

An archive contains

===============  ============================================================================
``codes``        packed uint8 [n, ceil(bits / 8)], with ``bits``; or a matrix [n, bits] of 0
                 and 1, or of -1 and 1, of any numeric type
``bits``         number of bits; only needed for packed codes
``labels``       optional: integers [n], class names [n], or a 0/1 matrix [n, n_classes]
``names``        optional: one name or path per code
``class_names``  optional: class names by label
===============  ============================================================================

Archives are written with packed codes. `numpy.load` reads them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.array_writing import write_array
from hashkit.formats.code_arrays import codes_of_array
from hashkit.formats.format import Format, WriteProgress, naming, whole_file
from hashkit.formats.label_arrays import labels_of_array, texts_of_array
from hashkit.formats.rows import first_labels, has_names, kept_codes, kept_labels, kept_names
from hashkit.inputs.arrays import read_npz
from hashkit.inputs.text import shown
from hashkit.meter import Meter

__all__ = ["NPZ"]

_ARRAYS: Final = ("codes", "bits", "labels", "names", "class_names")
_MAX_NAMED: Final = 5


def _read(path: Path, n_bits: int | None) -> CodeSet:
    arrays, names = read_npz(path, _ARRAYS, CodesError)
    if "codes" not in arrays:
        found = ", ".join(map(shown, names[:_MAX_NAMED])) or "no arrays"
        raise CodesError(f"{path}: expected an array named codes, found {found}")
    with naming(path):
        stored_bits = _bits(arrays.get("bits"))
        if n_bits is not None and stored_bits not in (None, n_bits):
            raise CodesError(f"expected codes of {n_bits} bits, found bits = {stored_bits}")
        codes, n_bits = codes_of_array(
            arrays["codes"], n_bits if stored_bits is None else stored_bits
        )
        class_names = tuple(_texts(arrays, "class_names"))
        labels = arrays.get("labels")
        if labels is not None:
            labels, class_names = labels_of_array(labels, class_names)
        return CodeSet(codes, n_bits, labels, _texts(arrays, "names"), class_names)


def _bits(bits: NDArray[Any] | None) -> int | None:
    if bits is None:
        return None
    if bits.size != 1 or not np.issubdtype(bits.dtype, np.integer):
        raise CodesError(f"bits must be one integer, not {bits.dtype} {list(bits.shape)}")
    return int(bits.reshape(()))


def _texts(arrays: dict[str, NDArray[Any]], name: str) -> list[str]:
    values = arrays.get(name)
    return [] if values is None else texts_of_array(values, name)


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    n_rows, labels, is_named = n_kept_rows(database), first_labels(database), has_names(database)
    meter = Meter(n_rows * (1 + (labels is not None) + is_named), progress)
    with whole_file(path, overwrite) as part:
        with zipfile.ZipFile(part, "w") as archive:
            shape = (n_rows, code_size(database.n_bits))
            _write_array(archive, "codes", "|u1", shape, kept_codes(database), meter)
            _write_small(archive, "bits", np.array(database.n_bits))
            if labels is not None:
                shape = (n_rows, *labels.shape[1:])
                pieces = (piece for piece in kept_labels(database) if piece is not None)
                _write_array(archive, "labels", labels.dtype, shape, pieces, meter)
        # Text takes four bytes per character, most of them 0; codes do not compress.
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            if is_named:
                longest = max(max(map(len, names), default=1) for names in kept_names(database))
                kind = f"<U{max(longest, 1)}"
                texts = (np.array(names, dtype=kind) for names in kept_names(database))
                _write_array(archive, "names", kind, (n_rows,), texts, meter)
            if database.class_names:
                class_names = np.array(list(database.class_names), dtype=np.str_)
                _write_small(archive, "class_names", class_names)


def _write_small(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    _write_array(archive, name, array.dtype, array.shape, [array], None)


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    pieces: Iterable[NDArray[Any]],
    meter: Meter | None,
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        write_array(file, dtype, shape, pieces, meter)


NPZ = Format("NumPy archive", _read, _write)
