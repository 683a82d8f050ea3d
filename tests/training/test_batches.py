from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from looped import looped
from training_samples import digit_data, settings, triplet_data, unlabelled_data

from hashkit.overlap import computed_ahead
from hashkit.training.augment import AUGMENTATIONS
from hashkit.training.batches import BatchAugmentation, BatchSource
from hashkit.training.data import FeatureViews
from hashkit.training.sampling import BatchOrder, draw_views

CPU = torch.device("cpu")
SIZE = (8, 8)
N_STEPS = 9
"""One epoch of six steps, and half of the next."""

pytestmark = pytest.mark.usefixtures("tiny_network")


def source(data, group_size, monkeypatch, name="crop", cutmix=0.5, n_views=1):
    made = BatchSource(
        data, BatchAugmentation(AUGMENTATIONS[name], cutmix, n_views, seed=3), SIZE, CPU
    )
    monkeypatch.setattr(made, "_group_size", lambda _: group_size)
    return made


def order_of(data):
    return BatchOrder(n_items=len(data.fit_items), batch_size=12, seed=3)


def items_of(data):
    order = order_of(data)
    return [items for epoch in range(9) for items in order.epoch(epoch)][:N_STEPS]


def batches(data, group_size, monkeypatch, first_step=0, **how):
    made = source(data, group_size, monkeypatch, **how)
    return list(made.steps(order_of(data), first_step=first_step, n_steps=N_STEPS))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.kept == other.kept
        for name in ("rows", "images", "labels", "triplets"):
            values = getattr(one, name), getattr(other, name)
            if values[1] is None:
                assert values[0] is None, name
            else:
                assert torch.equal(*values), name


@looped("kind", [digit_data, unlabelled_data, triplet_data])
@looped("group_size", [2, 32])
def test_groups_of_steps_give_the_same_batches_as_single_steps(kind, group_size, monkeypatch):
    data = kind(settings(holdout=0))
    n_views = 2 if kind is unlabelled_data else 1
    expected = batches(data, 1, monkeypatch, n_views=n_views)
    assert len(expected) == N_STEPS
    assert len({batch.kept for batch in expected}) > 1  # some batches are mixed, others are not
    assert_same(batches(data, group_size, monkeypatch, n_views=n_views), expected)


@looped(("group_size", "first_step"), list(itertools.product([1, 4], [1, 4, 5, 6, 7, 8, N_STEPS])))
def test_steps_resume_where_they_stopped(group_size, first_step, monkeypatch):
    data = digit_data(settings(holdout=0))
    whole = batches(data, group_size, monkeypatch)
    assert_same(batches(data, group_size, monkeypatch, first_step=first_step), whole[first_step:])


def test_groups_end_with_their_epoch_and_with_the_run(monkeypatch):
    data = digit_data(settings(holdout=0))
    made, order = source(data, 4, monkeypatch), order_of(data)
    assert order.steps_per_epoch == 6
    groups = list(made._groups(order, 5, 15))
    assert [list(group.steps) for group in groups] == [[4, 5], [6, 7, 8, 9], [10, 11], [12, 13, 14]]
    assert [group.n_done for group in groups] == [1, 0, 0, 0]


def test_groups_prepared_in_the_background_are_the_same(monkeypatch):
    """As on a GPU, where another thread prepares the next group."""
    data = digit_data(settings(holdout=0))
    expected = batches(data, 2, monkeypatch, first_step=1)
    monkeypatch.setattr(BatchSource, "_each", lambda _, groups, make: computed_ahead(groups, make))
    assert_same(batches(data, 2, monkeypatch, first_step=1), expected)


def test_batches_have_the_images_and_labels_of_their_items(monkeypatch):
    data = digit_data(settings(holdout=0))
    found = batches(data, 2, monkeypatch, name="none", cutmix=0.0)
    for batch, items in zip(found, items_of(data), strict=True):
        rows = data.fit_items[items]
        assert batch.rows.tolist() == rows.tolist()
        assert torch.equal(batch.images, data.pixels.batch(rows))
        assert batch.labels.tolist() == data.labels[rows].tolist()
        assert (batch.kept, batch.triplets) == (1.0, None)


def test_triplets_are_indices_into_their_batch(monkeypatch):
    data = triplet_data(settings(holdout=0, loss="triplet"))
    for batch, items in zip(batches(data, 2, monkeypatch), items_of(data), strict=True):
        named = batch.rows[batch.triplets].tolist()
        assert named == data.triplets[data.fit_items[items]].tolist()
        assert len(batch.images) == len(batch.rows) == len(np.unique(batch.rows))


def test_views_of_a_batch_follow_each_other(monkeypatch):
    data = unlabelled_data(settings(holdout=0))
    for batch in batches(data, 3, monkeypatch, name="none", cutmix=0.0, n_views=2):
        first, second = batch.images.chunk(2)
        assert torch.equal(first, second)
        assert torch.equal(first, data.pixels.batch(batch.rows.numpy()))
    for batch in batches(data, 3, monkeypatch, name="views", cutmix=0.0, n_views=2):
        assert not torch.equal(*batch.images.chunk(2))


def test_no_image_is_loaded_without_with_images(monkeypatch):
    data = digit_data(settings(holdout=0))
    made = source(data, 2, monkeypatch)
    monkeypatch.setattr(made, "_pixels", None)
    wanted = {"first_step": 1, "n_steps": N_STEPS, "with_images": False}
    found = list(made.steps(order_of(data), **wanted))
    assert len(found) == N_STEPS - 1
    assert all(batch.images is None and batch.labels is not None for batch in found)


@looped(("side", "n_views", "expected"), [(32, 1, 32), (224, 1, 4), (224, 2, 2), (1024, 1, 1)])
def test_number_of_steps_per_group_on_a_gpu(monkeypatch, side, n_views, expected):
    data = digit_data(settings(holdout=0))
    made = BatchSource(
        data, BatchAugmentation(AUGMENTATIONS["none"], 0.0, n_views, 0), (side, side), CPU
    )
    assert made._group_size(100) == 1
    monkeypatch.setattr(made, "_device", torch.device("cuda"))
    assert made._group_size(100) == expected


@pytest.mark.parametrize("group_size", [1, 4])
def test_each_step_gets_features_of_two_different_views_of_its_images(group_size, monkeypatch):
    data = unlabelled_data(settings(holdout=0))
    table = np.random.default_rng(0).random((len(data.pixels), 3, 5), dtype=np.float32)
    features = FeatureViews(table)
    np.testing.assert_array_equal(features.sample(len(table)), table[:, 0])
    data = dataclasses.replace(data, pixels=features)
    how = {"name": "none", "cutmix": 0, "n_views": 2}
    found = batches(data, group_size, monkeypatch, **how)
    for step, (batch, items) in enumerate(zip(found, items_of(data), strict=True)):
        rows = data.fit_items[items]
        first, second = draw_views(len(rows), 3, seed=3, step=step)
        assert (first != second).all()
        expected = np.concatenate([table[rows, first], table[rows, second]])
        np.testing.assert_array_equal(batch.images.numpy(), expected)
    resumed = batches(data, group_size, monkeypatch, first_step=4, **how)
    assert_same(resumed, found[4:])
    # The trainer needs none of its own images, because those that do not change are cached.
    made = source(data, group_size, monkeypatch, **how)
    steps = made.steps(order_of(data), first_step=0, n_steps=N_STEPS, with_images=False)
    assert_same(list(steps), found)
