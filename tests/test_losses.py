from __future__ import annotations

import numpy as np
import oracles_training as oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashkit.training.losses import LOSSES, TripletRankingLoss
from hashkit.training.triplets import label_overlap

AVERAGES = ["active", "valid"]

SINGLE = torch.tensor([0, 1, 1, 2, 0, 1, 3])
UNLABELLED = torch.tensor([0, -1, 0, 1, -1, 1, -1])
MULTI = torch.tensor(
    [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.uint8
)
LABELS = {"single": SINGLE, "unlabelled": UNLABELLED, "multi": MULTI}


def random_codes(n_images, n_bits=5, seed=0):
    values = np.random.default_rng(seed).random((n_images, n_bits))
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("margin", [0.05, 0.5, 3.0])
def test_loss_of_labels_is_the_mean_over_triple_loops(labels, average, margin):
    codes = random_codes(len(labels))
    triplets = oracles.triplets_of(labels.tolist())
    value, n_triplets, n_active = oracles.triplet_loss(codes.tolist(), triplets, margin, average)
    loss = TripletRankingLoss(margin, average)(codes, labels)
    assert loss.n_triplets == n_triplets > 0
    assert loss.n_active == n_active > 0
    assert loss.value.item() == pytest.approx(value, rel=1e-12)
    if margin == 0.5:
        assert n_active < n_triplets


@given(st.data())
def test_loss_agrees_with_the_loops_on_any_small_batch(data):
    n_images = data.draw(st.integers(1, 6))
    labels = data.draw(st.lists(st.integers(-1, 2), min_size=n_images, max_size=n_images))
    margin = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    average = data.draw(st.sampled_from(AVERAGES))
    codes = random_codes(n_images, seed=data.draw(st.integers(0, 99)))
    expected = oracles.triplet_loss(codes.tolist(), oracles.triplets_of(labels), margin, average)
    loss = TripletRankingLoss(margin, average)(codes, torch.tensor(labels))
    assert (int(loss.n_triplets), int(loss.n_active)) == expected[1:]
    assert loss.value.item() == pytest.approx(expected[0], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("average", AVERAGES)
def test_loss_of_given_triplets_is_the_mean_over_a_loop(average):
    codes = random_codes(6)
    triplets = torch.tensor([[0, 1, 2], [5, 0, 3], [0, 1, 2], [2, 4, 1], [3, 3, 0]])
    expected = oracles.triplet_loss(codes.tolist(), triplets.tolist(), 0.4, average)
    loss = TripletRankingLoss(0.4, average).of_triplets(codes, triplets)
    assert loss.value.item() == pytest.approx(expected[0], rel=1e-12)
    assert (int(loss.n_triplets), int(loss.n_active)) == expected[1:]
    assert 0 < expected[2] < expected[1]


def test_all_triplets_of_labels_given_as_a_list_cost_the_same():
    codes = random_codes(len(MULTI))
    loss = TripletRankingLoss(1.0, "valid")
    triplets = torch.tensor(oracles.triplets_of(MULTI.tolist()))
    torch.testing.assert_close(
        loss(codes, MULTI).value, loss.of_triplets(codes, triplets).value, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_overlap_counts_shared_labels(labels):
    overlap = label_overlap(labels)
    assert overlap.dtype == torch.float32
    rows = labels.tolist()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert overlap[i, j] == oracles.n_shared(one, other)


def test_graded_overlap_orders_the_same_pair_both_ways():
    """Image 1 is the similar one for query 0, and the dissimilar one for query 2."""
    labels = [[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 0]]
    triplets = oracles.triplets_of(labels)
    assert (0, 1, 2) in triplets
    assert (2, 1, 3) not in triplets
    n_triplets = TripletRankingLoss(1.0, "valid")(
        random_codes(4), torch.tensor(labels, dtype=torch.uint8)
    ).n_triplets
    assert n_triplets == len(triplets)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_gradient_of_labels(labels, average):
    codes = random_codes(len(labels), seed=3).requires_grad_()
    loss = TripletRankingLoss(0.7, average)
    assert away_from_kinks(codes, oracles.triplets_of(labels.tolist()), 0.7)
    assert torch.autograd.gradcheck(lambda values: loss(values, labels).value, codes)


@pytest.mark.parametrize("average", AVERAGES)
def test_gradient_of_given_triplets(average):
    codes = random_codes(5, seed=4).requires_grad_()
    triplets = torch.tensor([[0, 1, 2], [3, 4, 0], [1, 0, 4]])
    loss = TripletRankingLoss(0.7, average)
    assert away_from_kinks(codes, triplets.tolist(), 0.7)
    assert torch.autograd.gradcheck(lambda values: loss.of_triplets(values, triplets).value, codes)


def away_from_kinks(codes, triplets, margin):
    values = codes.detach().tolist()
    return all(
        abs(
            margin
            + oracles.squared_distance(values[query], values[similar])
            - oracles.squared_distance(values[query], values[dissimilar])
        )
        > 1e-4
        for query, similar, dissimilar in triplets
    )


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 1, 2, 3]),
        torch.tensor([5, 5, 5, 5]),
        torch.tensor([-1, -1, -1, -1]),
        torch.zeros(4, 3, dtype=torch.uint8),
    ],
    ids=["all differ", "all alike", "no labels", "no labels of several"],
)
def test_a_batch_without_triplets_costs_nothing_and_back_propagates(labels, average):
    codes = random_codes(4).requires_grad_()
    loss = TripletRankingLoss(1.0, average)(codes, labels)
    assert loss.value.item() == 0
    assert loss.n_triplets == 0
    loss.value.backward()
    assert torch.equal(codes.grad, torch.zeros_like(codes))


def test_no_given_triplets_cost_nothing_and_back_propagate():
    codes = random_codes(4).requires_grad_()
    loss = TripletRankingLoss(1.0, "valid").of_triplets(codes, torch.empty(0, 3, dtype=torch.int64))
    loss.value.backward()
    assert loss.value.item() == 0
    assert torch.equal(codes.grad, torch.zeros_like(codes))


def test_satisfied_triplets_cost_nothing():
    codes = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]], requires_grad=True)
    loss = TripletRankingLoss(2.9, "active")(codes, torch.tensor([0, 0, 1, 1]))
    loss.value.backward()
    assert (loss.value.item(), int(loss.n_triplets), int(loss.n_active)) == (0, 8, 0)
    assert torch.equal(codes.grad, torch.zeros_like(codes))


@pytest.mark.parametrize(
    ("n_differing", "margin"), [(0, 4), (1, 4), (3, 4), (4, 4), (6, 4), (2, 1)]
)
def test_on_binary_codes_the_margin_counts_bits(n_differing, margin):
    query = torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 0])
    near = query.clone()
    near[7] = 1  # one bit away
    far = query.clone()
    far[:n_differing] = 1 - far[:n_differing]
    codes = torch.stack([query, near, far])
    loss = TripletRankingLoss(margin, "valid").of_triplets(codes, torch.tensor([[0, 1, 2]]))
    assert loss.value.item() == max(0, margin + 1 - n_differing)


def test_losses_have_names():
    assert dict(LOSSES) == {"triplet": TripletRankingLoss}
