"""Class-balanced batches: their composition, their settings, and resuming."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from looped import looped
from training_samples import digit_data, settings, trainer, triplet_data, unlabelled_data

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.training.ordering import batch_order
from hashkit.training.sampling import BatchOrder

LABELS = np.repeat([4, 0, 7, 2, 5], [600, 90, 11, 40, 2])


def test_a_batch_holds_as_many_images_of_each_class_however_rare_it_is():
    order = BatchOrder(len(LABELS), 24, seed=3, labels=LABELS, group_size=6, n_classes=3)
    batches = np.concatenate([order.epoch(epoch) for epoch in range(4)])
    assert batches.shape == (4 * (len(LABELS) // 24), 18)
    n_batches = dict.fromkeys(np.unique(LABELS).tolist(), 0)
    for batch in batches:
        classes, counts = np.unique(LABELS[batch], return_counts=True)
        assert counts.tolist() == [6, 6, 6]
        for name in classes.tolist():
            n_batches[name] += 1
            own = batch[LABELS[batch] == name]
            # The class with two images repeats them, as evenly as it can.
            assert len(np.unique(own)) == (2 if name == 5 else 6)
    assert max(n_batches.values()) - min(n_batches.values()) <= 4  # one for each epoch


def test_images_of_a_class_are_taken_in_turn():
    order = BatchOrder(len(LABELS), 24, seed=3, labels=LABELS, group_size=6, n_classes=5)
    drawn = np.bincount(order.epoch(0).ravel(), minlength=len(LABELS))
    for name, most in ((4, 1), (0, 2), (7, 17), (2, 5)):
        counts = drawn[name == LABELS]
        assert counts.max() <= most
        assert counts.max() - counts.min() <= 1


def test_balanced_batches_depend_on_seed_and_epoch_alone():
    first = BatchOrder(len(LABELS), 24, seed=3, labels=LABELS, group_size=6, n_classes=3)
    epochs = [first.epoch(epoch) for epoch in (2, 0, 2)]
    np.testing.assert_array_equal(epochs[0], epochs[2])
    assert (epochs[0] != epochs[1]).any()
    assert (dataclasses.replace(first, seed=4).epoch(2) != epochs[0]).any()


@pytest.mark.usefixtures("tiny_network")
def test_the_settings_choose_classes_and_images_of_a_batch():
    config = settings(sampler="balanced", batch_size=60)
    data = digit_data(config)
    for images_per_class, expected in ((0, (10, 6)), (20, (3, 20)), (7, (8, 7)), (30, (2, 30))):
        order = batch_order(dataclasses.replace(config, images_per_class=images_per_class), data)
        assert (order.n_classes, order.group_size) == expected
    small = batch_order(dataclasses.replace(config, batch_size=5), data)
    assert (small.n_classes, small.group_size) == (2, 2)
    # Losses that compare no images take balanced batches too.
    other = batch_order(dataclasses.replace(config, loss="orthohash", margin=None), data)
    assert other.epoch(0).shape == (len(data.fit_items) // 60, 60)


@looped(
    ("changes", "message"),
    [
        (
            {"batch_size": 3},
            r"^`sampler=\"balanced\"` needs a `batch_size` of at least 4, .* not 3",
        ),
        ({"images_per_class": 1}, r"needs `images_per_class` between 2 and half .* 50, not 1: "),
        ({"images_per_class": 51}, r"needs `images_per_class` between 2 and half .* 50, not 51: "),
        ({"sampler": "even"}, r"^unknown sampler 'even'; known: shuffled, balanced$"),
    ],
)
def test_a_batch_that_cannot_hold_two_of_a_class_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**{"sampler": "balanced"} | changes)


@pytest.mark.usefixtures("tiny_network")
def test_balanced_batches_need_one_label_per_image():
    config = settings(sampler="balanced", loss="triplet")
    several = digit_data(config)
    several = dataclasses.replace(several, labels=np.eye(10, dtype=np.uint8)[several.labels])
    for data, found in (
        (triplet_data(config), "a list of triplets"),
        (unlabelled_data(config), "no or several labels"),
        (several, "no or several labels"),
    ):
        with pytest.raises(ConfigError, match=rf"needs images with one label each, found {found}"):
            batch_order(config, data)


@pytest.mark.end_to_end
@pytest.mark.usefixtures("tiny_network")
def test_a_stopped_run_with_balanced_batches_resumes_to_the_same_weights(tmp_path):
    config = settings(sampler="balanced", loss="multi-similarity", margin=None, steps=8)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    first = trainer(config, data, tmp_path / "run")
    first.fit(should_stop=lambda: first.step >= 5)
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 5
    second.fit()
    weights = [one.learner.model.state_dict() for one in (whole, second)]
    for name, value in weights[0].items():
        assert value.equal(weights[1][name]), name
