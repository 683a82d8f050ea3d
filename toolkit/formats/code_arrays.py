"""Codes in arrays of numbers: packed, or a matrix of 0 and 1, or of -1 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes, code_size, pack
from hashkit.errors import CodesError

__all__ = ["codes_of_array", "pack_matrix"]


def codes_of_array(codes: NDArray[Any], n_bits: int | None) -> tuple[NDArray[np.uint8], int]:
    """Packed codes and their number of bits, from packed codes or a matrix of bits.

    Parameters
    ----------
    codes
        uint8 [n, ceil(n_bits / 8)], packed; or a matrix [n, n_bits] of 0 and 1, or of -1 and 1, of
        any numeric type.
    n_bits
        Number of bits, if known; needed for packed codes.

    Raises
    ------
    CodesError
        If the array has no codes, or could be either packed codes or a matrix.
    """
    if codes.dtype.kind not in "biuf":
        raise CodesError(f"codes must be numbers, not {codes.dtype} {list(codes.shape)}")
    if codes.ndim != 2 or not codes.shape[1]:
        raise CodesError(f"codes must be a matrix with one row per code, not {list(codes.shape)}")
    width = codes.shape[1]
    # A matrix has one column per bit. With 1 bit, so do packed codes, whose values are 0 and 128.
    is_matrix = n_bits == width and (width > 1 or bool(np.all(codes <= 1)))
    if codes.dtype == np.uint8 and n_bits is not None and not is_matrix:
        if width != code_size(n_bits):
            raise CodesError(
                f"uint8 codes of {n_bits} bits must be packed, [n, {code_size(n_bits)}], or a 0/1 "
                f"matrix [n, {n_bits}], not {list(codes.shape)}"
            )
        return check_codes(codes, n_bits), n_bits
    # One column of 0 and 1 may be codes of 1 bit, or packed codes with few bits set.
    is_clear = bool(codes.size) and width > 1 and codes.max() <= 1
    if codes.dtype == np.uint8 and n_bits is None and not is_clear:
        raise CodesError(
            f"codes are uint8 [n, {width}] without bits: if they are packed, save their number of "
            f"bits beside them in an .npz file, bits={8 * width}, or open them with "
            f"`n_bits={8 * width}`"
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
