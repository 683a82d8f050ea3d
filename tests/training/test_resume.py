"""Stopping and resuming."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from trainer_samples import (
    assert_same_checkpoints,
    scores,
    stop_after,
    without_speed,
)
from training_samples import (
    add_loss,
    checkpoint_files,
    digit_data,
    settings,
    trainer,
    triplet_data,
)

from hashkit.errors import CheckpointError, TrainingError
from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.losses import LossValue
from hashkit.training.losses.triplet import TripletRankingLoss
from hashkit.training.model import HashModel, new_model
from hashkit.training.optimisers import load_momentum, momentum_of

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("tiny_network")]


@pytest.mark.parametrize(
    ("n_steps", "changes"),
    [
        (7, {}),
        *(
            pytest.param(*more, marks=pytest.mark.end_to_end)
            for more in (
                (4, {}),
                (5, {"momentum": 0.0}),
                (5, {"nesterov": True}),
                (5, {"optimiser": "muon"}),
                (5, {"freeze": 1, "stage_decay": 0.5}),
                (5, {"freeze": -1, "augmentation": "none"}),
                (5, {"lengths": (12, 5)}),
            )
        ),
    ],
    ids=str,
)
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path, n_steps, changes):
    config = settings(keep_snapshots=1, **changes)
    data = digit_data(config)
    trainer(config, data, tmp_path / "whole").fit()
    first = trainer(config, data, tmp_path / "run")
    result = first.fit(should_stop=stop_after(n_steps))
    assert 0 < result.step < 12
    assert not result.is_done
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == result.step
    result = second.fit()
    assert result.is_done
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")


def test_a_stopped_triplet_run_resumes_to_the_same_bytes(tmp_path):
    config = settings(keep_snapshots=1)
    data = triplet_data(config)
    trainer(config, data, tmp_path / "whole").fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    second.fit()
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")


def test_resuming_truncates_the_metrics_to_the_snapshot(tmp_path):
    config = settings()
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit()
    whole = without_speed(one.run)
    for step in (9, 12):
        one.run.snapshot_path(step).rename(tmp_path / f"moved-{step}")
    (tmp_path / "moved-9").rename(one.run.snapshot_path(9))
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 9
    assert max(line["step"] for line in second.run.read_metrics()) == 9
    second.fit()
    assert without_speed(second.run) == whole


def test_resuming_remembers_the_best_score(tmp_path, monkeypatch):
    scores(monkeypatch, [0.9, 0.3, 0.4])
    config = settings()
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit(should_stop=lambda: one.step >= 6)
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    assert second.record.state() == {"best_step": 4, "best_score": 0.9, "held_out": 0.9}
    assert second.fit().best_step == 4
    assert read_checkpoint(second.run.best_path).step == 4


def test_resuming_skips_pretrained_weights_and_calibration(tmp_path, monkeypatch):
    config = settings()
    data = digit_data(config)
    trainer(config, data, tmp_path / "whole").fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    asked = []

    def without_weights(config, mean, std, *, dataset, pretrained):
        asked.append(pretrained)
        return new_model(config, mean, std, dataset=dataset)

    monkeypatch.setattr("hashkit.training.learner.new_model", without_weights)
    monkeypatch.setattr(HashModel, "calibrate", lambda *_: pytest.fail("calibrated again"))
    second = trainer(config, data, tmp_path / "run")
    assert asked == [False]
    second.resume()
    second.fit()
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")


def test_without_a_snapshot_a_run_starts_again(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.run.append_metrics({"step": 3, "loss": 1.0})
    assert one.resume() == 0
    assert one.run.read_metrics() == []


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = settings()
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit()
    before, metrics = checkpoint_files(one.run), one.run.read_metrics()
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    result = second.fit()
    assert result.is_done
    assert (checkpoint_files(second.run), second.run.read_metrics()) == (before, metrics)


def test_a_run_stopped_before_its_first_step_writes_nothing(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.fit(should_stop=lambda: True).step == 0
    assert checkpoint_files(one.run) == {}


def test_resuming_with_different_settings_is_refused(tmp_path):
    config = settings()
    data = digit_data(config)
    trainer(config, data, tmp_path / "run").fit()
    other = trainer(dataclasses.replace(config, steps=24), data, tmp_path / "run")
    with pytest.raises(
        CheckpointError, match=r"was written with different settings from .*config.json: "
    ):
        other.resume()
    assert other.step == 0


def test_resuming_with_different_images_is_refused(tmp_path):
    config = settings()
    trainer(config, digit_data(config), tmp_path / "run").fit()
    other = trainer(config, digit_data(config, 81), tmp_path / "run")
    with pytest.raises(CheckpointError, match="was trained on different images: undo "):
        other.resume()


class ExplodingLoss(TripletRankingLoss):
    """A loss that is infinite after a third of the run."""

    def begin_step(self, progress):
        self.factor = 1.0 if progress < 1 / 3 else math.inf

    def forward(self, logits, targets):
        loss = super().forward(logits, targets)
        return LossValue(loss.value * self.factor, loss.active)


def test_a_loss_that_is_not_finite_stops_the_run_with_a_one_line_error(tmp_path, monkeypatch):
    add_loss(monkeypatch, "exploding", ExplodingLoss)
    config = settings(loss="exploding", snapshot_steps=1, display_steps=1)
    one = trainer(config, digit_data(config), tmp_path / "run")
    with pytest.raises(
        TrainingError, match=r"the loss is inf at step 5: lower `learning_rate=...`"
    ) as found:
        one.fit()
    assert "\n" not in str(found.value)
    assert f"snapshots up to step 4 are kept in {one.run.path}" in str(found.value)
    assert all(math.isfinite(line["loss"]) for line in one.run.read_metrics() if "loss" in line)


def test_momentum_of_another_shape_is_refused(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert momentum_of(one.learner, one.optimiser) == {}
    # Empty after steps whose gradients all overflowed.
    load_momentum(one.learner, one.optimiser, {})
    one.fit(should_stop=stop_after(2))
    buffers = momentum_of(one.learner, one.optimiser)
    name = "model.heads.0.linear.bias"
    for wrong, found in (
        ({key: value for key, value in buffers.items() if key != name}, "none"),
        (buffers | {name: torch.zeros(3)}, r"\[3\]"),
    ):
        with pytest.raises(CheckpointError, match=rf"shape \[12\] for {name}, found {found}: "):
            load_momentum(one.learner, one.optimiser, wrong)
