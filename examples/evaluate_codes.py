"""Evaluate codes that another program made, from a NumPy archive and from text files.

    python examples/evaluate_codes.py

The other program here is five lines of NumPy: signs of random projections of the digits' pixels.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import hashkit
from hashkit.datasets.sets import open_image_set

N_BITS = 32
N_QUERIES = 200


def write_codes(folder: Path) -> None:
    """Write queries and database as ``.npz`` archives, and as text with labels beside it."""
    digits = open_image_set("digits")
    pixels = digits.pixels[..., 0].reshape(len(digits), -1).astype(np.float64)
    planes = np.random.default_rng(0).normal(size=(pixels.shape[1], N_BITS))
    signs = np.where((pixels - pixels.mean(axis=0)) @ planes > 0, 1, -1).astype(np.int8)
    for name, rows in (("queries", slice(N_QUERIES)), ("database", slice(N_QUERIES, None))):
        np.savez(folder / f"{name}.npz", codes=signs[rows], labels=digits.labels[rows])
        lines = ["".join("1" if sign > 0 else "0" for sign in row) for row in signs[rows]]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        np.savetxt(folder / f"{name}-labels.txt", digits.labels[rows], fmt="%d")


def main(folder: Path) -> None:
    """Evaluate both kinds of files by two conventions."""
    write_codes(folder)
    for kind in ("npz", "txt"):
        queries, database = (
            hashkit.open_codes(
                folder / f"{name}.{kind}",
                folder / f"{name}-labels.txt" if kind == "txt" else None,
            )
            for name in ("queries", "database")
        )
        report = hashkit.evaluate(queries, database, convention="min", cutoffs=[100])
        print(
            f"{kind}: {report.bits} bits, {report.n_queries} queries, {report.n_database} images, "
            f"mAP {report.map:.4f} (ties: {report.map_worst:.4f} to {report.map_best:.4f}), "
            f"mAP@100 {report.map_at[100]:.4f} by the convention {report.convention}"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
