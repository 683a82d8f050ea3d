"""Losses of pairs and triplets: gradients, and batches at the edge of what is defined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pair_losses import (
    CLASSES,
    DEFAULTS,
    MULTI,
    N_BITS,
    NAMES,
    SINGLE,
    TOLERANCE,
    UNLABELLED,
    build,
    random_logits,
)

from hashkit.training.losses import Task
from hashkit.training.losses.dch import DchLoss
from hashkit.training.losses.dtsh import DtshLoss

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("targets", [UNLABELLED, MULTI], ids=["unlabelled", "multi"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, targets):
    """At random logits, no hinge, sign or absolute value is at its kink."""
    logits = random_logits(len(targets), seed=3).requires_grad_()
    loss = build(name, targets)
    assert torch.autograd.gradcheck(lambda values: loss(values, targets).value, logits)


def test_gradient_of_given_triplets():
    logits = random_logits(5, seed=4).requires_grad_()
    triplets = torch.tensor([[0, 1, 2], [3, 4, 0], [1, 0, 4]])
    loss = DtshLoss(Task(N_BITS, 0))
    assert torch.autograd.gradcheck(lambda x: loss.of_triplets(x, triplets).value, logits)


NO_PAIRS = {
    "one image": torch.tensor([2]),
    "no labels": torch.tensor([-1, -1, -1]),
    "no multi-hot labels": torch.zeros(3, CLASSES, dtype=torch.uint8),
    "one labelled image": torch.tensor([-1, 2, -1]),
}
ONE_KIND = {
    "no similar pair": torch.tensor([0, 1, 2, 3]),
    "no dissimilar pair": torch.tensor([1, 1, 1, 1]),
}


@pytest.mark.parametrize("targets", NO_PAIRS.values(), ids=NO_PAIRS)
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_pairs_has_zero_loss_and_gradient(name, targets):
    logits = random_logits(len(targets)).requires_grad_()
    loss = build(name, targets)(logits, targets)
    loss.value.backward()
    assert (loss.value.item(), loss.active.item()) == (0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("targets", ONE_KIND.values(), ids=ONE_KIND)
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_a_batch_with_one_kind_of_pairs_is_their_mean(name, targets):
    logits = random_logits(len(targets), seed=5).requires_grad_()
    value, active = DEFAULTS[name](logits.tolist(), targets.tolist())
    loss = build(name, targets)(logits, targets)
    loss.value.backward()
    assert loss.value.item() == pytest.approx(value, **TOLERANCE)
    assert loss.active.item() == pytest.approx(active, **TOLERANCE)
    assert logits.grad.isfinite().all()
    # Without both kinds of pairs there are no triplets.
    assert (loss.value.item() > 0) == (name != "dtsh")
    assert logits.grad.any() == (name != "dtsh")


def test_an_empty_list_of_triplets_has_zero_loss_and_gradient():
    logits = random_logits(4).requires_grad_()
    triplets = torch.empty(0, 3, dtype=torch.int64)
    loss = DtshLoss(Task(N_BITS, 0)).of_triplets(logits, triplets)
    loss.value.backward()
    assert (loss.value.item(), loss.active.item()) == (0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", NAMES)
def test_images_without_labels_are_ignored(name):
    logits = random_logits(len(UNLABELLED)).requires_grad_()
    loss = build(name, UNLABELLED)
    value = loss(logits, UNLABELLED).value
    value.backward()
    labelled = UNLABELLED >= 0
    alone = loss(logits[labelled], UNLABELLED[labelled]).value
    assert value.item() == pytest.approx(alone.item(), rel=1e-12)
    assert not logits.grad[~labelled].any()
    assert logits.grad[labelled].any(dim=1).all()


@pytest.mark.parametrize(
    ("logit", "spread"),
    [(0.0, 0.0), (1e-6, 1.0), (1e4, 0.0), (1e4, 1.0)],
    ids=["zero", "tiny", "large and equal", "large with mixed signs"],
)
@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_give_finite_values_and_gradients(name, logit, spread):
    """In float32, as in training."""
    signs = torch.tensor(np.random.default_rng(0).choice([-1.0, 1.0], (8, 48)))
    logits = (logit * (signs if spread else torch.ones_like(signs))).float().requires_grad_()
    targets = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    loss = build(name, targets, n_bits=48)(logits, targets)
    loss.value.backward()
    assert loss.value.isfinite()
    assert loss.value > 0
    assert logits.grad.isfinite().all()
    # A larger gradient would undo what was learned.
    assert logits.grad.abs().max() < 1e4 * max(1.0, abs(logit))


@pytest.mark.parametrize("name", ["dpsh", "dtsh", "hashnet", "dch"])
def test_pairs_of_zero_logits_are_active(name):
    logits = torch.zeros(len(SINGLE), N_BITS)
    assert build(name, SINGLE)(logits, SINGLE).active == 1


@pytest.mark.parametrize("name", ["dpsh", "dtsh"])
def test_correct_pairs_of_large_logits_have_zero_loss_without_quantisation(name):
    """log(1 + exp(t)) - t would be a difference of two numbers near 1e9."""
    codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1], [-1, -1, -1, -1]])
    targets = torch.tensor([0, 0, 1, 1])
    loss = build(name, targets, n_bits=4, quantisation=0.0)(1e4 * codes, targets)
    assert (loss.value.item(), loss.active.item()) == (0, 0)


def test_distances_of_large_logits_are_exact():
    """Computed from inner products near 1e9, a distance of 1 would be lost in rounding."""
    logits = torch.full((4, 48), 1e4)
    logits[::2, 0] += 1
    targets = torch.tensor([0, 0, 1, 1])
    loss = build("dsh", targets, n_bits=48, quantisation=0.0, margin=1e-6)(logits, targets)
    # 4 of 12 ordered pairs are similar, and of the dissimilar ones half are at distance 0.
    assert loss.value.item() == pytest.approx((4 * 1 + 4 * 1e-6) / 2 / 12, rel=1e-6)


def test_an_image_with_zero_logits_has_a_bounded_gradient():
    """The gradient of a cosine is infinite at 0."""
    logits = random_logits(len(SINGLE))
    logits[0] = 0
    logits.requires_grad_()
    build("dch", SINGLE)(logits, SINGLE).value.backward()
    assert 0 < logits.grad[0].norm() < 1e4


def test_cosines_above_1_give_a_finite_loss():
    logits = torch.randn(100, 48, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    targets = torch.arange(100).repeat(2)
    loss = DchLoss(Task(48, 100), scale=1e-9)(logits, targets)
    assert loss.value.isfinite()


def test_dissimilar_images_with_nearly_equal_logits_move_apart():
    """The gradient of the Cauchy loss is finite there and has the right sign."""
    logits = torch.ones(2, 48)
    logits[1, 0] += 1e-2
    logits.requires_grad_()
    targets = torch.tensor([0, 1])
    build("dch", targets, n_bits=48, quantisation=0.0)(logits, targets).value.backward()
    assert logits.grad[1, 0] < 0 < logits.grad[0, 0]
    assert logits.grad.abs().max() < 10
