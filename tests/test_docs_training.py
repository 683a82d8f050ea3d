from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import typer

from hashkit.cli.app import app
from hashkit.training.augment import AUGMENTATIONS, choose_augmentation
from hashkit.training.config import MAX_BATCH_SIZE, MIN_INPUT_SIZE, TrainConfig
from hashkit.training.data import MEMORY_LIMIT_BYTES
from hashkit.training.networks import NETWORKS
from hashkit.training.progress import METRICS_FIELDS
from hashkit.training.schedule import SCHEDULES
from hashkit.training.selection import MAX_REFERENCE_IMAGES
from hashkit.training.trainer import CALIBRATION_IMAGES

PAGE = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
FLAGS = {"n_bits": "--bits", "learning_rate": "--lr", "height": "--size", "width": "--size"}


def table(first_header: str) -> list[list[str]]:
    """Rows of the table whose first column has this header, as lists of cells."""
    lines = PAGE.splitlines()
    (start,) = (at for at, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def row_of(field: dataclasses.Field) -> list[str]:
    flag = FLAGS.get(field.name, "--" + field.name.replace("_", "-"))
    default = field.default
    if isinstance(default, bool):
        flag, default = f"{flag}`, `--no-{flag[2:]}", "yes" if default else "no"
    elif isinstance(default, tuple):
        default = ",".join(map(str, default))
    elif default is None:
        default = "not set"
    return [f"`{field.name}`", f"`{flag}`", str(default), field.metadata["help"]]


def test_every_setting_is_in_the_table_with_its_default():
    assert table("setting") == [row_of(field) for field in dataclasses.fields(TrainConfig)]


def test_every_flag_of_the_page_is_one_of_the_command():
    command = typer.main.get_command(app).commands["train"]
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", PAGE))
    assert len(named) > 30
    assert named <= known


def test_every_name_is_in_a_table():
    (networks,) = (line for line in PAGE.splitlines() if line.startswith("| layer |"))
    assert re.findall("`(.*?)`", networks) == list(NETWORKS)
    assert [row[0] for row in table("`--schedule`")] == [f"`{name}`" for name in SCHEDULES]


def test_the_augmentations_are_those_of_the_table():
    rows = table("`--augmentation`")
    assert [row[0] for row in rows] == [f"`{name}`" for name in AUGMENTATIONS]
    for (_, shift, mirrored, sets), augmentation in zip(rows, AUGMENTATIONS.values(), strict=True):
        assert (shift == "no") == (augmentation.shift == 0)
        assert shift == "no" or augmentation.shift == 1 / 8
        assert (mirrored == "no") == (not augmentation.flip)
        for name in re.findall("`(.*?)`", sets):
            assert choose_augmentation("auto", name) == augmentation
    assert choose_augmentation("auto", "anything else") == AUGMENTATIONS["shift-flip"]


def test_the_numbers_of_the_text_are_those_of_the_code():
    assert f"size from {MIN_INPUT_SIZE}x{MIN_INPUT_SIZE}" in TEXT
    assert f"0.5 GiB at {MAX_BATCH_SIZE}, which is the largest batch" in TEXT
    assert f"fit into {MEMORY_LIMIT_BYTES // 2**30} GiB" in TEXT
    assert f"up to {MAX_REFERENCE_IMAGES:,} of the images that are learned from" in TEXT
    assert f"over up to {CALIBRATION_IMAGES} training images" in TEXT
    for name in METRICS_FIELDS:
        assert f"`{name}`" in TEXT
