"""Subjects of a bank set that is being made: its plan and its slices."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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


def _image_tar(folder: Path) -> Subject:
    from hashkit.datasets.slices.tars import TarContents, TarListing

    seeds = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
            for name, data in (("a.png", _png(0)), ("a.cls", b"3"), (f"{'é' * 60}/b.png", _png(1))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        seeds.append(file.getvalue())

    def read(path: Path, rng: random.Random) -> None:
        _read_some(TarListing(path, [path]), TarContents, rng)

    return Subject(folder / "images.tar", seeds, read)


def _image_parquet(folder: Path) -> Subject:
    import pyarrow
    from pyarrow import parquet

    from hashkit.datasets.slices.parquets import ParquetContents, ParquetListing

    images = [_png(0), _png(1), None]
    structs = [{"bytes": data, "path": "é.png"} for data in images]
    tables = [
        pyarrow.table({"image": structs, "label": ["ant", None, "bee"]}),
        pyarrow.table({"image": images, "label": [0, -1, 2]}),
    ]
    seeds = []
    for table, size in zip(tables, (2, 3), strict=True):
        parquet.write_table(table, folder / "seed", row_group_size=size)
        seeds.append((folder / "seed").read_bytes())

    def read(path: Path, rng: random.Random) -> None:
        listing = ParquetListing(path, [path], "", "")
        _read_some(listing, lambda places: ParquetContents(places, ""), rng)

    return Subject(folder / "images.parquet", seeds, read)


def _read_some(listing: Any, open_contents: Callable[[Any], Any], rng: random.Random) -> None:
    from hashkit.datasets.slices.containers import Places

    entries = list(itertools.islice(listing.entries(), 100))
    where = np.array([entry.place for entry in entries], np.int64).reshape(-1, 3)
    places = Places(listing.files(), [entry.name for entry in entries], where)
    contents = open_contents(places)
    for row in range(len(entries)):
        if rng.random() < 0.7:
            contents.read(row)


def _png(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


SLICE_SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "plan": _plan,
    "slice": _slice,
    "image-tar": _image_tar,
    "image-parquet": _image_parquet,
}
