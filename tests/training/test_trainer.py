"""The training loop: what is learned, from which images, in which order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from trainer_samples import (
    LEARNING,
    held_out,
    without_speed,
)
from training_samples import (
    checkpoint_files,
    digit_data,
    digits,
    settings,
    trainer,
    triplet_data,
)

from hashkit.datasets.digits import open_digits
from hashkit.datasets.split import holdout
from hashkit.errors import ConfigError
from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.data import StreamedPixels
from hashkit.training.prepare import prepare_labelled
from hashkit.training.selection import held_out_score

pytestmark = pytest.mark.usefixtures("tiny_network")


# Learning


@pytest.mark.end_to_end
def test_digits_are_learned(tmp_path):
    config = settings(**LEARNING)
    data = digit_data(config, 500)
    one = trainer(config, data, tmp_path / "run")
    start = held_out(one)
    result = one.fit()
    assert start < 0.5
    # Four seeds gave .77 to .82, and .32 to .39 before the first step.
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
    # Four seeds gave .96 to .98, and .83 to .86 before the first step; chance is .5.
    assert result.best_score > max(0.9, start + 0.05)


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
    asked = [rows for selects, rows in recorded.asked if not selects]
    for rows, items in zip(asked, expected, strict=True):
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
