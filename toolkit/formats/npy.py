"""Reads and writes codes as one array in a ``.npy`` file, without names, labels and bits.

The array is a matrix [n, bits] of 0 and 1, or of -1 and 1; or packed uint8 [n, ceil(bits / 8)], in
which all bits count unless their number is given. Packed codes are written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.array_writing import write_array
from hashkit.formats.code_arrays import codes_of_array
from hashkit.formats.format import Format, WriteProgress, naming, whole_file
from hashkit.formats.rows import kept_codes
from hashkit.inputs.arrays import read_npy
from hashkit.meter import Meter

__all__ = ["NPY"]


def _read(path: Path, n_bits: int | None) -> CodeSet:
    array = read_npy(path, CodesError)
    is_bytes = array.dtype == np.uint8 and array.ndim == 2
    if n_bits is None and is_bytes and not (array.size and array.max() <= 1):
        n_bits = 8 * array.shape[1]
    with naming(path):
        return CodeSet(*codes_of_array(array, n_bits))


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    n_rows = n_kept_rows(database)
    meter = Meter(n_rows, progress)
    shape = (n_rows, code_size(database.n_bits))
    with whole_file(path, overwrite) as part, part.open("wb") as file:
        write_array(file, "|u1", shape, kept_codes(database), meter)


NPY = Format("NumPy array", _read, _write, keeps_names=False, keeps_labels=False, keeps_bits=False)
