"""Selection of the checkpoint by held-out images, and what a run's folder holds."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from trainer_samples import (
    scores,
)
from training_samples import (
    digit_data,
    settings,
    trainer,
)

from hashkit.runs.run import Run
from hashkit.training import recorder
from hashkit.training.checkpoint import load_model, read_checkpoint
from hashkit.training.recipes import describe_recipe
from hashkit.training.selection import held_out_score

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("tiny_network")]


# Selection


def test_held_out_images_select_the_checkpoint(tmp_path, monkeypatch):
    scores(monkeypatch, [0.2, 0.7, 0.7, 0.1])
    config = settings(steps=16)
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.order.steps_per_epoch == 4
    result = one.fit()
    assert (result.best_step, result.best_score) == (8, 0.7)
    best = read_checkpoint(one.run.best_path)
    assert (best.step, best.state["best_step"], best.state["best_score"]) == (8, 8, 0.7)
    assert (best.optimiser, best.losses) == ({}, {})
    held_out = [line for line in one.run.read_metrics() if "held_out" in line]
    assert [(line["step"], line["held_out"]) for line in held_out] == [
        (4, 0.2),
        (8, 0.7),
        (12, 0.7),
        (16, 0.1),
    ]
    assert one.run.checkpoint_path() == one.run.best_path


def test_the_selected_checkpoint_has_the_recorded_score(tmp_path):
    config = settings(steps=30, validate_epochs=2)
    data = digit_data(config)
    result = trainer(config, data, tmp_path / "run").fit()
    loaded = load_model(Run.open(tmp_path / "run").best_path)

    def encode(rows):
        with torch.inference_mode():
            return loaded.model(data.pixels.batch(rows)).numpy()

    assert held_out_score(encode, data, config.lengths) == result.best_score


def test_validation_runs_every_few_epochs_and_at_the_end(tmp_path, monkeypatch):
    scores(monkeypatch, itertools.repeat(0.5))
    config = settings(steps=18, validate_epochs=2)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    steps = [line["step"] for line in one.run.read_metrics() if "held_out" in line]
    assert steps == [8, 16, 18]


def test_without_held_out_images_the_last_checkpoint_is_used(tmp_path):
    config = settings(holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    result = one.fit()
    assert (result.best_step, result.best_score) == (None, None)
    assert not one.run.best_path.exists()
    assert one.run.checkpoint_path() == one.run.snapshot_path(12)
    assert not any("held_out" in line for line in one.run.read_metrics())


# Output


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, [3, 6, 9, 12]), (2, [9, 12]), (9, [3, 6, 9, 12])]
)
def test_the_newest_snapshots_are_kept(tmp_path, keep, expected):
    config = settings(keep_snapshots=keep)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert [step for step, _ in one.run.snapshots()] == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, [4, 8, 10]), (60.0, [10])])
def test_by_default_each_epoch_has_a_snapshot_unless_they_are_too_close(
    tmp_path, monkeypatch, seconds, expected
):
    monkeypatch.setattr(recorder, "SNAPSHOT_SECONDS", seconds)
    config = settings(snapshot_steps=0, keep_snapshots=0, steps=10)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert [step for step, _ in one.run.snapshots()] == expected


def test_metrics_have_a_line_per_interval_and_at_the_end(tmp_path):
    config = settings(steps=10, display_steps=4, holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    lines = [json.loads(line) for line in one.run.metrics_path.read_text().splitlines()]
    assert [(line["step"], line["epoch"]) for line in lines] == [(4, 1), (8, 2), (10, 2)]
    for line in lines:
        assert line["images_per_second"] > 0
        assert 0 < line["active"] <= 1
        assert line["learning_rate"] == one.stepper.learning_rate(line["step"] - 1)


def test_a_line_has_the_mean_loss_since_the_previous_line(tmp_path):
    means = []
    for n_display in (1, 4):
        config = settings(steps=8, display_steps=n_display)
        one = trainer(config, digit_data(config), tmp_path / str(n_display))
        one.fit()
        losses = [line["loss"] for line in one.run.read_metrics() if "loss" in line]
        means.append(np.reshape(losses, (2, -1)).mean(axis=1))
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_on_step_receives_progress(tmp_path, monkeypatch):
    monkeypatch.setattr("hashkit.training.recorder._REPORT_SECONDS", 0.0)
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    reports = []
    one.fit(on_step=reports.append)
    assert [report.step for report in reports] == list(range(1, 13))
    assert {report.n_steps for report in reports} == {12}
    assert [report.epoch for report in reports] == [1] * 4 + [2] * 4 + [3] * 4
    held_out = {
        line["step"]: line["held_out"] for line in one.run.read_metrics() if "held_out" in line
    }
    assert [report.held_out for report in reports] == [
        *[None] * 4,
        *[held_out[4]] * 4,
        *[held_out[8]] * 4,
    ]


def test_the_manifest_of_a_checkpoint(tmp_path):
    config = settings(seed=7)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    manifest = read_checkpoint(one.run.snapshots()[-1][1]).manifest
    assert (manifest.n_bits, manifest.size, manifest.resize) == (12, (8, 8), "crop-bilinear")
    assert (manifest.network, manifest.loss, manifest.seed) == ("tiny", "triplet", 7)
    assert manifest.recipe == describe_recipe(config)
    assert manifest.recipe.startswith("best with network=tiny, dropout=0.2, loss=triplet, ")
    assert (manifest.dataset, manifest.class_names) == ("digits", tuple("0123456789"))
    assert manifest.versions["torch"] == torch.__version__
