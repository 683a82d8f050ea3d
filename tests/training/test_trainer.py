from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from training_samples import (
    CPU,
    TINY,
    WALL_TIME,
    TinyNetwork,
    add_loss,
    add_network,
    checkpoint_files,
    digit_data,
    digits,
    open_run,
    settings,
    trainer,
    triplet_data,
    unlabelled_data,
)

import hashkit.training.trainer as trainer_module
from hashkit.datasets.digits import open_digits
from hashkit.datasets.split import holdout
from hashkit.errors import CheckpointError, ConfigError, DeviceError, TrainingError
from hashkit.runs.run import Run
from hashkit.training import recorder
from hashkit.training.checkpoint import load_model, read_checkpoint
from hashkit.training.data import StreamedPixels, TrainingData
from hashkit.training.devices import choose_device
from hashkit.training.losses import LOSSES, MAX_TRIPLET_BATCH, Loss, LossValue
from hashkit.training.losses.triplet import TripletRankingLoss
from hashkit.training.model import HashModel, new_model
from hashkit.training.networks import NetworkKind
from hashkit.training.optimisers import load_momentum, momentum_of
from hashkit.training.prepare import prepare_labelled
from hashkit.training.recipes import describe_recipe
from hashkit.training.selection import held_out_score
from hashkit.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("tiny_network")

# Settings under which the tiny network learns in a second.
LEARNING = {
    "lengths": (16,),
    "margin": 1.0,
    "batch_size": 32,
    "steps": 120,
    "augmentation": "none",
    "validate_epochs": 10,
    "snapshot_steps": 500,
}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def held_out(one: Trainer) -> float:
    """Held-out score of a trainer's current model."""
    one.learner.eval()
    return held_out_score(one._encode, one.data, one.config.lengths)


def assert_same_checkpoints(found, expected) -> None:
    assert checkpoint_files(open_run(found)) == checkpoint_files(open_run(expected))


def without_speed(run: Run) -> list[dict]:
    return [
        {name: value for name, value in line.items() if name not in WALL_TIME}
        for line in run.read_metrics()
    ]


def scores(monkeypatch, values):
    """Let validations return these scores."""
    given = iter(values)
    monkeypatch.setattr(trainer_module, "held_out_score", lambda *_: next(given))


# Learning


@pytest.mark.end_to_end
def test_digits_are_learned(tmp_path):
    config = settings(**LEARNING)
    data = digit_data(config, 500)
    one = trainer(config, data, tmp_path / "run")
    start = held_out(one)
    result = one.fit()
    assert start < 0.3
    # Four seeds gave .74 to .77, and .14 to .24 before the first step.
    assert result.best_score > 0.65
    losses = [line["loss"] for line in one.run.read_metrics() if "loss" in line]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.slow
def test_digits_are_learned_by_the_papers_network(tmp_path):
    config = settings(
        network="dnnh",
        margin=6.0,
        dropout=0.0,
        learning_rate=0.01,
        batch_size=64,
        steps=60,
        augmentation="none",
        validate_epochs=10,
        snapshot_steps=500,
        calibrate=True,
    )
    result = trainer(config, digit_data(config, 600), tmp_path / "run").fit()
    assert result.best_score > 0.4


@pytest.mark.end_to_end
def test_a_triplet_list_is_learned(tmp_path):
    config = settings(**LEARNING)
    data = triplet_data(config, 200, 1500)
    one = trainer(config, data, tmp_path / "run")
    start = held_out(one)
    result = one.fit()
    # Four seeds gave .95 to .98, and .53 to .70 before the first step; chance is .5.
    assert result.best_score > max(0.85, start + 0.1)


@pytest.mark.end_to_end
def test_several_labels_per_image_are_learned(tmp_path):
    images = digits(100)
    hot = np.zeros((100, 12), dtype=np.uint8)
    hot[np.arange(100), images.labels] = 1
    hot[np.arange(100), 10 + images.labels % 2] = 1
    hot[:5] = 0
    images = dataclasses.replace(images, labels=hot, class_names=())
    config = settings(steps=60, batch_size=24, validate_epochs=5, snapshot_steps=500)
    data, _ = prepare_labelled(images, config)
    one = trainer(config, data, tmp_path / "run")
    before = held_out(one)
    assert one.fit().best_score > before


