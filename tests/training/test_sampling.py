from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashkit.training.sampling import (
    AUGMENT_STREAM,
    DROPOUT_STREAM,
    ORDER_STREAM,
    BatchOrder,
    draw_views,
    generator,
    step_seed,
)

LABELS = np.repeat([4, 0, 7, 2], [11, 9, 3, 17])


@st.composite
def orders(draw):
    n_items = draw(st.integers(3, 60))
    labels = None
    if draw(st.booleans()):
        labels = np.array(draw(st.lists(st.integers(0, 3), min_size=n_items, max_size=n_items)))
    return BatchOrder(
        n_items=n_items,
        batch_size=draw(st.integers(3, 20)),
        seed=draw(st.integers(0, 2**63 - 1)),
        labels=labels,
        group_size=draw(st.integers(1, 5)),
    )


@given(orders(), st.integers(0, 1000))
def test_an_epoch_has_every_item_at_most_once_and_omits_only_the_remainder(order, epoch):
    items = order.epoch(epoch)
    size = min(order.batch_size, order.n_items)
    assert items.shape == (order.steps_per_epoch, size)
    assert order.n_items - items.size < order.batch_size
    assert len(np.unique(items)) == items.size
    assert items.min() >= 0
    assert items.max() < order.n_items


@given(orders())
def test_an_epoch_does_not_depend_on_earlier_calls(order):
    fresh = order.epoch(5)
    for epoch in (0, 5, 2):
        order.epoch(epoch)
    np.testing.assert_array_equal(order.epoch(5), fresh)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["plain", "grouped"])
def test_epochs_and_seeds_differ(labels):
    orders = [BatchOrder(40, 10, seed, labels=labels, group_size=3) for seed in (0, 1)]
    drawn = {tuple(order.epoch(epoch).ravel()) for order in orders for epoch in range(5)}
    assert len(drawn) == 10


@pytest.mark.parametrize("group_size", [2, 3, 5])
def test_items_of_a_label_stay_together_in_groups(group_size):
    order = BatchOrder(len(LABELS), 8, seed=3, labels=LABELS, group_size=group_size)
    n_groups = sum(-(-n // group_size) for n in (11, 9, 3, 17))
    for epoch in range(20):
        labels = LABELS[order.epoch(epoch).ravel()]
        n_runs = 1 + np.count_nonzero(np.diff(labels))
        # Neighbouring groups with the same label form one run, so there are at most n_groups runs.
        assert n_runs <= n_groups


def test_a_batch_contains_whole_groups():
    labels = np.arange(40) // 4
    order = BatchOrder(40, 8, seed=0, labels=labels, group_size=4)
    for batch in order.epoch(0):
        _, counts = np.unique(labels[batch], return_counts=True)
        assert counts.tolist() == [4, 4]


def test_groups_differ_between_epochs():
    labels = np.zeros(12, dtype=np.int64)
    order = BatchOrder(12, 4, seed=0, labels=labels, group_size=4)
    groups = {frozenset(batch) for epoch in range(5) for batch in order.epoch(epoch).tolist()}
    assert len(groups) == 15


def test_a_group_size_of_one_shuffles_plainly():
    plain = BatchOrder(40, 10, seed=9)
    grouped = BatchOrder(40, 10, seed=9, labels=LABELS, group_size=1)
    np.testing.assert_array_equal(plain.epoch(3), grouped.epoch(3))


def test_fewer_items_than_a_batch_make_one_step():
    order = BatchOrder(5, 8, seed=0)
    assert order.steps_per_epoch == 1
    assert sorted(order.epoch(0)[0]) == [0, 1, 2, 3, 4]


def test_seeds_differ_by_run_stream_and_step():
    streams = (ORDER_STREAM, AUGMENT_STREAM, DROPOUT_STREAM)
    keys = [(seed, stream, step) for seed in (0, 1, 7) for stream in streams for step in range(50)]
    seeds = {step_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_and_generators_are_functions_of_their_arguments():
    assert step_seed(3, 2, 10) == step_seed(3, 2, 10)
    one, other = generator(3, 2, 10), generator(3, 2, 10)
    assert one.random(4).tolist() == other.random(4).tolist()
    assert generator(3, 2, 11).random() != generator(3, 2, 10).random()
    assert generator(3, 1, 10).random() != generator(3, 2, 10).random()


def test_the_views_of_a_step_differ_and_depend_on_seed_and_step():
    drawn = draw_views(6000, 4, seed=3, step=5)
    assert drawn.shape == (2, 6000)
    pairs, counts = np.unique(drawn, axis=1, return_counts=True)
    # Each of the 12 ordered pairs of different views, equally often.
    assert {(first, second) for first, second in pairs.T} == {
        (first, second) for first in range(4) for second in range(4) if first != second
    }
    assert counts.min() > 400
    np.testing.assert_array_equal(draw_views(6000, 4, seed=3, step=5), drawn)
    for seed, step in ((3, 6), (4, 5)):
        assert (draw_views(6000, 4, seed, step) != drawn).any()
    assert sorted(draw_views(1, 2, 0, 0)[:, 0]) == [0, 1]
