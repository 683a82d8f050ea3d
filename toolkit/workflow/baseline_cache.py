"""Codes of a baseline, kept in a file with the fingerprint of their inputs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.errors import CodesError
from hashkit.files.writing import written_whole
from hashkit.inputs.arguments import real_number, whole_number
from hashkit.inputs.arrays import read_npz

__all__ = ["BaselineCodes", "read_codes", "write_codes"]


@dataclasses.dataclass(frozen=True, eq=False)
class BaselineCodes:
    """Codes of one baseline.

    Attributes
    ----------
    n_bits
        Bits of a code.
    query_codes, database_codes
        Packed codes, uint8 [n, ceil(n_bits / 8)].
    accuracy
        Fraction of the labelled queries whose class is predicted; None if it predicts no classes.
    """

    n_bits: int
    query_codes: NDArray[np.uint8]
    database_codes: NDArray[np.uint8]
    accuracy: float | None = None


_ARRAYS: Final = ("fingerprint", "n_bits", "query_codes", "database_codes", "accuracy")


def write_codes(path: Path, codes: BaselineCodes, fingerprint: str) -> None:
    """Write an ``.npz`` whole or not at all."""
    with written_whole(path) as part, part.open("wb") as file:
        np.savez(
            file,
            fingerprint=np.array(fingerprint),
            n_bits=np.array(codes.n_bits),
            query_codes=codes.query_codes,
            database_codes=codes.database_codes,
            accuracy=np.array([] if codes.accuracy is None else [codes.accuracy]),
        )


def read_codes(path: Path, fingerprint: str) -> BaselineCodes | None:
    """Codes that `write_codes` wrote with the same fingerprint; None if there are none.

    A damaged file counts as missing, because its codes can be computed again.
    """
    try:
        arrays, _ = read_npz(path, _ARRAYS, CodesError)
        if str(arrays["fingerprint"]) != fingerprint:
            return None
        n_bits = whole_number(arrays["n_bits"], "n_bits", 1, error=CodesError)
        (accuracy,) = arrays["accuracy"].tolist() or [None]
        return BaselineCodes(
            n_bits,
            check_codes(arrays["query_codes"], n_bits),
            check_codes(arrays["database_codes"], n_bits),
            None if accuracy is None else real_number(accuracy, "accuracy", error=CodesError),
        )
    except (CodesError, KeyError, TypeError, ValueError):
        return None
