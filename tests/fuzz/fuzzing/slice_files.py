"""Subjects of a bank set that is being made: its plan and its slices."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.json_mutations import mutate_json_lines, mutate_json_text
from fuzzing.subject import Subject

__all__ = ["SLICE_SUBJECTS"]

_PLAN: dict[str, Any] = {
    "images": "photos.txt",
    "kind": "list",
    "root": "photos",
    "settings": {"data_root": "", "labels": "auto"},
    "files": [{"path": "photos.txt", "n_bytes": 12, "mtime_ns": 5}],
    "n_images": 5,
    "list": "ab" * 32,
    "label_kind": "single",
    "class_names": ["ant", "bee", "cat"],
    "n_bits": 12,
    "model_sha256": "cd" * 32,
    "precision": "fp32",
    "runtime": "onnxruntime 1.24.0",
    "provider": "CPUExecutionProvider",
    "resampler": "Pillow 13.0.0",
    "slices": [
        {"file": "slices/00000.jsonl", "start": 0, "stop": 2, "sha256": "ef" * 32},
        {"file": "slices/00001.jsonl", "start": 2, "stop": 5, "sha256": "ef" * 32},
    ],
    "created_by": "hashkit",
    "format": "hashkit-plan",
    "format_version": 1,
}

_SLICES = [
    '["a.png"]\n["é.png"]\n',
    '["a.png",2]\n["b.png",-1]\n',
    '["a.png",[0,2]]\n["b.png",[]]\n',
]


def _plan(folder: Path) -> Subject:
    from hashkit.datasets.slices.opening import open_slice
    from hashkit.datasets.slices.plan import read_plan
    from hashkit.errors import DatasetError

    def read(path: Path, rng: random.Random) -> None:
        plan = read_plan(path.parent)
        if plan is None or not plan.slices:
            raise DatasetError("there are no slices")
        if rng.random() < 0.2:
            open_slice(path.parent, plan, rng.randrange(len(plan.slices)))

    return Subject(folder / "plan.json", [json.dumps(_PLAN).encode()], read, [mutate_json_text])


def _slice(folder: Path) -> Subject:
    from hashkit.datasets.slices.opening import open_slice
    from hashkit.datasets.slices.plan import read_plan

    (folder / "plan.json").write_text(json.dumps(_PLAN), encoding="utf-8")
    planned = read_plan(folder)
    assert planned is not None

    def read(path: Path, rng: random.Random) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        slices = tuple(dataclasses.replace(one, sha256=digest) for one in planned.slices)
        kind = rng.choice(["none", "single", "multi"])
        images = open_slice(folder, dataclasses.replace(planned, label_kind=kind, slices=slices), 0)
        images.source(len(images) - 1)

    (folder / "slices").mkdir()
    seeds = [text.encode() for text in _SLICES]
    return Subject(folder / "slices" / "00000.jsonl", seeds, read, [mutate_json_lines])


SLICE_SUBJECTS: dict[str, Callable[[Path], Subject]] = {"plan": _plan, "slice": _slice}
