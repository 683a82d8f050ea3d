from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import typer
from cli_samples import shell_lines

from hashkit.cli.app import app
from hashkit.cli.train_options import read_settings
from hashkit.runs.config import MIN_INPUT_SIZE, TrainConfig
from hashkit.runs.known_names import FITTED
from hashkit.training.augment import AUGMENTATIONS, choose_augmentation
from hashkit.training.data import MEMORY_LIMIT_BYTES
from hashkit.training.learner import CALIBRATION_IMAGES
from hashkit.training.losses import LOSSES, MAX_TRIPLET_BATCH
from hashkit.training.networks import NETWORKS
from hashkit.training.progress import METRICS_FIELDS
from hashkit.training.recipes import RECIPES
from hashkit.training.schedule import SCHEDULES
from hashkit.training.selection import MAX_REFERENCE_IMAGES
from hashkit.workflow.settings import make_config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
FLAGS = {"lengths": "--bits", "learning_rate": "--lr", "height": "--size", "width": "--size"}


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


def options_of(line: str) -> dict[str, object]:
    """Options in a `hashkit train` command line, by name."""
    command = typer.main.get_command(app).commands["train"]
    context = command.make_context("train", shlex.split(line)[2:])
    return {key: value for key, value in context.params.items() if value is not None}


def test_the_command_of_the_caffe_dnnh_page_has_the_settings_of_caffe_dnnh():
    """The settings of its prototxt files, without additions of hashkit."""
    page = (DOCS / "caffe-dnnh.md").read_text(encoding="utf-8")
    (line,) = (line for line in shell_lines(page) if "--steps 100000" in line)
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    given = read_settings({k: v for k, v in options_of(line).items() if k in names})
    config = make_config(given, None, (32, 32))
    assert (config.network, config.loss, config.optimiser) == ("dnnh-caffe", "triplet", "sgd")
    assert (config.calibrate, config.standardise, config.nesterov) == (False, False, False)
    assert (config.augmentation, config.cutout, config.clip_norm) == ("none", 0, 0)
    assert config.loss_options == {"margin": 2, "average": "valid"}
    # Its base rate is 0.001 and its decay 0.0005, for a gradient that is twice the correct one.
    assert (config.learning_rate, config.weight_decay) == (0.001 * 2, 0.0005 / 2)
    assert (config.momentum, config.gamma, config.warmup_steps) == (0.9, 0.1, 0)
    assert (config.schedule, config.milestones) == ("multistep", (0.6, 0.7))
    assert (config.steps, config.snapshot_steps, config.display_steps) == (100_000, 5_000, 50)
    assert (config.batch_size, config.images_per_class) == (100, 1)
    assert (config.dropout, config.holdout, config.keep_snapshots) == (0.5, 0, 0)
    assert (config.freeze, config.stage_decay) == (0, 1)
    assert (config.lengths, config.height, config.width) == ((12,), 32, 32)
    # test_networks.py checks the learning rates and initial weights of the layers.


def test_every_setting_is_in_the_table_with_its_default():
    assert table("setting") == [row_of(field) for field in dataclasses.fields(TrainConfig)]


def test_every_flag_on_the_page_exists():
    command = typer.main.get_command(app).commands["train"]
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", PAGE))
    assert len(named) > 30
    assert named <= known


def test_every_name_is_in_a_table():
    named = re.findall("`(.*?)`", " ".join(row[0] for row in table("`--network`")))
    assert list(dict.fromkeys(name.partition(":")[0] for name in named)) == list(NETWORKS)
    assert all(NETWORKS[name.partition(":")[0]].takes_argument == (":" in name) for name in named)
    assert {row[0].split("`")[1] for row in table("`--loss`")} == set(LOSSES)
    assert [row[0] for row in table("method")] == [f"`{name}`" for name in FITTED]
    recipes = {row[0].split("`")[1]: row[1:3] for row in table("`--recipe`")}
    assert recipes == {
        name: [f"`{recipe.config.network}`", f"`{recipe.config.loss}`"]
        for name, recipe in RECIPES.items()
    }
    assert [row[0] for row in table("`--schedule`")] == [f"`{name}`" for name in SCHEDULES]


def test_the_table_of_augmentations():
    rows = table("`--augmentation`")
    assert [row[0] for row in rows] == [f"`{name}`" for name in AUGMENTATIONS]
    for (_, shift, mirrored, sets), augmentation in zip(rows, AUGMENTATIONS.values(), strict=True):
        assert (shift == "no") == (augmentation.shift == 0)
        assert shift == "no" or augmentation.shift == 1 / 8
        assert (mirrored == "no") == (not augmentation.flip)
        for name in re.findall("`(.*?)`", sets):
            assert choose_augmentation("auto", name) == augmentation
    assert choose_augmentation("auto", "anything else") == AUGMENTATIONS["shift-flip"]


def test_the_numbers_in_the_text_match_the_code():
    assert f"size from {MIN_INPUT_SIZE}x{MIN_INPUT_SIZE}" in TEXT
    assert f"0.5 GiB at {MAX_TRIPLET_BATCH}, which is the largest batch" in TEXT
    assert f"fit into {MEMORY_LIMIT_BYTES // 2**30} GiB" in TEXT
    assert f"up to {MAX_REFERENCE_IMAGES:,} of the images that are learned from" in TEXT
    assert f"to up to {CALIBRATION_IMAGES} training images" in TEXT
    for name in METRICS_FIELDS:
        assert f"`{name}`" in TEXT
