"""Train on scikit-learn's digits, export the model, encode the images and search them.

    python examples/train_and_search.py [FOLDER]

FOLDER keeps the run; without it a temporary folder does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import hashkit
from hashkit.datasets.spec import open_spec
from hashkit.exporters.onnx_export import export_onnx
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.training.checkpoint import load_model
from hashkit.workflow import training
from hashkit.workflow.banks import run_bank
from hashkit.workflow.training_source import Material

DIGITS = DataSpec(data="digits")


def train(runs: Path) -> Run:
    """Train for two epochs, which takes some seconds; thirty, the default, give better codes."""
    trainer = training.begin(
        Material(DIGITS),
        {"lengths": "48", "epochs": 2.0},
        size=None,
        runs=runs,
        name="digits",
        device="auto",
        reading=training.Reading(),
    )
    trainer.fit()
    return trainer.run


def export(run: Run) -> Path:
    """Write the run's best checkpoint as an ONNX model, verified on training images."""
    images, split = open_spec(DIGITS)
    checkpoint = load_model(run.checkpoint_path())
    pixels = images.pixels[split.training[:64]]
    export_onnx(checkpoint.model, checkpoint.manifest, run.model_path, images=pixels)
    return run.model_path


def main(folder: Path) -> None:
    """Train, export, encode, search and evaluate."""
    run = train(folder)
    model = export(run)
    database = hashkit.Bank.open(run_bank(run, "database"))
    queries = hashkit.Bank.open(run_bank(run, "queries"))

    encoder = hashkit.Encoder.load(model, device="cpu")
    images, split = open_spec(DIGITS)
    image = images.pixels[split.queries[0]]  # a path or a Pillow image does as well
    ranking = hashkit.search(encoder.encode([image]), database, top_k=5)
    print(f"query {queries.names[0]}, a {images.labels[split.queries[0]]}")
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
