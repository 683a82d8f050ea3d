"""Codes made by other programs: ``.npz`` archives and text files, read into a `CodeSet`.

An archive holds

===============  ============================================================================
``codes``        packed uint8 [n, ceil(bits / 8)], with ``bits``; or a matrix [n, bits] of 0
                 and 1, or of -1 and 1, of any numeric type
``bits``         the number of bits; only packed codes need it
``labels``       optional: whole numbers [n], class names [n], or a 0/1 matrix [n, n_classes]
``names``        optional: a name or path for each code
``class_names``  optional: a name for each label number
===============  ============================================================================

A text file has one code a line, ``0101...``. A labels file has one line a code: a whole number;
or 0 and 1 for each class (``0 1 1``, ``0,1,1`` or ``011``); or else a class name. Numbers are
written without leading zeros, so lines of 0 and 1 only, all of one length above 1, of which one
begins with 0, are taken for a matrix.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes, code_size, pack
from hashkit.codesets import CodeSet, check_labels
from hashkit.errors import CodesError

__all__ = ["load_codes", "load_labels", "pack_matrix"]


def load_codes(
    path: str | os.PathLike[str], labels_path: str | os.PathLike[str] | None = None
) -> CodeSet:
    """Read codes that another program wrote.

    Parameters
    ----------
    path
        An ``.npz`` archive, or a text file of one code a line.
    labels_path
        A file of one label a line, for codes that bring no labels.

    Raises
    ------
    CodesError
        If a file cannot be read, or does not say unambiguously what its codes and labels are.
    """
    path = Path(path)
    codes = _load_archive(path) if path.suffix == ".npz" else _load_text(path)
    if labels_path is None:
        return codes
    if codes.labels is not None:
        raise CodesError(f"{path} has labels of its own: leave out {labels_path}")
    labels, class_names = load_labels(labels_path)
    if len(labels) != len(codes):
        raise CodesError(
            f"expected {len(codes)} labels in {labels_path}, one for each code of {path}, "
            f"found {len(labels)}"
        )
    return CodeSet(codes.codes, codes.n_bits, labels, codes.names, class_names)


def load_labels(path: str | os.PathLike[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read a file of one label a line.

    Returns
    -------
    tuple
        (labels, class_names): int64 [n] or uint8 [n, n_classes], and the names by label where the
        lines are names, which are numbered in alphabetical order.

    Raises
    ------
    CodesError
        If the file cannot be read or its lines differ in kind.
    """
    path = Path(path)
    lines = [line.strip() for line in _lines(path)]
    if all(_is_number(line) for line in lines):
        return np.array([int(line) for line in lines], dtype=np.int64), ()
    cells = [line.replace(",", " ").split() for line in lines]
    if all(len(row) == 1 for row in cells):
        cells = [list(row[0]) for row in cells]
    if all(set(row) <= {"0", "1"} for row in cells):
        widths = sorted({len(row) for row in cells})
        if len(widths) > 1:
            raise CodesError(
                f"{path}: every line needs 0 or 1 for the same classes, "
                f"but lines have {widths[0]} to {widths[-1]} of them"
            )
        return np.array(cells).astype(np.uint8), ()
    return _numbered(lines)


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")


def _numbered(
    class_of_row: Sequence[str] | NDArray[np.str_],
) -> tuple[NDArray[Any], tuple[str, ...]]:
    class_names, labels = np.unique(np.asarray(class_of_row), return_inverse=True)
    return labels.astype(np.int64), tuple(class_names.tolist())


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise CodesError(f"{path}: expected an .npz, .h5 or text file, found other data") from None
    lines = text.rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise CodesError(f"{path}, line {number}: is empty; expected one line a code")
    return lines


def _load_text(path: Path) -> CodeSet:
    lines = [line.strip() for line in _lines(path)]
    if not lines:
        raise CodesError(f"{path}: has no codes")
    n_bits = len(lines[0])
    for number, line in enumerate(lines, start=1):
        if len(line) != n_bits or not set(line) <= {"0", "1"}:
            found = line if len(line) <= 40 else f"{line[:40]}..."
            raise CodesError(
                f"{path}, line {number}: expected {n_bits} digits 0 or 1, as in the first line, "
                f"found {found!r} ({len(line)} characters)"
            )
    digits = np.frombuffer("".join(lines).encode("ascii"), dtype=np.uint8)
    return CodeSet(pack(digits.reshape(len(lines), n_bits) - ord("0")), n_bits)


def _load_archive(path: Path) -> CodeSet:
    arrays = _read_arrays(path)
    if "codes" not in arrays:
        raise CodesError(
            f"{path}: expected an array named codes, found {', '.join(arrays) or 'no arrays'}"
        )
    try:
        codes, n_bits = _packed(arrays["codes"], _bits(arrays.get("bits")))
        class_names = tuple(_texts(arrays, "class_names"))
        labels = arrays.get("labels")
        if labels is not None:
            labels, class_names = _labels(labels, class_names)
            check_labels(labels, len(codes))
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
        raise CodesError(f"bits must be one whole number, not {bits.dtype} {list(bits.shape)}")
    return int(bits.reshape(()))


def _texts(arrays: dict[str, NDArray[Any]], name: str) -> list[str]:
    values = arrays.get(name)
    if values is None:
        return []
    if values.dtype.kind not in "US" or values.ndim != 1:
        raise CodesError(f"{name} must be text [n], not {values.dtype} {list(values.shape)}")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return [str(value) for value in values]


def _labels(
    labels: NDArray[Any], class_names: tuple[str, ...]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Labels as integers, and the class names that go with them."""
    if labels.dtype.kind in "US" and labels.ndim == 1:
        return _numbered(np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # a column of numbers, as MATLAB saves them
    if np.issubdtype(labels.dtype, np.floating) and np.all(labels == np.floor(labels)):
        labels = labels.astype(np.int64)
    return labels, class_names


def _packed(codes: NDArray[Any], n_bits: int | None) -> tuple[NDArray[np.uint8], int]:
    """Packed codes and their number of bits, of an array of either kind."""
    if codes.ndim != 2 or not codes.shape[1]:
        raise CodesError(f"codes must be a matrix with a row a code, not {list(codes.shape)}")
    width = codes.shape[1]
    # One byte a bit and one bit a byte: with 1 bit, a column of 0 and 1 can only be a matrix.
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
            f"codes are uint8 [n, {width}] without bits: if they are packed, save their number of "
            f"bits beside them, for example bits={8 * width}"
        )
    if n_bits is not None and n_bits != width:
        raise CodesError(f"bits is {n_bits}, but codes have {width} columns")
    return pack_matrix(codes), width


def pack_matrix(matrix: NDArray[Any]) -> NDArray[np.uint8]:
    """Packed codes of a matrix of 0 and 1, or of -1 and 1, of any numeric type.

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
        If it holds anything else: real values have to be thresholded by whoever knows how.
    """
    is_one, is_zero, is_minus = matrix == 1, matrix == 0, matrix == -1
    if np.all(is_one | is_zero) or np.all(is_one | is_minus):
        return pack(is_one)
    if np.all(is_one | is_zero | is_minus):
        raise CodesError(
            f"codes hold {np.count_nonzero(is_zero)} zeros among -1 and 1, which sign() leaves "
            "undecided: save codes > 0"
        )
    raise CodesError(
        f"codes are {matrix.dtype} values that are neither 0 and 1 nor -1 and 1: save packed bits, "
        "or threshold them first, for example (logits > 0)"
    )
