"""The code convention: threshold, bit order, packing.

A code of ``n_bits`` bits takes ``ceil(n_bits / 8)`` bytes. Bit ``j`` is 1 if logit ``j`` is greater
than 0 (a logit of exactly 0, or NaN, gives 0). It is in byte ``j // 8``, most significant bit
first; the unused low bits of the last byte are 0. The convention is defined only here: tests check
the ONNX graph, the banks and the search against it.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.inputs.arguments import argument_shown, whole_number
from hashkit.inputs.masks import unmasked
from hashkit.inputs.sizes import MAX_BITS
from hashkit.inputs.text import shown

__all__ = [
    "binarize",
    "check_code_shape",
    "check_codes",
    "code_size",
    "from_hex",
    "pack",
    "to_hex",
    "unpack",
]

_UINT8: Final = np.dtype(np.uint8)  # comparing with the type takes twice as long


def code_size(n_bits: int) -> int:
    """Number of bytes of a code of ``n_bits`` bits.

    Raises
    ------
    CodesError
        If ``n_bits`` is not a whole number from 1 to 65,536.
    """
    return (whole_number(n_bits, "n_bits", 1, MAX_BITS, CodesError) + 7) // 8


def binarize(logits: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Packed codes of real-valued logits: a bit is 1 where the logit is greater than 0.

    Parameters
    ----------
    logits
        float [n, n_bits], before any sigmoid.

    Returns
    -------
    NDArray
        uint8 [n, ceil(n_bits / 8)].
    """
    return pack(np.asarray(unmasked(logits, "logits")) > 0)


def pack(bits: NDArray[Any]) -> NDArray[np.uint8]:
    """Pack a matrix of bits into codes.

    Parameters
    ----------
    bits
        bool or integer [n, n_bits], values 0 and 1.

    Returns
    -------
    NDArray
        uint8 [n, ceil(n_bits / 8)].

    Raises
    ------
    CodesError
        If ``bits`` is not a matrix of 0 and 1 with at least one column.
    """
    bits = np.asarray(unmasked(bits, "bits"))
    if bits.ndim != 2:
        raise CodesError(f"bits must be a matrix [n, n_bits], not {list(bits.shape)}")
    code_size(bits.shape[1])
    if bits.dtype != np.bool_:
        if not np.issubdtype(bits.dtype, np.integer):
            raise CodesError(f"bits must be boolean or integer, not {bits.dtype}")
        if bits.size and (bits.min() < 0 or bits.max() > 1):
            raise CodesError(f"bits must be 0 or 1, found {bits.min()} to {bits.max()}")
    return np.packbits(bits, axis=1)


def unpack(codes: NDArray[np.uint8], n_bits: int) -> NDArray[np.uint8]:
    """Unpack codes, uint8 [n, ceil(n_bits / 8)], to bits of 0 and 1, uint8 [n, n_bits]."""
    return np.unpackbits(check_codes(codes, n_bits), axis=1, count=n_bits)


def code_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Packed codes, uint8 [n, size], as words, uint64 [n, ceil(size / 8)], padded with zeros.

    Two rows are equal if and only if their codes are; the byte order is the machine's.
    """
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)


def code_keys(codes: NDArray[np.uint8]) -> NDArray[np.void]:
    """One value per row, [n], to sort codes by and to find equal ones; see `code_words`."""
    words = code_words(codes)
    return words.view([("", np.uint64)] * words.shape[1]).reshape(-1)


def check_codes(codes: NDArray[Any], n_bits: int, what: str = "codes") -> NDArray[np.uint8]:
    """Return ``codes`` if they follow the convention for ``n_bits`` bits.

    Parameters
    ----------
    codes
        Expected: uint8 [n, ceil(n_bits / 8)] with zero padding.
    what
        Name of the codes in the error message.

    Raises
    ------
    CodesError
        If dtype, shape or padding differs.
    """
    codes = check_code_shape(codes, n_bits, what)
    padding = -n_bits % 8
    if padding and np.any(codes[:, -1] & ((1 << padding) - 1)):
        raise CodesError(
            f"{what} of {n_bits} bits must have zeros in the last {padding} bits of each row, but "
            "some are set: check the number of bits and the bit order"
        )
    return codes


def check_code_shape(codes: NDArray[Any], n_bits: int, what: str = "codes") -> NDArray[np.uint8]:
    """Like `check_codes`, but without reading the padding."""
    size = code_size(n_bits)
    if type(codes) is not np.ndarray:
        given = unmasked(codes, what)
        try:
            codes = np.asanyarray(given)
        except (ValueError, TypeError, OverflowError):
            raise _refused(what, n_bits, argument_shown(given)) from None
        if codes.dtype == np.object_:
            found = f"{argument_shown(given)}{_how_to_get(given)}"
            raise _refused(what, n_bits, found)
    if codes.dtype != _UINT8 or codes.ndim != 2 or codes.shape[1] != size:
        found = f"{codes.dtype} {list(codes.shape)}"
        raise _refused(what, n_bits, f"{found}{_how_to_make(codes, n_bits, size)}")
    return codes


def _refused(what: str, n_bits: int, found: str) -> CodesError:
    expected = f"{what} of {n_bits} bits must be uint8 [n, {code_size(n_bits)}]"
    return CodesError(f"{expected}, not {found}")


def _how_to_get(given: object) -> str:
    """How to get codes from an object that was given in their place; empty if unknown."""
    if hasattr(given, "n_bits"):
        return ": its codes are its attribute `codes`"
    if isinstance(given, os.PathLike):
        return ": `Encoder.encode` makes codes of images"
    return ""


def _how_to_make(codes: NDArray[Any], n_bits: int, size: int) -> str:
    """How to make packed codes from an array of another shape or type; empty if unknown."""
    if codes.ndim == 1 and len(codes) == size:
        return ": one code is an array of one row, `codes[None]`"
    if codes.ndim == 2 and codes.shape[1] == n_bits:
        return ": `hashkit.codes.pack` packs 0 and 1, `hashkit.codes.binarize` signs"
    return ""


def to_hex(code: NDArray[np.uint8]) -> str:
    """Hexadecimal text of one packed code, uint8 [ceil(n_bits / 8)]."""
    return np.asarray(code, dtype=np.uint8).tobytes().hex()


def from_hex(text: str, n_bits: int) -> NDArray[np.uint8]:
    """Packed code, uint8 [ceil(n_bits / 8)], from the text of `to_hex`.

    Raises
    ------
    CodesError
        If the text is not hexadecimal, or has the wrong length or padding.
    """
    try:
        code = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    except ValueError:
        raise CodesError(f"a code must be hexadecimal digits, not {shown(text)}") from None
    if len(code) != code_size(n_bits):
        raise CodesError(
            f"a code of {n_bits} bits must have {2 * code_size(n_bits)} hexadecimal digits, "
            f"not {2 * len(code)}"
        )
    row: NDArray[np.uint8] = check_codes(code[None, :], n_bits, what="a hexadecimal code")[0]
    return row
