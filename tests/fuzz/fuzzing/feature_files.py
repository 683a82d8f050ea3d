"""Subjects of a run on frozen features: its embedder, its head, and its table of features."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from fuzzing.json_mutations import mutate_json_text
from fuzzing.layers import inside_header
from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

__all__ = ["FEATURE_SUBJECTS"]

_ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)


def _kept_embedder(folder: Path) -> Subject:
    from tiny_embedder import tiny_embedder

    from hashkit.features.embedder import read_embedder, write_embedder

    def read(path: Path, rng: random.Random) -> None:
        found = read_embedder(path)
        if rng.random() < 0.3 and found.height * found.width < 10_000:
            from hashkit.features.session import EmbedderSession

            session = EmbedderSession(found, "cpu", n_threads=1)
            session.run(np.zeros((2, found.height, found.width, 3), np.uint8))

    write_embedder(folder / "seed", tiny_embedder())
    return Subject(folder / "embedder.onnx", [(folder / "seed").read_bytes()], read)


def _head(folder: Path) -> Subject:
    from hashkit.features.fitting import fit_head
    from hashkit.features.head_checkpoint import read_head, write_head
    from hashkit.manifest import Manifest
    from hashkit.runs.config import TrainConfig

    def read(path: Path, _: random.Random) -> None:
        found = read_head(path)
        found.head(np.ones((2, found.head.n_features), np.float32))

    tensors = fit_head("lsh", np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32), 4, 0)
    config = TrainConfig(network="onnx:a", loss="lsh", lengths=(4,), freeze=-1)
    write_head(folder / "seed", tensors, config, Manifest(4, 8, 8, network="onnx:a", loss="lsh"))
    return Subject(
        folder / "best.safetensors", [(folder / "seed").read_bytes()], read, [inside_header]
    )


def _written_table(folder: Path) -> None:
    from hashkit.features.table import OutputTable

    with OutputTable(folder / "features.npy", *_ROWS.shape, "a").filled(4) as append:
        append(_ROWS)


def _read_table(path: Path, rng: random.Random) -> None:
    from hashkit.features.table import OutputTable

    table = OutputTable(path.with_suffix(".npy"), *_ROWS.shape, "a")
    n_done = table.n_done()
    assert 0 <= n_done <= len(_ROWS)
    if table.is_whole():
        np.testing.assert_array_equal(table.read(), _ROWS)
    elif rng.random() < 0.3 and n_done < len(_ROWS):
        # Filled in a folder of its own, so that the next case finds the first files.
        again = path.parent / "again"
        again.mkdir(exist_ok=True)
        for name in ("features.npy", "features.json"):
            (again / name).write_bytes((path.parent / name).read_bytes())
        second = OutputTable(again / "features.npy", *_ROWS.shape, "a")
        with second.filled(4) as append:
            append(_ROWS[second.n_done() :])
        assert second.is_whole()


def _table(folder: Path) -> Subject:
    _written_table(folder)
    path = folder / "features.npy"
    return Subject(path, [path.read_bytes()], _read_table)


def _progress(folder: Path) -> Subject:
    _written_table(folder)
    path = folder / "features.json"
    return Subject(path, [path.read_bytes()], _read_table, [mutate_json_text])


FEATURE_SUBJECTS = {
    "kept-embedder": _kept_embedder,
    "feature-head": _head,
    "features-table": _table,
    "features-progress": _progress,
}
