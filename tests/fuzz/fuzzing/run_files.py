"""Subjects of a run folder: settings, metrics, evaluations, checkpoints, models, skipped images."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.json_mutations import mutate_json, mutate_json_lines, mutate_json_text
from fuzzing.layers import inside_header
from fuzzing.mutations import Mutation
from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

__all__ = ["RUN_SUBJECTS"]

GOLDEN = Path(__file__).parents[2] / "golden"

_METRICS = [
    {"step": 1, "seconds": 0.5, "loss": 0.7, "images_per_second": 10.0, "lr": 0.1},
    {"step": 2, "seconds": 1.0, "held_out": 0.5},
    {"step": 3, "loss": float("nan")},
]
_SUMMARY = {"steps": 3, "seconds": 1.5, "best": 0.5, "best_step": 2, "device": "cpu", "n_faults": 0}
_FAULTS = [
    {"row": 1, "name": "a.png", "reason": "broken", "message": "a.png: damaged", "source": 0},
    {"row": 2, "name": "é.png", "reason": "missing", "message": "é.png: there is no such file"},
]


def _config() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("run-config-*.json"))]


def _lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in documents)


def _run_file(name: str, seeds: list[bytes], inside: Mutation) -> Callable[[Path], Subject]:
    """A file of a run folder, read as `hashkit info` and other commands read it."""

    def make(folder: Path) -> Subject:
        run = folder / "run"
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.json").write_bytes(_config()[-1])
        (run / "metrics.jsonl").write_bytes(_lines(_METRICS))
        (run / "summary.json").write_bytes(json.dumps(_SUMMARY).encode())
        return Subject(run / name, seeds, _read_run, [inside])

    return make


def _read_run(path: Path, rng: random.Random) -> None:
    from hashkit.runs.run import Run
    from hashkit.workflow.run_facts import run_facts
    from hashkit.workflow.verify import verify_paths

    kind = rng.randrange(3)
    if kind == 0:
        Run.newest(path.parents[1], lambda _: None)
    if kind == 1:
        run = Run.open(path.parent)
        run.read_config()
        run.per_length()
        run.read_metrics()
        run.rewind_metrics(2)
    if kind == 2:
        verify_paths([path.parent])
    json.dumps(run_facts(path.parent))


def _evaluation(folder: Path) -> Subject:
    from report_samples import code_set

    from hashkit.evaluation.evaluator import evaluate
    from hashkit.report.evaluations import Evaluation, differences, in_column_order, load_evaluation
    from hashkit.report.page import PageContent, render_page

    fields = evaluate(code_set(6, 8, 2), code_set(12, 8, 3), cutoffs=[5]).to_dict()
    whole = Evaluation("first", fields, "a title", {"model": "m"}, {"queries": "0" * 8})
    seeds = [json.dumps(one).encode() for one in (whole.to_dict(), fields)]
    other = Evaluation("other", fields)

    def read(path: Path, rng: random.Random) -> None:
        found = load_evaluation(path)
        differences(found, other)
        in_column_order([found, other])
        if rng.random() < 0.1:
            render_page(PageContent(found, [other], ()))

    return Subject(folder / "evaluation.json", seeds, read, [mutate_json_text])


def _faults(folder: Path) -> Subject:
    def read(path: Path, rng: random.Random) -> None:
        from hashkit.runtimes.faults import FaultLog, read_faults

        bank_path = path.with_name("bank.h5")
        read_faults(bank_path)
        if rng.random() < 0.3:
            FaultLog(bank_path, 0, 2)

    path = folder / "bank.h5.faults.jsonl"
    return Subject(path, [_lines(_FAULTS)], read, [mutate_json_lines])


def _checkpoint(folder: Path) -> Subject:
    import torch
    from training_samples import TinyNetwork

    from hashkit.manifest import Manifest
    from hashkit.runs.config import TrainConfig
    from hashkit.training.checkpoint import Checkpoint, write_checkpoint

    weights = {"mean": torch.zeros(3), "std": torch.ones(3), **TinyNetwork(0.0).state_dict()}
    small = {name: torch.zeros_like(value.flatten()[:4]) for name, value in weights.items()}
    manifest = Manifest(12, 8, 8, network="dnnh", class_names=("a", "b"), versions={"torch": "2"})
    config = TrainConfig(network="dnnh", lengths=(12,), height=8, width=8, steps=3)
    state = {"order": [1, 2], "best": 0.5}
    momentum = {"a": torch.zeros(2)}
    write_checkpoint(folder / "seed", Checkpoint(3, config, manifest, small, {}, momentum, state))
    seed = (folder / "seed").read_bytes()
    return Subject(folder / "step-0000003.safetensors", [seed], _read_checkpoint, [inside_header])


def _read_checkpoint(path: Path, rng: random.Random) -> None:
    from hashkit.runs.checkpoint_header import read_checkpoint_manifest, read_checkpoint_network
    from hashkit.training.checkpoint import load_model, read_checkpoint

    kind = rng.randrange(10)
    if kind < 3:
        read_checkpoint_manifest(path)
        read_checkpoint_network(path)
    elif kind < 9:
        read_checkpoint(path)
    else:
        load_model(path)


# Models


def _model_seed(folder: Path) -> bytes:
    from linear_models import linear_model

    from hashkit.manifest import Manifest

    manifest = Manifest(12, 4, 5, network="dnnh", class_names=("a", "b"), versions={"torch": "2"})
    metadata = manifest.to_metadata() | {"hashkit.precision": '"fp32"'}
    return linear_model(folder / "seed.onnx", metadata=metadata).read_bytes()


def _other_metadata(rng: random.Random, data: bytes) -> bytes:
    """The model with other metadata, or other shapes and types of its inputs and outputs."""
    import onnx

    model = onnx.load_model_from_string(data)
    if rng.random() < 0.8:
        prop = rng.choice(model.metadata_props)
        text = mutate_json(rng, json.loads(prop.value))
        prop.value = text.encode("utf-8", "replace").decode()
        if rng.random() < 0.1:
            prop.key = rng.choice(("hashkit.", "hashkit.a", "hashkit.format_version", "\x1b"))
        return model.SerializeToString()
    value = rng.choice((*model.graph.input, *model.graph.output))
    tensor = value.type.tensor_type
    kind = rng.randrange(4)
    if kind == 0 and tensor.shape.dim:
        rng.choice(tensor.shape.dim).dim_value = rng.choice((0, -1, 1, 2**31, 2**63 - 1, 7, 10**6))
    elif kind == 1:
        tensor.elem_type = rng.randrange(20)
    elif kind == 2:
        value.name = rng.choice(("", "a", "code", "\x1b[1m", "logit"))
    else:
        del tensor.shape.dim[0]
    return model.SerializeToString()


def _description(folder: Path) -> Subject:
    def read(path: Path, rng: random.Random) -> None:
        from hashkit.workflow.file_facts import model_facts
        from hashkit.workflow.verify import verify_paths

        if rng.random() < 0.2:
            verify_paths([path])
        json.dumps(model_facts(path))

    return Subject(folder / "model.onnx", [_model_seed(folder)], read, [_other_metadata])


def _model(folder: Path) -> Subject:
    def read(path: Path, _: random.Random) -> None:
        from hashkit.runtimes.encoder import Encoder

        encoder = Encoder.load(path, device="cpu", n_threads=1)
        if encoder.manifest.height * encoder.manifest.width < 10_000:
            encoder.encode([np.zeros((4, 5, 3), np.uint8)])

    return Subject(folder / "model.onnx", [_model_seed(folder)], read, [_other_metadata])


# Embedders


def _embedder(folder: Path) -> Subject:
    from foreign_graphs import pooled_network

    def read(path: Path, rng: random.Random) -> None:
        from hashkit.features.foreign.onnx_embedder import wrap_onnx
        from hashkit.runs.embedder_settings import EmbedderSettings

        settings = EmbedderSettings(
            preprocessing="clip",
            output=rng.choice(("", "feature", "active")),
            pooling=rng.choice(("auto", "auto", "mean", "class-token")),
        )
        wrap_onnx(path, settings, rng.choice((None, (16, 16))))

    shapes = (("N", 3, 16, 16), (1, 3, 16, 16), ("N", "C", "H", "W"))
    seeds = [pooled_network(shape).SerializeToString() for shape in shapes]
    return Subject(folder / "embedder.onnx", seeds, read)


def _processor(folder: Path) -> Subject:
    def read(path: Path, rng: random.Random) -> None:
        from hashkit.features.foreign.preprocessing import find_preprocessing
        from hashkit.runs.embedder_settings import EmbedderSettings

        own = {"pixel_mean": (0, 0, 0), "pixel_std": (1, 1, 1)} if rng.random() < 0.3 else {}
        found = find_preprocessing(path.with_name("model.onnx"), EmbedderSettings(**own))
        json.dumps(found.facts((16, 16)))
        assert np.isfinite(np.float32([found.mean, found.std])).all()
        assert np.float32(found.std).min() > 0

    seeds = [
        {"size": 224, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2},
        {
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_normalize": True,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "image_mean": 0.4,
            "image_std": 0.3,
            "crop_pct": 0.875,
            "do_pad": None,
        },
    ]
    path = folder / "preprocessor_config.json"
    return Subject(path, [json.dumps(one).encode() for one in seeds], read, [mutate_json_text])


RUN_SUBJECTS = {
    "config": _run_file("config.json", _config(), mutate_json_text),
    "metrics": _run_file("metrics.jsonl", [_lines(_METRICS)], mutate_json_lines),
    "summary": _run_file("summary.json", [json.dumps(_SUMMARY).encode()], mutate_json_text),
    "evaluation": _evaluation,
    "faults": _faults,
    "checkpoint": _checkpoint,
    "onnx-description": _description,
    "onnx-model": _model,
    "embedder": _embedder,
    "processor": _processor,
}
