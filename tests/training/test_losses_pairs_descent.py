"""Losses of pairs and triplets: what gradient descent on the logits ends with."""

from __future__ import annotations

import pytest
import torch
from pair_losses import (
    ABSOLUTE,
    CLASSES,
    NAMES,
    RELATIVE,
    build,
)

from hashkit.training.losses import loss_options
from hashkit.training.losses.pairs import Pairs

pytestmark = pytest.mark.end_to_end


def descend(name, targets, n_steps=300, **options):
    """Hamming distances after gradient descent on the logits, and `active` before and after."""
    draws = torch.Generator().manual_seed(0)
    logits = (0.02 * torch.randn(len(targets), 12, generator=draws)).requires_grad_()
    loss = build(name, targets, 12, **options)
    optimiser = torch.optim.Adam([logits], lr=0.02)
    active = []
    for step in range(n_steps):
        loss.begin_step(step / n_steps)
        result = loss(logits, targets)
        active.append(result.active.item())
        optimiser.zero_grad()
        result.value.backward()
        optimiser.step()
    codes = logits.detach() > 0
    return (codes[:, None] != codes[None, :]).sum(dim=2), active[0], active[-1]


@pytest.mark.parametrize("name", ABSOLUTE)
def test_descent_ends_with_one_code_per_class(name):
    """Without quantisation, which tends to keep the random initial bits."""
    targets = torch.arange(CLASSES).repeat(5)
    options = {"quantisation": 0.0} if "quantisation" in loss_options(name) else {}
    n_differing, first, last = descend(name, targets, **options)
    same = targets[:, None] == targets[None, :]
    assert n_differing[same].max() == 0
    assert n_differing[~same].min() >= 3
    assert first > 0.4
    assert last == 0


@pytest.mark.parametrize("name", ABSOLUTE)
def test_descent_with_defaults_separates_classes(name):
    targets = torch.arange(CLASSES).repeat(5)
    n_differing, _, last = descend(name, targets)
    pairs = Pairs.of_batch(targets)
    assert n_differing[pairs.similar].max() < n_differing[pairs.dissimilar].min()
    assert last < 0.1


@pytest.mark.parametrize("name", RELATIVE)
def test_descent_of_a_relative_loss_orders_all_pairs(name):
    targets = torch.arange(CLASSES).repeat(5)
    n_differing, first, last = descend(name, targets)
    pairs = Pairs.of_batch(targets)
    near, far = (n_differing[kind].float().mean() for kind in (pairs.similar, pairs.dissimilar))
    assert near < far / 2
    assert first > 0.8
    assert last == 0


@pytest.mark.parametrize("name", NAMES)
def test_descent_on_several_labels_brings_images_with_a_common_label_together(name):
    hot = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
    targets = hot.repeat(3, 1).byte()
    n_differing, _, _ = descend(name, targets, n_steps=200)
    pairs = Pairs.of_batch(targets)
    near, far = (n_differing[kind].float().mean() for kind in (pairs.similar, pairs.dissimilar))
    assert near < far / 2


def test_quantisation_pulls_logits_to_their_codes():
    targets = torch.tensor([0, 1])
    for name in ("dpsh", "dsh", *RELATIVE):
        logits = torch.tensor([[0.3, -0.4, 3.0], [-0.3, -2.0, 0.4]], requires_grad=True)
        parts = []
        for weight in (0.0, 1.0):
            build(name, targets, n_bits=3, quantisation=weight)(logits, targets).value.backward()
            parts.append(logits.grad.clone())
            logits.grad = None
        pull = parts[0] - parts[1]
        assert torch.equal(pull.sign(), torch.tensor([[1.0, -1, -1], [-1, 1, 1]]))