def test_the_held_out_score_of_triplets_counts_ties_half():
    """Equal codes score 0.5."""
    config = settings(holdout=0.5)
    data = triplet_data(config)

    def encode(rows):
        return np.zeros((len(rows), 12), dtype=np.float32)

    assert held_out_score(encode, data, (12,)) == 0.5


# Training data


class Recorded:
    """Pixels that record the rows of each batch, and whether it is for inference."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.asked = []

    def __len__(self):
        return len(self._pixels)

    def batch(self, rows):
        self.asked.append((torch.is_inference_mode_enabled(), rows.copy()))
        return self._pixels.batch(rows)

    def batches(self, rows_of_batches):
        for rows in rows_of_batches:
            yield self.batch(rows)

    def sample(self, n_images):
        return self._pixels.sample(n_images)

    def on(self, _):
        return self


def test_steps_use_only_fitted_images_and_selection_uses_no_queries_or_database(tmp_path):
    everything = open_digits().subset(np.arange(200))
    rest, training = holdout(everything.labels, np.arange(200), 0.5, seed=5)
    config = settings()
    data, _ = prepare_labelled(everything.subset(training), config)
    recorded = Recorded(data.pixels)
    trainer(config, dataclasses.replace(data, pixels=recorded), tmp_path / "run").fit()
    fitted = {int(row) for selects, rows in recorded.asked if not selects for row in rows}
    selecting = {int(row) for selects, rows in recorded.asked if selects for row in rows}
    assert fitted <= set(data.fit_items.tolist())
    assert len(fitted) > 0.9 * len(data.fit_items)
    assert selecting == set(data.fit_items.tolist()) | set(data.held_items.tolist())
    seen = {everything.names[training[row]] for row in fitted | selecting}
    assert seen.isdisjoint(everything.names[row] for row in rest)


def test_each_step_gets_the_batch_of_the_order(tmp_path):
    config = settings(holdout=0)
    data = digit_data(config)
    recorded = Recorded(data.pixels)
    one = trainer(config, dataclasses.replace(data, pixels=recorded), tmp_path / "run")
    one.fit()
    expected = [batch for epoch in range(3) for batch in one.order.epoch(epoch)][:12]
    for (_, rows), items in zip(recorded.asked, expected, strict=True):
        np.testing.assert_array_equal(rows, data.fit_items[items])


@pytest.mark.parametrize(("n_classes", "batch_size", "expected"), [(10, 60, 6), (10, 16, 4)])
def test_batches_hold_several_images_of_each_class(tmp_path, n_classes, batch_size, expected):
    config = settings(batch_size=batch_size)
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.order.group_size == expected
    config = dataclasses.replace(config, images_per_class=2)
    assert trainer(config, one.data, tmp_path / "run").order.group_size == 2


def test_epochs_determine_the_number_of_steps(tmp_path):
    config = settings(steps=None, epochs=2.5, holdout=0)
    assert trainer(config, digit_data(config), tmp_path / "run").n_steps == round(2.5 * (80 // 16))


def test_too_few_images_are_refused(tmp_path):
    config = settings(holdout=0)
    data = dataclasses.replace(digit_data(config), fit_items=np.array([0, 1]))
    with pytest.raises(ConfigError, match=r"training needs at least 3 images besides .*, found 2"):
        trainer(config, data, tmp_path / "run")


# Determinism


def test_equal_settings_give_equal_bytes_whatever_torchs_generator_state(tmp_path):
    config = settings()
    runs = []
    for name in ("one", "other"):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        one = trainer(config, digit_data(config), tmp_path / name)
        one.fit()
        # Training does not change torch's global generator.
        assert torch.equal(torch.get_rng_state(), state)
        runs.append(one.run)
    assert checkpoint_files(runs[0]) == checkpoint_files(runs[1])
    assert without_speed(runs[0]) == without_speed(runs[1])


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"dropout": 0.3}, {"augmentation": "none"}, {"momentum": 0.8}], ids=str
)
def test_other_settings_give_other_weights(tmp_path, changes):
    hashes = set()
    for name, config in (("one", settings()), ("other", settings(**changes))):
        one = trainer(config, digit_data(settings()), tmp_path / name)
        one.fit()
        final = read_checkpoint(one.run.snapshots()[-1][1])
        hashes.add(final.manifest.weights_sha256)
    assert len(hashes) == 2


@pytest.mark.end_to_end
def test_streamed_images_give_the_same_bytes_as_images_in_memory(tmp_path):
    config = settings()
    data = digit_data(config)
    streamed = StreamedPixels(digits(), (8, 8), config.resize, n_workers=3)
    runs = []
    for name, pixels in (("memory", data.pixels), ("streamed", streamed)):
        one = trainer(config, dataclasses.replace(data, pixels=pixels), tmp_path / name)
        one.fit()
        runs.append(one.run)
    assert checkpoint_files(runs[0]) == checkpoint_files(runs[1])
    assert without_speed(runs[0]) == without_speed(runs[1])


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


@pytest.mark.end_to_end
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
        assert line["learning_rate"] == one._learning_rate(line["step"] - 1)


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


# Stopping and resuming


def stop_after(n_steps):
    """A ``should_stop`` that is true after ``n_steps`` steps: it is called before each."""
    calls = itertools.count()
    return lambda: next(calls) >= n_steps


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


@pytest.mark.end_to_end
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


@pytest.mark.end_to_end
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


def test_a_loss_that_is_not_finite_stops_the_run_with_one_line(tmp_path, monkeypatch):
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


# All kinds of losses


def data_for(loss, config):
    return digit_data(config) if LOSSES[loss].learns_from == "labels" else unlabelled_data(config)


# Losses with parameters, with buffers, that depend on progress, of features and of views.
@pytest.mark.end_to_end
@pytest.mark.parametrize("loss", ["greedyhash", "csq", "hashnet", "bihalf", "cibhash"])
def test_a_stopped_run_of_any_loss_resumes_to_the_same_bytes(tmp_path, loss):
    config = settings(loss=loss, steps=8, keep_snapshots=1, lengths=(16, 8))
    data = data_for(loss, config)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(4))
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 4
    second.fit()
    assert checkpoint_files(second.run) == checkpoint_files(whole.run)
    losses = read_checkpoint(whole.run.snapshots()[-1][1]).losses
    assert losses.keys() == whole.learner.losses.state_dict().keys()


class RememberingLoss(Loss):
    """A loss with a learned parameter and a buffer that counts calls."""

    compares_images = False

    def __init__(self, task):
        super().__init__(task)
        self.weight = torch.nn.Parameter(torch.randn(task.n_bits))
        self.register_buffer("n_calls", torch.tensor(0))
        self.progress = []

    def begin_step(self, progress):
        self.progress.append(progress)

    def forward(self, logits, targets):  # noqa: ARG002
        self.n_calls += 1
        value = ((logits - self.weight) * (1 + 0.1 * self.n_calls)).square().mean()
        return LossValue(value, torch.tensor(1.0))


def test_parameters_and_buffers_of_a_loss_are_saved(tmp_path, monkeypatch):
    add_loss(monkeypatch, "remembering", RememberingLoss)
    config = settings(loss="remembering", holdout=0, keep_snapshots=0, weight_decay=0.5)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    before = whole.learner.losses[0].weight.detach().clone()
    whole.fit()
    first = trainer(config, data, tmp_path / "run")
    first.fit(should_stop=lambda: first.step >= 6)
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 6
    assert second.learner.losses[0].n_calls == 6
    second.fit()
    assert second.learner.losses[0].progress == [step / 12 for step in range(6, 12)]
    found, expected = (read_checkpoint(one.run.snapshot_path(12)) for one in (second, whole))
    for kind in ("model", "losses", "optimiser"):
        assert getattr(found, kind).keys() == getattr(expected, kind).keys()
        for name, value in getattr(expected, kind).items():
            assert torch.equal(getattr(found, kind)[name], value), name
    assert expected.losses["0.n_calls"] == 12
    assert not torch.equal(expected.losses["0.weight"], before)
    assert "losses.0.weight" in expected.optimiser
    assert whole.order.group_size == 1  # it compares no images


class WatchingLoss(RememberingLoss):
    """A loss without labels that keeps its arguments."""

    def forward(self, logits, targets):
        self.seen = logits.detach().clone(), targets
        return super().forward(logits, targets)


class ViewsLoss(WatchingLoss):
    learns_from = "views"


class FeaturesLoss(WatchingLoss):
    learns_from = "features"


@pytest.mark.parametrize("augmentation", ["none", "shift"])
@pytest.mark.parametrize("freeze", [0, -1])
def test_a_loss_that_learns_from_views_gets_two_per_image(
    tmp_path, monkeypatch, augmentation, freeze
):
    add_loss(monkeypatch, "views", ViewsLoss)
    # Without dropout, an image's two logits differ only if its views do.
    config = settings(
        loss="views", augmentation=augmentation, dropout=0.0, freeze=freeze, batch_size=15
    )
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    one.fit(should_stop=stop_after(1))
    logits, targets = one.learner.losses[0].seen
    assert logits.shape == (30, 12)
    assert targets.tolist() == [*range(15), *range(15)]
    same = torch.isclose(logits[:15], logits[15:], atol=1e-5).all(dim=1)
    assert same.all() if augmentation == "none" else (~same).sum() > 10
    assert not torch.isclose(logits[0], logits[1], atol=1e-3).all()


def test_a_loss_that_learns_from_features_gets_those_of_the_network(tmp_path, monkeypatch):
    add_loss(monkeypatch, "features", FeaturesLoss)
    config = settings(loss="features", augmentation="none", freeze=-1, lengths=(12, 5))
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    one.fit(should_stop=stop_after(1))
    rows = one.data.fit_items[one.order.epoch(0)[one.step - 1]]
    with torch.no_grad():
        expected = one.learner.model.features(one.data.pixels.batch(rows))
    for loss in one.learner.losses:
        _, targets = loss.seen
        assert not targets.requires_grad
        torch.testing.assert_close(targets, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [name for name in LOSSES if LOSSES[name].learns_from != "labels"])
def test_without_labels_the_last_checkpoint_is_used(tmp_path, loss):
    config = settings(loss=loss, steps=4)
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    before = one.learner.model.heads[0].linear.weight.detach().clone()
    result = one.fit()
    assert (result.best_step, result.best_score) == (None, None)
    assert one.run.checkpoint_path() == one.run.snapshot_path(4)
    assert not torch.equal(one.learner.model.heads[0].linear.weight, before)
    assert one.order.labels is None
    assert one.data.fit_items.tolist() == list(range(80))


def test_a_triplet_list_needs_a_loss_that_takes_triplets(tmp_path):
    config = settings(loss="orthohash")
    with pytest.raises(ConfigError) as caught:
        trainer(config, triplet_data(config), tmp_path / "run")
    assert str(caught.value) == (
        "the loss orthohash cannot learn from a triplet list: use the loss triplet or dtsh"
    )


LARGE = MAX_TRIPLET_BATCH + 1


@pytest.mark.parametrize("loss", LOSSES)
def test_only_losses_that_compare_all_triplets_limit_the_batch(tmp_path, loss):
    """Of 513 images and more in a batch, of labels; a list gives its own triplets alone."""
    changes = {"augmentation": "views"} if loss == "cibhash" else {}
    config = settings(loss=loss, batch_size=LARGE, **changes)
    data = digit_data(settings(loss=loss, **changes))
    if LOSSES[loss].takes_triplets:
        with pytest.raises(ConfigError, match=rf"^`batch_size` must be at most 512 .* {loss}, not"):
            trainer(config, data, tmp_path / "run")
        with pytest.raises(ConfigError, match=r"not 513: it compares all triplets of a batch"):
            prepare_labelled(open_digits(), config)
        trainer(config, triplet_data(settings(loss=loss)), tmp_path / "listed")
    else:
        assert trainer(config, data, tmp_path / "run").order.batch_size == LARGE


# Several code lengths


def test_several_lengths_share_a_network_and_the_mean_of_their_losses(tmp_path):
    config = settings(lengths=(12, 5), dropout=0.0, augmentation="none")
    one = trainer(config, digit_data(config), tmp_path / "run")
    rows = one.data.fit_items[one.order.epoch(0)[0]]
    labels = torch.from_numpy(one.data.labels[rows])
    one.learner.eval()
    features = one.learner.model.features(one.data.pixels.batch(rows))
    logits = one.learner.model.logits(features)
    assert logits.shape == (16, 17)
    each = [
        loss(part, labels)
        for loss, part in zip(one.learner.losses, logits.split([12, 5], dim=1), strict=True)
    ]
    found = one.learner.loss(logits, features, labels)
    assert found.value.item() == pytest.approx((each[0].value + each[1].value).item() / 2)
    assert found.active.item() == pytest.approx((each[0].active + each[1].active).item() / 2)
    found.value.backward()
    assert all(head.linear.weight.grad.abs().sum() > 0 for head in one.learner.model.heads)


def test_the_held_out_score_is_the_mean_over_lengths():
    config = settings(holdout=0.5)
    for data in (digit_data(config), triplet_data(config)):
        rng = np.random.default_rng(0)
        logits = rng.standard_normal((len(data.pixels), 17)).astype(np.float32)
        joint = held_out_score(lambda rows, logits=logits: logits[rows], data, (12, 5))
        one, other = (
            held_out_score(lambda rows, logits=part: logits[rows], data, (part.shape[1],))
            for part in (logits[:, :12], logits[:, 12:])
        )
        assert one != other
        assert joint == pytest.approx((one + other) / 2, rel=1e-12)


# Frozen stages and cached features


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("freeze", "n_frozen"), [(1, 1), (-1, 2)])
def test_frozen_stages_do_not_change(tmp_path, freeze, n_frozen):
    config = settings(freeze=freeze, weight_decay=0.1)
    one = trainer(config, digit_data(config), tmp_path / "run")
    stages = one.learner.model.network.stages()
    before = [state_of(stage) for stage in stages]
    head = one.learner.model.heads[0].linear.weight
    first_head = head.detach().clone()
    one.fit()
    for index, (stage, old) in enumerate(zip(stages, before, strict=True)):
        new = stage.state_dict()
        unchanged = {name for name in old if torch.equal(old[name], new[name])}
        assert unchanged == (set(old) if index < n_frozen else set())
    assert not torch.equal(head, first_head)


class CountedTiny(TinyNetwork):
    """A network that counts its input images."""

    n_images = 0

    def forward(self, images):
        type(self).n_images += len(images)
        return super().forward(images)


@pytest.fixture
def counted(monkeypatch):
    kind = dataclasses.replace(TINY, build=lambda _, dropout, __: CountedTiny(dropout))
    add_network(monkeypatch, "counted", kind)
    monkeypatch.setattr(CountedTiny, "n_images", 0)
    return CountedTiny


def test_fixed_features_are_computed_once(tmp_path, counted, monkeypatch):
    config = settings(network="counted", freeze=-1, augmentation="none")
    data = digit_data(config)
    cached = trainer(config, data, tmp_path / "cached")
    assert cached.has_fixed_features
    counted.n_images = 0  # without the image of the size check
    reported = []
    cached.compute_features(lambda *at: reported.append(at))
    assert reported[-1] == (80, 80)
    cached.fit()
    assert counted.n_images == 80
    monkeypatch.setattr(Trainer, "has_fixed_features", False)
    plain = trainer(config, data, tmp_path / "plain")
    plain.fit()
    assert counted.n_images > 80 + 12 * 16  # each step computes its features
    found, expected = (read_checkpoint(one.run.snapshot_path(12)) for one in (cached, plain))
    for kind in ("model", "optimiser"):
        for name, value in getattr(expected, kind).items():
            # The order of sums may depend on the batch size.
            torch.testing.assert_close(getattr(found, kind)[name], value, rtol=1e-4, atol=1e-5)
    scores = [[line["held_out"] for line in one.run.read_metrics() if "held_out" in line]
             for one in (cached, plain)]  # fmt: skip
    assert scores[0] == pytest.approx(scores[1])
    assert len(scores[0]) == 3


@pytest.mark.parametrize(
    "changes", [{"freeze": 1}, {"augmentation": "shift"}, {"freeze": 0}], ids=str
)
def test_features_that_change_are_not_cached(tmp_path, counted, changes):
    config = settings(
        **{"network": "counted", "freeze": -1, "augmentation": "none", "holdout": 0} | changes
    )
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert not one.has_fixed_features
    counted.n_images = 0  # without the image of the size check
    one.compute_features()
    assert counted.n_images == 0
    one.fit()
    assert counted.n_images == 12 * 16


def test_features_that_do_not_fit_into_memory_are_not_cached(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(trainer_module, "memory_limit", lambda _: 80 * 64 * 4 - 1)
    config = settings(network="counted", freeze=-1, augmentation="none", holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert counted.n_images >= 12 * 16
    assert one.learner.training


class DrawingLoss(RememberingLoss):
    """A loss that uses torch's global generator."""

    def forward(self, logits, targets):
        return super().forward(logits + 0.1 * torch.rand_like(logits), targets)


