"""Evaluates ITQ on the features of a run's network and prints the result as JSON.

    python tests/results/itq.py runs/unseen/x > runs/unseen/x/feature-baselines.json

The features are the input of the run's head, averaged over the grid, and over an image and its
mirror image if the model does so. ITQ is fitted to the run's training images, without their labels,
and evaluated on the run's queries and database.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashkit.cli.console import TERMINAL
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.spec import open_spec
from hashkit.evaluation.evaluator import evaluate
from hashkit.runs.run import Run
from hashkit.training.checkpoint import TrainedModel, load_model, weights_sha256
from hashkit.workflow.baseline_features import Block, pixel_blocks
from hashkit.workflow.baselines import baseline_reports
from hashkit.workflow.reporter import Reporter


class NetworkFeatures:
    """Features of a network for images; see `hashkit.workflow.baseline_features`."""

    name = "the same features"

    def __init__(self, images: ImageSet, loaded: TrainedModel) -> None:
        self._images = images
        self._model = loaded.model.eval()
        self._size, self._resize = loaded.manifest.size, loaded.manifest.resize

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the weights."""
        return f"features of {weights_sha256(self._model.state_dict())}"

    @property
    def n_dimensions(self) -> int:
        """Number of features per image."""
        values = self._features(np.zeros((1, *self._size, 3), dtype=np.uint8))
        return int(values.shape[1])

    def prepare(self, reporter: Reporter) -> None:
        """Do nothing: features are computed on demand."""

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[Block]:
        """Features of rows, without unusable images."""
        for block_rows, pixels in pixel_blocks(self._images, rows, self._size, self._resize):
            yield block_rows, self._features(pixels)

    @torch.inference_mode()
    def _features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(pixels)
        views = [images, images.flip(2)] if self._model.mirror else [images]
        features = torch.stack([self._model.features(view) for view in views]).mean(0)
        pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
        values: NDArray[np.float32] = pooled.float().numpy()
        return values


def main() -> None:
    """Evaluate ITQ and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="run folder with an exported model")
    run = Run.open(parser.parse_args().run)
    images, _ = open_spec(run.read_config().data)
    reports = baseline_reports(
        run,
        lambda _, queries, database: evaluate(queries, [database]),
        methods=["itq"],
        features=NetworkFeatures(images, load_model(run.checkpoint_path())),
        reporter=TERMINAL,
    )
    print(json.dumps({"baselines": [{"name": name, **one.to_dict()} for name, one in reports]}))


if __name__ == "__main__":
    main()
