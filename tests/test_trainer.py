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
    digit_data,
    digits,
    open_run,
    settings,
    trainer,
    triplet_data,
)

import hashkit.training.trainer as trainer_module
from hashkit.datasets.digits import open_digits
from hashkit.datasets.split import holdout
from hashkit.errors import CheckpointError, ConfigError, DeviceError, TrainingError
from hashkit.runs import Run
from hashkit.training.checkpoint import load_model, read_checkpoint
from hashkit.training.data import StreamedPixels, TrainingData
from hashkit.training.devices import choose_device
from hashkit.training.optimiser import load_momentum, momentum_of
from hashkit.training.prepare import prepare_labelled
from hashkit.training.selection import held_out_score
from hashkit.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("tiny_network")

# Settings under which the tiny network learns in a second.
LEARNING = {
    "n_bits": 16,
    "margin": 6.0,
    "batch_size": 32,
    "steps": 200,
    "augmentation": "none",
    "validate_epochs": 10,
    "snapshot_steps": 500,
}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def checkpoints(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.checkpoints_path.iterdir()}


def without_speed(run: Run) -> list[dict]:
    return [
        {name: value for name, value in line.items() if name != "images_per_second"}
        for line in run.read_metrics()
    ]


def scores(monkeypatch, values):
    """Let looks at held-out images give these scores."""
    given = iter(values)
    monkeypatch.setattr(trainer_module, "held_out_score", lambda *_: next(given))


# Learning


def test_digits_are_learned(tmp_path):
    config = settings(**LEARNING)
    data = digit_data(config, 500)
    one = trainer(config, data, tmp_path / "run")
    start = held_out_score(one.model, data, CPU)
    result = one.fit()
    assert start < 0.3
    # Four seeds gave .48 to .64, from .14 to .24 before the first step.
    assert result.best_score > max(0.35, start + 0.15)
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
    )
    result = trainer(config, digit_data(config, 600), tmp_path / "run").fit()
    assert result.best_score > 0.4


def test_a_triplet_list_is_learned(tmp_path):
    config = settings(**LEARNING)
    data = triplet_data(config, 200, 1500)
    one = trainer(config, data, tmp_path / "run")
    start = held_out_score(one.model, data, CPU)
    result = one.fit()
    # Four seeds gave .81 to .94; chance is one half.
    assert result.best_score > max(0.75, start + 0.1)


def test_several_labels_an_image_are_learned_from(tmp_path):
    images = digits(100)
    hot = np.zeros((100, 12), dtype=np.uint8)
    hot[np.arange(100), images.labels] = 1
    hot[np.arange(100), 10 + images.labels % 2] = 1
    hot[:5] = 0
    images = dataclasses.replace(images, labels=hot, class_names=())
    config = settings(steps=60, batch_size=24, validate_epochs=5, snapshot_steps=500)
    data, _ = prepare_labelled(images, config)
    one = trainer(config, data, tmp_path / "run")
    before = held_out_score(one.model, data, CPU)
    assert one.fit().best_score > before


