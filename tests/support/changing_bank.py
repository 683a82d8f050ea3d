"""A process that adds to a bank, deletes from it and replaces it, as fast as it can.

    python changing_bank.py BANK N_CHANGES

The name of each row begins with its code in hexadecimal, so a reader can check that the two
belong together.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import hashkit
from hashkit.bank.editor import BankEditor

N_BITS = 64


def names_of(codes: NDArray[np.uint8]) -> list[str]:
    """Names of rows with these codes."""
    return [f"{code.tobytes().hex()}.jpg" for code in codes]


def write_bank(path: Path, n_rows: int, rng: np.random.Generator) -> None:
    """Write a new bank beside ``path``, and put it in its place."""
    codes = rng.integers(0, 256, (n_rows, N_BITS // 8), np.uint8)
    new = path.with_name("new.h5")
    hashkit.save_codes(new, hashkit.CodeSet(codes, N_BITS, names=names_of(codes)), overwrite=True)
    new.replace(path)


def main() -> None:
    path, n_changes = Path(sys.argv[1]), int(sys.argv[2])
    os.fsync = lambda _: None  # type: ignore[assignment]
    rng = np.random.default_rng(5)
    for number in range(n_changes):
        codes = rng.integers(0, 256, (20, N_BITS // 8), np.uint8)
        if number % 10 == 9:
            write_bank(path, int(rng.integers(50, 3_000)), rng)
        elif number % 3:
            with BankEditor.open(path) as editor:
                gone = rng.integers(0, editor.n_rows, 30)
                editor.apply(codes, names_of(codes), deleted=gone)
        else:
            hashkit.add(path, codes, names_of(codes))


if __name__ == "__main__":
    main()
