"""Invented runs, and the page that tests/results/write.py makes of them."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import write
from cli_samples import COMMANDS, ROOT
from records import Result

from hashkit.cli.flags import parse_size
from hashkit.cli.train_options import read_settings
from hashkit.runs.config import TrainConfig
from hashkit.workflow.settings import make_config

SCRIPTS = Path(__file__).parents[1] / "results"

EVALUATION = {
    "map": 0.5,
    "map_best": 0.55,
    "map_worst": 0.45,
    "map_interval": [0.48, 0.52],
    "interval": {"method": "bootstrap", "level": 0.95, "resamples": 100, "seed": 0},
    "map_at": {"1000": 0.6},
    "precision_at": {"100": 0.7},
    "convention": "all-relevant",
    "without_relevant": "zero",
    "n_queries": 1000,
    "n_database": 59000,
    "bits": 48,
}


def a_result(score=0.5, *, changes=None, data=None, minutes=10.0, held_out=(), **fields) -> Result:
    """An invented run; by default 100 steps with the recipe ``best`` on CIFAR-10."""
    bits, changes = fields.pop("bits", 48), dict(changes or {})
    place = {"set": "cifar10", "copy": "JPEG", "protocol": "cifar10-59k"} | (data or {})
    run = {
        "format": 1,
        "group": "any",
        "name": f"run-{score}",
        "data": {"options": {}, "split_seed": 0, "is_of_triplets": False} | place,
        "recipe": "best",
        "network": changes.get("network", "compact"),
        "loss": changes.get("loss", "orthohash"),
        "bits": bits,
        "lengths": [bits],
        "epochs": 30.0,
        "steps": None,
        "seed": 0,
        "changes": changes,
        "command": "hashkit train --bits 48",
        "device": "cpu",
        "training": {"n_steps": 100, "seconds": 60 * minutes},
        "curve": [
            {"step": step, "held_out": value, "seconds": 0.6 * step * minutes}
            for step, value in held_out
        ],
        "evaluation": EVALUATION | {"map": score, "bits": bits},
        "baselines": [],
        "machine": None,
    }
    return Result(run | fields)


def baseline(name: str, score: float, accuracy: float | None = None) -> dict:
    return {"name": name, "accuracy": accuracy} | EVALUATION | {"map": score}


def rendered(folder: Path, *results: Result, notes: str = "") -> dict[str, str]:
    """The page of some runs, written to and read from files."""
    folder.mkdir()
    for number, one in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(one.fields))
    if notes:
        (folder / "notes.md").write_text(notes)
    return write.render(folder)


def tables(page: str) -> list[list[list[str]]]:
    """Cells of the tables of a page, header first, without separator lines."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in block.splitlines()
            if not set(line) <= set("|- ")
        ]
        for block in blocks
    ]


def column(table: list[list[str]], name: str) -> list[str]:
    return [row[table[0].index(name)] for row in table[1:]]


def settings_of_command(line: str, size: tuple[int, int] | None = (8, 8)) -> TrainConfig:
    """The settings of a command line, for images of a size (None: any size)."""
    command = COMMANDS["train"]
    context = command.make_context("train", shlex.split(line)[2:], parent=ROOT.context_class(ROOT))
    with context:
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        given = {k: v for k, v in context.params.items() if k in names}
        asked = context.params["size"]
        return make_config(read_settings(given), parse_size(asked) if asked else None, size)
