"""Losses of pairs and triplets: values, options and pairs."""

from __future__ import annotations

import math

import numpy as np
import oracles_losses_pairs as oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_losses import (
    CASES,
    CLASSES,
    DEFAULTS,
    LABELS,
    MULTI,
    N_BITS,
    NAMES,
    SINGLE,
    TOLERANCE,
    build,
    random_logits,
)

from hashkit.errors import ConfigError
from hashkit.training.losses import LOSSES, Task, build_loss, loss_options
from hashkit.training.losses.dtsh import DtshLoss
from hashkit.training.losses.hashnet import HashNetLoss, sharpness
from hashkit.training.losses.pairs import Pairs

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("targets", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("name", NAMES)
def test_losses_match_plain_loops(name, targets):
    options, oracle = CASES[name]
    logits = random_logits(len(targets))
    value, active = oracle(logits.tolist(), targets.tolist())
    loss = build(name, targets, **options)(logits, targets)
    assert loss.value.item() == pytest.approx(value, **TOLERANCE)
    assert loss.active.item() == pytest.approx(active, **TOLERANCE)
    assert 0 < active < 1
    assert not loss.active.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_documented_ones(name):
    targets = MULTI
    logits = random_logits(len(targets), seed=1)
    value, active = DEFAULTS[name](logits.tolist(), targets.tolist())
    loss = build(name, targets)(logits, targets)
    assert loss.value.item() == pytest.approx(value, **TOLERANCE)
    assert loss.active.item() == pytest.approx(active, **TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_losses_match_loops_on_random_batches(name, data):
    options, oracle = CASES[name]
    n_images = data.draw(st.integers(1, 6))
    if data.draw(st.booleans()):
        label = st.integers(-1, 2)
        dtype = torch.int64
    else:
        label = st.lists(st.integers(0, 1), min_size=CLASSES, max_size=CLASSES)
        dtype = torch.uint8
    labels = data.draw(st.lists(label, min_size=n_images, max_size=n_images))
    logits = random_logits(n_images, data.draw(st.integers(0, 99)), data.draw(st.floats(0.1, 3)))
    value, active = oracle(logits.tolist(), labels)
    targets = torch.tensor(labels, dtype=dtype)
    loss = build(name, targets, **options)(logits, targets)
    # Above 20, torch's softplus(t) is t, which is 2e-9 too small.
    assert loss.value.item() == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert loss.active.item() == pytest.approx(active, **TOLERANCE)


def test_loss_of_given_triplets_matches_plain_loops():
    logits = random_logits(7)
    triplets = torch.tensor([[0, 1, 2], [5, 0, 3], [0, 1, 2], [2, 5, 1]])  # 4 and 6 are in none
    value, active = oracles.dtsh(logits.tolist(), triplets.tolist(), 0.8, 0.7)
    loss = DtshLoss(Task(N_BITS, 0), margin=0.8, quantisation=0.7).of_triplets(logits, triplets)
    assert loss.value.item() == pytest.approx(value, **TOLERANCE)
    assert loss.active.item() == pytest.approx(active, **TOLERANCE)
    assert 0 < active < 1


@pytest.mark.parametrize("targets", LABELS.values(), ids=LABELS)
def test_a_list_of_all_triplets_has_the_loss_of_the_labels(targets):
    logits = random_logits(len(targets))
    loss = build("dtsh", targets)
    triplets = torch.tensor(oracles.triplets_of(targets.tolist()))
    given, of_labels = loss.of_triplets(logits, triplets), loss(logits, targets)
    assert given.value.item() == pytest.approx(of_labels.value.item(), rel=1e-12)
    assert given.active.item() == pytest.approx(of_labels.active.item(), rel=1e-12)


def test_only_the_triplet_loss_takes_triplets_and_needs_no_classes():
    assert {name for name in NAMES if LOSSES[name].takes_triplets} == {"dtsh"}
    for name in NAMES.keys() - {"dtsh"}:
        with pytest.raises(ConfigError, match=name):
            build_loss(name, Task(N_BITS, 0), {})


def test_continuation_depends_only_on_progress():
    """A resumed run, which did not see the first steps, continues with the same codes."""
    resumed, unbroken = HashNetLoss(Task(N_BITS, CLASSES)), HashNetLoss(Task(N_BITS, CLASSES))
    for step in range(70):
        unbroken.begin_step(step / 100)
    resumed.begin_step(0.69)
    assert resumed.beta == unbroken.beta == sharpness(0.69)
    assert not resumed.state_dict()
    resumed.begin_step(0.1)
    assert resumed.beta == sharpness(0.1)


def test_continuation_grows_in_50_stages_from_1_as_in_the_authors_code():
    """Their beta is sqrt(1 + 0.005 step), updated every 200 of 10,000 steps."""
    steps = np.arange(10_000)
    betas = [sharpness(float(progress)) for progress in (steps + 0.5) / 10_000]
    expected = np.sqrt(1 + 0.005 * (steps // 200 * 200))
    np.testing.assert_allclose(betas, expected, rtol=1e-12)
    assert len(set(betas)) == 50
    assert (betas[0], betas[-1]) == (1, math.sqrt(50))


def test_continuation_scales_the_logits_that_are_compared():
    progress = 0.31
    logits = random_logits(len(SINGLE))
    loss = build("hashnet", SINGLE, scale=0.6)
    loss.begin_step(progress)
    value, active = oracles.hashnet(logits.tolist(), SINGLE.tolist(), 0.6, sharpness(progress))
    result = loss(logits, SINGLE)
    assert result.value.item() == pytest.approx(value, **TOLERANCE)
    assert result.active.item() == pytest.approx(active, **TOLERANCE)


def test_both_kinds_of_pairs_have_the_same_total_weight():
    """One similar pair among many dissimilar ones has half of the weight."""
    targets = torch.tensor([0, 0, *range(1, 4), *range(1, 4)])[:5]
    costs = torch.where(Pairs.of_batch(targets).similar, 3.0, 1.0)
    pairs = Pairs.of_batch(targets)
    assert pairs.similar.sum() == 2
    assert pairs.balanced_mean(costs).item() == 4
    assert pairs.mean(costs).item() == pytest.approx((2 * 3 + 18 * 1) / 20)


@pytest.mark.parametrize("targets", LABELS.values(), ids=LABELS)
def test_pairs_match_a_loop(targets):
    pairs = Pairs.of_batch(targets)
    expected = torch.zeros(2, len(targets), len(targets), dtype=torch.bool)
    for i, j, is_similar in oracles.pairs_of(targets.tolist()):
        expected[int(is_similar), i, j] = True
    assert torch.equal(torch.stack([pairs.dissimilar, pairs.similar]), expected)
    assert torch.equal(pairs.images, expected.any(dim=0).any(dim=1))


def test_names_and_options_of_losses():
    assert {name: LOSSES[name] for name in NAMES} == NAMES
    assert {name: loss_options(name) for name in NAMES} == {
        "dpsh": {"quantisation": 0.1},
        "dtsh": {"margin": None, "quantisation": 0.2},
        "dsh": {"margin": None, "quantisation": 0.01},
        "hashnet": {"scale": None},
        "dch": {"scale": 20.0, "quantisation": 0.1},
        "multi-similarity": {"scale": 50.0, "margin": 0.5, "epsilon": 0.1, "quantisation": 0.1},
        "supcon": {"temperature": 0.1, "quantisation": 0.1},
    }
