"""Train on scikit-learn's digits, export the model, encode the images and search them.

    python examples/train_and_search.py [FOLDER]

FOLDER keeps the run; without it, a temporary folder is used.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import hashkit

DIGITS = {"protocol": "per-class"}


def main(folder: Path) -> None:
    """Train, export, encode, search and evaluate."""
    # Two epochs take some seconds; thirty, the default, give better codes.
    run = hashkit.train("digits", bits=48, epochs=2, name="digits", runs=folder, **DIGITS)
    model = hashkit.export(run)

    encoder = hashkit.Encoder.load(model, device="cpu")
    database = hashkit.encode("digits", encoder, run.bank_path, part="database", **DIGITS)
    queries = hashkit.encode("digits", encoder, run.queries_path, part="queries", **DIGITS)

    # A query's code comes from a bank here; encoder.encode(["img.png"]) makes one from a file.
    ranking = hashkit.search(queries.codes[:1], database, top_k=5)
    print(f"query {queries.names[0]}, a {queries.labels[0]}")
    for row, distance in zip(ranking.rows[0], ranking.distances[0], strict=True):
        print(f"  {database.names[row]}: {distance} bits away, a {database.labels[row]}")

    report = hashkit.evaluate(queries, database)
    print(f"{len(queries)} queries, {len(database)} images: mAP {report.map:.3f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
