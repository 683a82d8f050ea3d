"""Runs are collected with their numbers and commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import collect
import itq
import machine
import numpy as np
import pytest
import torch
import write
from cli_samples import check_parses
from report_samples import an_evaluation
from result_samples import EVALUATION, SCRIPTS, settings_of_command, tables
from training_samples import TinyNetwork

from hashkit.datasets.digits import open_digits
from hashkit.manifest import Manifest
from hashkit.report.evaluations import save_evaluation
from hashkit.report.figures import share_text
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.training.checkpoint import TrainedModel
from hashkit.training.model import HashModel


@pytest.fixture
def runs(tmp_path):
    """A folder with a finished run, and a training of two lengths of which one is evaluated."""
    folder = tmp_path / "some"
    one = finished(folder, "one", lengths=(16,), seed=3)
    save_evaluation(an_evaluation("one", 16), one.path / "evaluation.json")
    (one.path / "machine.json").write_text(json.dumps(machine.describe()))
    measured = {"name": "class of a linear classifier on x (accuracy 0.812)", **EVALUATION}
    (one.path / "baselines.json").write_text(json.dumps({"baselines": [measured]}))
    finished(folder, "both", lengths=(8, 12))
    for n_bits in (8, 12):
        finished(
            folder, f"both-{n_bits}bits", lengths=(n_bits,), shared=SharedTraining("both", (8, 12))
        )
    save_evaluation(an_evaluation("both", 12), folder / "both-12bits" / "evaluation.json")
    return folder


def finished(folder: Path, name: str, shared: SharedTraining | None = None, **changes) -> Run:
    """The run folder of a finished training, without its model."""
    training = TrainConfig(
        loss="triplet", margin=1.5, height=8, width=8, holdout=0, steps=2, **changes
    )
    config = RunConfig(DataSpec(data="scans"), training, device="cpu", shared=shared)
    run = Run.create(folder, name, config)
    write_json(
        run.summary_path, {"run": "runs/x", "checkpoint": "best", "n_steps": 2, "seconds": 6.0}
    )
    return run


def collected(run: Path) -> dict:
    return collect.collect(Run.open(run), {"scans": "digits as JPEG"})


def test_a_run_is_collected_with_the_numbers_of_its_evaluation(runs):
    result = collected(runs / "one")
    evaluation = json.loads((runs / "one" / "evaluation.json").read_text())
    assert result["evaluation"] == {name: evaluation[name] for name in collect.NUMBERS}
    place = {"set": "scans", "copy": "digits as JPEG", "protocol": "per-class"}
    assert result["data"] | place == result["data"]
    assert (result["group"], result["name"], result["bits"]) == ("some", "one", 16)
    assert (result["seed"], result["training"]) == (3, {"n_steps": 2, "seconds": 6.0})
    assert result["machine"]["n_cores"] == os.cpu_count()
    (baseline,) = result["baselines"]
    assert baseline["name"] == "class of a linear classifier on x"
    assert (baseline["accuracy"], baseline["map"]) == (0.812, EVALUATION["map"])
    assert "/" not in json.dumps(result)


def test_a_run_that_learned_from_unlabelled_images_has_a_protocol_of_its_own(runs):
    saved = Run.open(runs / "one").read_config().to_dict()
    assert collect.protocol_of(saved) == "per-class"
    saved["training"]["unlabelled_ratio"] = 3
    assert collect.protocol_of(saved) == "per-class with unlabelled images"
    saved["data"]["protocol"] = "cifar10-59k-unlabelled"
    assert collect.protocol_of(saved) == "cifar10-59k-unlabelled"


@pytest.mark.end_to_end
def test_runs_that_are_not_ready_are_left_out_with_a_reason(runs, tmp_path):
    command = [sys.executable, SCRIPTS / "collect.py", runs, "--to", tmp_path / "to"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    left_out = dict(line.rsplit(": left out, ", 1) for line in done.stderr.splitlines())
    assert {Path(path).name: reason for path, reason in left_out.items()} == {
        "both": "its code lengths have their own runs",
        "both-8bits": "it was not evaluated",
    }
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "some-both-12bits.json",
        "some-one.json",
    ]
    page = write.render(tmp_path / "to")["results.md"]
    for name in ("both-12bits", "one"):
        assert share_text(collected(runs / name)["evaluation"]["map"]) in page


def test_the_command_of_a_run_gives_its_settings(runs):
    for name, lengths in (("one", (16,)), ("both-12bits", (8, 12))):
        saved = Run.open(runs / name).read_config().training.to_dict()
        assert settings_of_command(collected(runs / name)["command"], None) == (
            TrainConfig.from_dict({**saved, "lengths": lengths})
        )


def test_features_for_itq_are_the_input_of_the_head():
    torch.manual_seed(0)
    model = HashModel(
        TinyNetwork(0.0),
        lengths=(6,),
        size=(8, 8),
        mean=torch.full((3, 1, 1), 127.0),
        std=torch.full((3, 1, 1), 64.0),
        standardise=True,
        mirror=True,
    ).eval()
    features = itq.NetworkFeatures(open_digits(), TrainedModel(model, Manifest(6, 8, 8)))
    ((rows, values),) = features.blocks(np.arange(5))
    assert rows.tolist() == list(range(5))
    assert values.shape == (5, features.n_dimensions)
    # The head is linear, so it maps mean features to the mean logits of image and mirror image.
    pixels = torch.from_numpy(open_digits().pixels[:5])
    with torch.inference_mode():
        torch.testing.assert_close(model.logits(torch.from_numpy(values)), model(pixels))


@pytest.mark.parametrize(
    "flags",
    [
        "--bits 12,24 --no-standardise --size 16 --epochs 2.5",
        "--bits 48 --recipe paper --epsilon 0.3 --schedule multistep --milestones 0.2,0.9",
        "--bits 48 --network dnnh --loss triplet --margin 3 --lr 1e-05 --no-nesterov",
    ],
)
def test_a_command_contains_exactly_the_given_settings(flags):
    config = settings_of_command(f"hashkit train {flags}")
    data = {"data": "digits", "protocol": "", "seed": 0, "options": {}}
    saved = {
        "training": config.to_dict(),
        "triplets": None,
        "data": {**data, "query_list": None, "training_list": None},
    }
    changes = collect.changed_settings(saved["training"], "digits")
    line = collect.command(saved, config.lengths, changes)
    assert settings_of_command(line) == config
    expected = shlex.split(f"hashkit train {flags}")
    assert len(shlex.split(line)) == len(expected)  # no defaults


def test_a_changed_split_is_in_the_command():
    saved = {
        "training": settings_of_command("hashkit train --bits 12").to_dict(),
        "triplets": None,
        "data": {
            "data": "/somewhere/photos",
            "root": None,
            "protocol": "unseen-classes",
            "seed": 2,
            "options": {"unseen_classes": ["a cat", "dog"], "training_in_database": False},
            "query_list": None,
            "training_list": None,
        },
    }
    line = collect.command(saved, (12,), {})
    check_parses(line)
    assert line == (
        "hashkit train --data photos --protocol unseen-classes --split-seed 2 "
        "--unseen-classes 'a cat,dog' --no-training-in-database --bits 12"
    )


def test_a_thinned_curve_keeps_all_validations_and_the_last_line():
    lines = [
        {"step": step, "epoch": 1, "loss": 1 / 3, "active": 1.0, "images_per_second": 1e6 / 7}
        for step in range(1000)
    ]
    validations = [
        {"step": step, "held_out": 0.123456789, "seconds": 2.0} for step in range(0, 1000, 10)
    ]
    thinned = collect.thinned([*lines, *validations])
    assert [line for line in thinned if "held_out" in line] == validations
    steps = [line["step"] for line in thinned if "loss" in line]
    assert steps == sorted(set(steps))
    assert (len(steps), steps[-1]) == (collect.MOST_LOSS_POINTS, 999)


# Commands that create the runs


def run_script(folder: Path, *groups: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", SCRIPTS / "runs.sh", folder, "cifar", *groups],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("$ ") for line in done.stderr.splitlines()]
    return [line.partition(" > ")[0] for line in lines if line.startswith("hashkit ")]


@pytest.mark.end_to_end
def test_every_command_of_the_runs_parses_and_names_are_unique(tmp_path):
    lines = commands(run_script(tmp_path, "all", DRY_RUN="1"))
    for line in lines:
        check_parses(line)
    trained = [line for line in lines if line.startswith("hashkit train")]
    places = [tuple(re.findall(r"--(?:runs|name) (\S+)", line)) for line in trained]
    assert len(set(places)) == len(trained) > 20
    assert {Path(runs).name for runs, _ in places} == {
        *("paper", "best", "full", "pretrained", "fashion", "unseen", "methods", "ablations"),
        *("seeds", "semi", "small"),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_small_runs_can_be_made_and_shown(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = {"PATH": path, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    assert commands(run_script(tmp_path / "runs", "small", **made))
    assert commands(run_script(tmp_path / "runs", "small", **made)) == []
    for run in collect.find_runs([tmp_path / "runs"]):
        if not collect.not_ready(run):
            result = collect.collect(run, {})
            (tmp_path / f"{result['name']}.json").write_text(json.dumps(result))
            assert result["evaluation"]["map"] > 0.3  # chance is 0.1
            assert result["machine"]["n_threads"] == 1
    page = write.render(tmp_path)["results.md"]
    assert [row[0] for row in tables(page)[0][1:]] == ["12†", "24†"]
