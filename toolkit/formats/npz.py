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
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hashkit.codes import check_codes, code_size, pack
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.format import Format, WriteProgress, whole_file
from hashkit.formats.label_arrays import labels_of_array, texts_of_array
from hashkit.formats.rows import has_names, kept_codes, kept_labels, kept_names
from hashkit.meter import Meter

__all__ = ["NPZ", "pack_matrix"]


def _read(path: Path, n_bits: int | None) -> CodeSet:
    arrays = _read_arrays(path)
    if "codes" not in arrays:
        raise CodesError(
            f"{path}: expected an array named codes, found {', '.join(arrays) or 'no arrays'}"
        )
    try:
        stored_bits = _bits(arrays.get("bits"))
        if n_bits is not None and stored_bits not in (None, n_bits):
            raise CodesError(f"expected codes of {n_bits} bits, found bits = {stored_bits}")
        codes, n_bits = _packed(arrays["codes"], n_bits if stored_bits is None else stored_bits)
        class_names = tuple(_texts(arrays, "class_names"))
        labels = arrays.get("labels")
        if labels is not None:
            labels, class_names = labels_of_array(labels, class_names)
        return CodeSet(codes, n_bits, labels, _texts(arrays, "names"), class_names)
    except CodesError as error:
        raise CodesError(f"{path}: {error}") from None


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise CodesError(f"{path}: expected an .npz archive, found other data")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise CodesError(f"{path}: there is no such file") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CodesError(f"{path}: cannot be read as an .npz archive ({error})") from None
    except ValueError as error:
        raise CodesError(
            f"{path}: cannot be read without unpickling ({error}); save plain arrays with np.savez"
        ) from None


def _bits(bits: NDArray[Any] | None) -> int | None:
    if bits is None:
        return None
    if bits.size != 1 or not np.issubdtype(bits.dtype, np.integer):
        raise CodesError(f"bits must be one integer, not {bits.dtype} {list(bits.shape)}")
    return int(bits.reshape(()))


def _texts(arrays: dict[str, NDArray[Any]], name: str) -> list[str]:
    values = arrays.get(name)
    return [] if values is None else texts_of_array(values, name)


def _packed(codes: NDArray[Any], n_bits: int | None) -> tuple[NDArray[np.uint8], int]:
    """Packed codes and their number of bits, from packed codes or a matrix of bits."""
    if codes.ndim != 2 or not codes.shape[1]:
        raise CodesError(f"codes must be a matrix with one row per code, not {list(codes.shape)}")
    width = codes.shape[1]
    # A matrix has as many columns as bits. With 1 bit, so do packed codes, which are 0 and 128.
    is_matrix = n_bits == width and (width > 1 or bool(np.all(codes <= 1)))
    if codes.dtype == np.uint8 and n_bits is not None and not is_matrix:
        if width != code_size(n_bits):
            raise CodesError(
                f"uint8 codes of {n_bits} bits must be packed, [n, {code_size(n_bits)}], or a 0/1 "
                f"matrix [n, {n_bits}], not {list(codes.shape)}"
            )
        return check_codes(codes, n_bits), n_bits
    if codes.dtype == np.uint8 and n_bits is None and not (codes.size and codes.max() <= 1):
        raise CodesError(
            f"codes are uint8 [n, {width}] without bits: if they are packed, also save their "
            f"number of bits, for example bits={8 * width}"
        )
    if n_bits is not None and n_bits != width:
        raise CodesError(f"bits is {n_bits}, but codes have {width} columns")
    return pack_matrix(codes), width


def pack_matrix(matrix: NDArray[Any]) -> NDArray[np.uint8]:
    """Pack a matrix of 0 and 1, or of -1 and 1, of any numeric type.

    Parameters
    ----------
    matrix
        [n, n_bits].

    Returns
    -------
    NDArray
        uint8 [n, ceil(n_bits / 8)].

    Raises
    ------
    CodesError
        If it contains other values: the caller must threshold real values.
    """
    is_one, is_zero, is_minus = matrix == 1, matrix == 0, matrix == -1
    if np.all(is_one | is_zero) or np.all(is_one | is_minus):
        return pack(is_one)
    if np.all(is_one | is_zero | is_minus):
        raise CodesError(
            f"codes contain {np.count_nonzero(is_zero)} zeros among -1 and 1, as from sign(): "
            "save codes > 0"
        )
    raise CodesError(
        f"codes are {matrix.dtype} values that are neither 0 and 1 nor -1 and 1: save packed bits, "
        "or threshold them first, for example (logits > 0)"
    )


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    n_rows, labels, is_named = n_kept_rows(database), database.labels, has_names(database)
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
    """Write an array of the archive piece by piece, so that only one piece is in memory."""
    dtype = np.dtype(dtype)
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=dtype).tobytes())
            if meter is not None:
                meter.add(len(piece))


NPZ = Format("NumPy archive", _read, _write)