@pytest.mark.end_to_end
def test_randomness_of_heads_and_losses_depends_on_seed_and_step_with_cached_features(
    tmp_path, monkeypatch
):
    add_loss(monkeypatch, "drawing", DrawingLoss)
    config = settings(
        network="compact", loss="drawing", dropout=0.5, freeze=-1, augmentation="none", steps=6
    )
    data = digit_data(config, 40)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(3))
    torch.manual_seed(99)
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    second.fit()
    assert checkpoint_files(second.run) == checkpoint_files(whole.run)


# Start of a run


class CalibratedTiny(TinyNetwork):
    """A network that records the arguments of its calibration."""

    def calibrate(self, images, heads):
        self.calibrated = images, heads, self.training


@pytest.mark.parametrize(
    ("pretrained", "has_weights", "calibrate", "expected"),
    [
        (True, False, True, True),
        (False, True, True, True),
        (True, True, True, False),
        (True, False, False, False),
    ],
)
def test_only_random_weights_are_calibrated(
    tmp_path, monkeypatch, pretrained, has_weights, calibrate, expected
):
    kind = NetworkKind("", lambda _, dropout, __: CalibratedTiny(dropout), has_weights=has_weights)
    add_network(monkeypatch, "calibrated", kind)
    config = settings(
        network="calibrated", pretrained=pretrained, calibrate=calibrate, lengths=(4, 6)
    )
    one = trainer(config, digit_data(config), tmp_path / "run")
    network = one.learner.model.network
    assert hasattr(network, "calibrated") == expected
    if expected:
        images, heads, training = network.calibrated
        assert images.shape == (80, 3, 8, 8)
        assert images.mean().abs() < 1e-3
        assert images.std() == pytest.approx(1, abs=1e-2)
        assert heads == list(one.learner.model.heads)
        assert not training


