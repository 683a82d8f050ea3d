"""What the base install must do on every system: write a bank, search it, evaluate it.

python tests/smoke.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import hashkit


def main(folder: Path) -> None:
    """Search random codes, and compare with distances counted bit by bit."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (20_000, 6), dtype=np.uint8)
    labels = rng.integers(0, 10, len(codes))
    database = hashkit.CodeSet(codes, n_bits=48, labels=labels)
    hashkit.save_codes(folder / "bank.h5", database)
    queries = hashkit.CodeSet(codes[:50], n_bits=48, labels=labels[:50])
    with hashkit.Bank.open(folder / "bank.h5") as bank:
        ranking = hashkit.search(queries.codes, bank, top_k=10)
        report = hashkit.evaluate(queries, bank)
    bits = np.unpackbits(codes, axis=1)
    expected = (bits[:50, None] != bits[None]).sum(axis=2, dtype=np.int64)
    rows = np.argsort(expected, axis=1, kind="stable")[:, :10]
    if not np.array_equal(ranking.rows, rows):
        raise SystemExit("the search found other rows than it should")
    if not 0 < report.map < 1:
        raise SystemExit(f"mAP {report.map} is no share")
    print(f"{len(codes):,} codes searched and evaluated: mAP {report.map:.4f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