def test_the_held_out_score_of_triplets_counts_ties_half():
    """Codes that are all alike get one half."""
    config = settings(holdout=0.5)
    data = triplet_data(config)
    model = trainer_module.new_model(config, torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    assert held_out_score(model, data, CPU) == 0.5
    assert model.training


# What is learned from


class Recorded:
    """Pixels that write down which rows are asked for, and by whom."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.batches = []

    def __len__(self):
        return len(self._pixels)

    def prefetch(self, rows):
        self._pixels.prefetch(rows)

    def batch(self, rows):
        self.batches.append((torch.is_inference_mode_enabled(), rows.copy()))
        return self._pixels.batch(rows)

    def sample(self, n_images):
        return self._pixels.sample(n_images)


def test_steps_see_fitted_images_and_selection_no_queries_or_database(tmp_path):
    everything = open_digits().subset(np.arange(200))
    rest, training = holdout(everything.labels, np.arange(200), 0.5, seed=5)
    config = settings()
    data, _ = prepare_labelled(everything.subset(training), config)
    recorded = Recorded(data.pixels)
    trainer(config, dataclasses.replace(data, pixels=recorded), tmp_path / "run").fit()
    fitted = {int(row) for selects, rows in recorded.batches if not selects for row in rows}
    selecting = {int(row) for selects, rows in recorded.batches if selects for row in rows}
    assert fitted <= set(data.fit_items.tolist())
    assert len(fitted) > 0.9 * len(data.fit_items)
    assert selecting == set(data.fit_items.tolist()) | set(data.held_items.tolist())
    seen = {everything.names[training[row]] for row in fitted | selecting}
    assert seen.isdisjoint(everything.names[row] for row in rest)


def test_each_step_sees_the_batch_of_the_order(tmp_path):
    config = settings(holdout=0)
    data = digit_data(config)
    recorded = Recorded(data.pixels)
    one = trainer(config, dataclasses.replace(data, pixels=recorded), tmp_path / "run")
    one.fit()
    expected = [batch for epoch in range(3) for batch in one.order.epoch(epoch)][:12]
    for (_, rows), items in zip(recorded.batches, expected, strict=True):
        np.testing.assert_array_equal(rows, data.fit_items[items])


@pytest.mark.parametrize(("n_classes", "batch_size", "expected"), [(10, 60, 6), (10, 16, 4)])
def test_batches_hold_several_images_of_each_class(tmp_path, n_classes, batch_size, expected):
    config = settings(batch_size=batch_size)
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.order.group_size == expected
    config = dataclasses.replace(config, images_per_class=2)
    assert trainer(config, one.data, tmp_path / "run").order.group_size == 2


def test_epochs_give_the_number_of_steps(tmp_path):
    config = settings(steps=None, epochs=2.5, holdout=0)
    assert trainer(config, digit_data(config), tmp_path / "run").n_steps == round(2.5 * (80 // 16))


def test_too_few_images_are_refused(tmp_path):
    config = settings(holdout=0)
    data = dataclasses.replace(digit_data(config), fit_items=np.array([0, 1]))
    with pytest.raises(ConfigError, match="training needs 3 images or more, found 2"):
        trainer(config, data, tmp_path / "run")


# Determinism


def test_the_same_settings_give_the_same_bytes_whatever_torch_drew_before(tmp_path):
    config = settings()
    runs = []
    for name in ("one", "other"):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        one = trainer(config, digit_data(config), tmp_path / name)
        one.fit()
        # And torch's global generator is left as it was.
        assert torch.equal(torch.get_rng_state(), state)
        runs.append(one.run)
    assert checkpoints(runs[0]) == checkpoints(runs[1])
    assert without_speed(runs[0]) == without_speed(runs[1])


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


def test_streamed_images_give_the_same_bytes_as_images_in_memory(tmp_path):
    config = settings()
    data = digit_data(config)
    streamed = StreamedPixels(digits(), (8, 8), config.resize, n_workers=3)
    runs = []
    for name, pixels in (("memory", data.pixels), ("streamed", streamed)):
        one = trainer(config, dataclasses.replace(data, pixels=pixels), tmp_path / name)
        one.fit()
        runs.append(one.run)
    assert checkpoints(runs[0]) == checkpoints(runs[1])
    assert without_speed(runs[0]) == without_speed(runs[1])


# Selection


def test_held_out_images_choose_the_checkpoint(tmp_path, monkeypatch):
    scores(monkeypatch, [0.2, 0.7, 0.7, 0.1])
    config = settings(steps=16)
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.order.steps_per_epoch == 4
    result = one.fit()
    assert (result.best_step, result.best_score) == (8, 0.7)
    best = read_checkpoint(one.run.best_path)
    assert (best.step, best.state["best_step"], best.state["best_score"]) == (8, 8, 0.7)
    assert best.optimiser == {}
    held_out = [line for line in one.run.read_metrics() if "held_out" in line]
    assert [(line["step"], line["held_out"]) for line in held_out] == [
        (4, 0.2),
        (8, 0.7),
        (12, 0.7),
        (16, 0.1),
    ]
    assert one.run.checkpoint_path() == one.run.best_path


def test_the_chosen_checkpoint_scores_what_was_written(tmp_path):
    config = settings(steps=30, validate_epochs=2)
    data = digit_data(config)
    result = trainer(config, data, tmp_path / "run").fit()
    loaded = load_model(Run.open(tmp_path / "run").best_path)
    assert held_out_score(loaded.model, data, CPU) == result.best_score


def test_held_out_images_are_looked_at_every_few_epochs_and_at_the_end(tmp_path, monkeypatch):
    scores(monkeypatch, itertools.repeat(0.5))
    config = settings(steps=18, validate_epochs=2)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    looks = [line["step"] for line in one.run.read_metrics() if "held_out" in line]
    assert looks == [8, 16, 18]


def test_without_held_out_images_the_last_checkpoint_counts(tmp_path):
    config = settings(holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    result = one.fit()
    assert (result.best_step, result.best_score) == (None, None)
    assert not one.run.best_path.exists()
    assert one.run.checkpoint_path() == one.run.snapshot_path(12)
    assert not any("held_out" in line for line in one.run.read_metrics())


# What is written and told


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, [3, 6, 9, 12]), (1, [12]), (2, [9, 12]), (9, [3, 6, 9, 12])]
)
def test_so_many_snapshots_stay(tmp_path, keep, expected):
    config = settings(keep_snapshots=keep)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert [step for step, _ in one.run.snapshots()] == expected


def test_a_snapshot_an_epoch_by_default(tmp_path):
    config = settings(snapshot_steps=0, keep_snapshots=0, steps=10)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert [step for step, _ in one.run.snapshots()] == [4, 8, 10]


def test_metrics_have_a_line_an_interval_and_at_the_end(tmp_path):
    config = settings(steps=10, display_steps=4, holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    lines = [json.loads(line) for line in one.run.metrics_path.read_text().splitlines()]
    assert [(line["step"], line["epoch"]) for line in lines] == [(4, 1), (8, 2), (10, 2)]
    for line in lines:
        assert line["images_per_second"] > 0
        assert 0 < line["active"] <= 1
        assert line["learning_rate"] == one._learning_rate(line["step"] - 1)


def test_a_line_holds_the_mean_loss_since_the_one_before(tmp_path):
    means = []
    for n_display in (1, 4):
        config = settings(steps=8, display_steps=n_display)
        one = trainer(config, digit_data(config), tmp_path / str(n_display))
        one.fit()
        losses = [line["loss"] for line in one.run.read_metrics() if "loss" in line]
        means.append(np.reshape(losses, (2, -1)).mean(axis=1))
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_progress_is_told_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("hashkit.training.progress._REPORT_SECONDS", 0.0)
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    reports = []
    one.fit(on_step=reports.append)
    assert [report.step for report in reports] == list(range(1, 13))
    assert {report.n_steps for report in reports} == {12}
    assert [report.epoch for report in reports] == [1] * 4 + [2] * 4 + [3] * 4
    held_out = {line["step"]: line["held_out"] for line in one.run.read_metrics() if len(line) == 2}
    assert [report.held_out for report in reports] == [
        *[None] * 4,
        *[held_out[4]] * 4,
        *[held_out[8]] * 4,
    ]


def test_the_checkpoint_says_what_it_is(tmp_path):
    config = settings(seed=7)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    manifest = read_checkpoint(one.run.snapshots()[-1][1]).manifest
    assert (manifest.n_bits, manifest.size, manifest.resize) == (12, (8, 8), "crop-bilinear")
    assert (manifest.network, manifest.loss, manifest.seed) == ("tiny", "triplet", 7)
    assert (manifest.dataset, manifest.class_names) == ("digits", tuple("0123456789"))
    assert manifest.versions["torch"] == torch.__version__


# Stopping and resuming


def stop_after(n_steps):
    """A question that is answered yes after so many steps; asked once before each."""
    asked = itertools.count()
    return lambda: next(asked) > n_steps


@pytest.mark.parametrize(
    ("n_steps", "changes"),
    [(1, {}), (4, {}), (7, {}), (11, {}), (5, {"momentum": 0.0}), (5, {"nesterov": True})],
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
    assert checkpoints(open_run(tmp_path / "run")) == checkpoints(open_run(tmp_path / "whole"))


def test_a_stopped_triplet_run_resumes_to_the_same_bytes(tmp_path):
    config = settings(keep_snapshots=1)
    data = triplet_data(config)
    trainer(config, data, tmp_path / "whole").fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    second.fit()
    assert checkpoints(open_run(tmp_path / "run")) == checkpoints(open_run(tmp_path / "whole"))


def test_resuming_rewinds_the_metrics_to_the_snapshot(tmp_path):
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
    assert (second.best_step, second.best_score, second.held_out) == (4, 0.9, 0.9)
    assert second.fit().best_step == 4
    assert read_checkpoint(second.run.best_path).step == 4


def test_without_a_snapshot_a_run_starts_anew(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.run.append_metrics({"step": 3, "loss": 1.0})
    assert one.resume() == 0
    assert one.run.read_metrics() == []


def test_a_finished_run_resumes_to_its_end_and_changes_nothing(tmp_path):
    config = settings()
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit()
    before, metrics = checkpoints(one.run), one.run.read_metrics()
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    result = second.fit()
    assert result.is_done
    assert (checkpoints(second.run), second.run.read_metrics()) == (before, metrics)


def test_a_run_that_is_stopped_before_its_first_step_writes_nothing(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert one.fit(should_stop=lambda: True).step == 0
    assert checkpoints(one.run) == {}


@pytest.mark.parametrize("changes", [{"seed": 5}, {"steps": 24}, {"learning_rate": 0.07}], ids=str)
def test_resuming_with_other_settings_is_refused(tmp_path, changes):
    config = settings()
    data = digit_data(config)
    trainer(config, data, tmp_path / "run").fit()
    other = trainer(dataclasses.replace(config, **changes), data, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"was made with other settings than .*config.json"):
        other.resume()
    assert other.step == 0


@pytest.mark.parametrize("n_images", [79, 81])
def test_resuming_with_other_images_is_refused(tmp_path, n_images):
    config = settings()
    trainer(config, digit_data(config), tmp_path / "run").fit()
    other = trainer(config, digit_data(config, n_images), tmp_path / "run")
    with pytest.raises(CheckpointError, match="was made from other training images"):
        other.resume()


def test_a_loss_that_is_no_number_stops_the_run_with_one_line(tmp_path):
    config = settings(learning_rate=1e30, clip_norm=0.0, snapshot_steps=1, display_steps=1)
    one = trainer(config, digit_data(config), tmp_path / "run")
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) at step \d+: lower --lr"
    ) as found:
        one.fit()
    assert "\n" not in str(found.value)
    assert all(math.isfinite(line["loss"]) for line in one.run.read_metrics() if "loss" in line)


def test_momentum_that_does_not_fit_is_refused(tmp_path):
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert momentum_of(one.model, one.optimiser) == {}
    # As after steps whose gradients all overflowed.
    load_momentum(one.model, one.optimiser, {})
    one.fit(should_stop=stop_after(2))
    buffers = momentum_of(one.model, one.optimiser)
    name = "network.layers.7.bias"
    for wrong in (
        {key: value for key, value in buffers.items() if key != name},
        buffers | {name: torch.zeros(3)},
    ):
        with pytest.raises(CheckpointError, match=f"no momentum for {name} that fits"):
            load_momentum(one.model, one.optimiser, wrong)


# Devices and precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_the_cpu_is_refused(tmp_path, precision):
    config = settings(precision=precision)
    with pytest.raises(ConfigError, match=f"precision {precision} .* on the CPU use fp32"):
        trainer(config, digit_data(config), tmp_path / "run")


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == CPU
    assert choose_device("auto") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"^--device {name}: torch .*; use --device cpu$"):
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
    assert str(caught.value) == "--device cuda:7: CUDA error: invalid device ordinal"


@pytest.mark.gpu
@needs_cuda
def test_auto_takes_the_gpu():
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match=r"^--device cuda:99: "):
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
    """Weights agree to rounding: sums on the GPU may be ordered anew in each process."""
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