@pytest.mark.parametrize("network", ["compact", "dnnh"])
def test_without_calibration_initial_weights_are_unchanged(tmp_path, network):
    config = settings(network=network, calibrate=False)
    data = digit_data(config, 30)
    found = trainer(config, data, tmp_path / "run").learner.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        drawn = new_model(config, found.mean, found.std, dataset="")
    for name, value in drawn.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    adjusted = trainer(dataclasses.replace(config, calibrate=True), data, tmp_path / "run")
    changed = {
        name
        for name, value in adjusted.learner.model.state_dict().items()
        if not torch.equal(value, drawn.state_dict()[name])
    }
    weights = {name for name, value in drawn.named_parameters() if value.ndim > 1}
    assert changed & weights == ({"network.whiten.weight"} if network == "compact" else weights)


# Devices and precision


def test_fp16_on_the_cpu_is_refused(tmp_path):
    config = settings(precision="fp16")
    with pytest.raises(ConfigError, match=r"^`precision=\"fp16\"` needs a GPU"):
        trainer(config, digit_data(config), tmp_path / "run")


def test_bf16_on_the_cpu_runs_the_network_in_bf16_and_keeps_weights_in_fp32(tmp_path):
    config = settings(precision="bf16", steps=3)
    made = trainer(config, digit_data(config), tmp_path / "run")
    seen = []
    made.learner.model.network.register_forward_hook(
        lambda module, _, features: seen.append((module.training, features.dtype))
    )
    made.fit()
    assert {dtype for is_training, dtype in seen if is_training} == {torch.bfloat16}
    assert {dtype for is_training, dtype in seen if not is_training} == {torch.float32}
    assert {weights.dtype for weights in made.learner.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "changes", [{"augmentation": "crop"}, {"augmentation": "views", "loss": "cibhash"}], ids=str
)
def test_augmentation_is_the_same_in_every_precision(tmp_path, changes):
    seen = {}
    for precision in ("fp32", "bf16"):
        config = settings(precision=precision, steps=1, **changes)
        made = trainer(config, digit_data(config), tmp_path / precision)
        found = seen.setdefault(precision, [])
        made.learner.model.network.register_forward_pre_hook(
            lambda _, images, found=found: found.append(images[0].clone())
        )
        made.fit()
    assert seen["fp32"][0].dtype == torch.float32
    assert torch.equal(seen["fp32"][0], seen["bf16"][0])


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == CPU
    assert choose_device("auto") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f'^`device="{name}"`: torch .*; use `device="cpu"`$'):
            choose_device(name)
    for name in ("gpu", "cudart", "", "mps"):
        with pytest.raises(ConfigError, match=f"^unknown device '{name}'; known: auto, cpu, cuda"):
            choose_device(name)


