"""Checks rows and encodes them as the bytes that a bank stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.commit import Commit
from hashkit.bank.header import BankHeader
from hashkit.bank.image_files import ImageFiles, encode_files
from hashkit.bank.names import encode_names
from hashkit.codes import check_codes
from hashkit.codesets import check_names
from hashkit.errors import BankError
from hashkit.inputs.masks import unmasked

__all__ = ["encode_rows"]


def encode_rows(
    header: BankHeader,
    before: Commit,
    codes: NDArray[np.uint8],
    names: Sequence[str] | None,
    labels: NDArray[Any] | None,
    files: ImageFiles | None = None,
) -> dict[str, bytes]:
    """Encode the rows that follow ``before`` as bytes, by dataset.

    Parameters
    ----------
    codes
        uint8 [n, ceil(n_bits / 8)].
    names
        One name per row; None for rows without names.
    labels
        int [n], multi-hot [n, n_classes], or None, according to ``header.label_kind``.
    files
        The rows' image files; not stored if the bank has no columns for them.

    Raises
    ------
    CodesError
        If the codes break the code convention.
    BankError
        If names or labels do not match the codes or the header.
    """
    codes = check_codes(codes, header.n_bits)
    columns = {"codes": codes.tobytes(), **_encode_names(header, before, names, len(codes))}
    if header.label_kind != "none":
        columns["labels"] = _encode_labels(header, labels, len(codes))
    elif labels is not None:
        raise BankError("expected no labels, because the bank has none, but found some")
    return columns | (encode_files(files, len(codes)) if header.has_files else {})


def _encode_names(
    header: BankHeader, before: Commit, names: Sequence[str] | None, n_rows: int
) -> dict[str, bytes]:
    names = [""] * n_rows if names is None else names
    check_names(names, "names", BankError)
    if len(names) != n_rows:
        raise BankError(f"expected one name per row, {n_rows}, found {len(names)}")
    text, ends = encode_names(names)
    if not header.has_names:
        if text:
            raise BankError("expected no names, because the bank has none, but found some")
        return {}
    ends = (ends + np.uint64(before.n_name_bytes)).astype("<u8")
    return {"names": text, "name_ends": ends.tobytes()}


def _encode_labels(header: BankHeader, labels: NDArray[Any] | None, n_rows: int) -> bytes:
    n_classes = len(header.class_names)
    single = header.label_kind == "single"
    shape = (n_rows,) if single else (n_rows, n_classes)
    values = None if labels is None else np.asarray(unmasked(labels, "labels", BankError))
    if values is None or values.shape != shape or values.dtype.kind not in "biu":
        found = "none" if values is None else f"{values.dtype} {list(values.shape)}"
        raise BankError(f"expected integer labels {list(shape)}, found {found}")
    low, high = (-1, n_classes - 1 if n_classes else 2**31 - 1) if single else (0, 1)
    if values.size and (values.min() < low or values.max() > high):
        raise BankError(
            f"expected labels from {low} to {high}, found {values.min()} to {values.max()}"
        )
    return values.astype("<i4" if single else np.uint8).tobytes()