def test_a_cuda_device_that_does_not_work_is_an_error_of_one_line(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("CUDA error: invalid device ordinal\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda:7")
    assert str(caught.value) == '`device="cuda:7"`: CUDA error: invalid device ordinal'


@pytest.mark.gpu
@needs_cuda
def test_auto_takes_the_gpu():
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match=r'^`device="cuda:99"`: '):
        choose_device("cuda:99")


def gpu_trainer(config, data: TrainingData, path) -> Trainer:
    return Trainer(config, data, open_run(path), torch.device("cuda"))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_on_the_gpu(tmp_path, precision):
    config = settings(**LEARNING, precision=precision)
    result = gpu_trainer(config, digit_data(config, 500), tmp_path / "run").fit()
    assert result.best_score > 0.35


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_stopped_run_resumes_on_the_gpu(tmp_path, precision):
    """Weights agree to rounding: the order of sums on the GPU may vary between processes."""
    config = settings(precision=precision)
    data = digit_data(config)
    gpu_trainer(config, data, tmp_path / "whole").fit()
    gpu_trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = gpu_trainer(config, data, tmp_path / "run")
    assert second.resume() > 0
    assert second.fit().is_done
    expected, found = (
        read_checkpoint(open_run(tmp_path / name).snapshot_path(12)) for name in ("whole", "run")
    )
    tolerance = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 2e-2}[precision]
    for name, value in expected.model.items():
        torch.testing.assert_close(found.model[name], value, rtol=tolerance, atol=tolerance)
    assert found.state["scaler"] == expected.state["scaler"]
