"""Which unlabelled images are trusted, and what they add to the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashkit.training.consistency import Consistency, class_probabilities
from hashkit.training.learner import Learner
from hashkit.training.losses import LOSSES, Loss, Task, build_loss


def oracle_of_freematch(steps, momentum=0.99):
    """Equations 5 to 8 of arXiv 2205.07246, image by image."""
    n_classes = steps.shape[2]
    level, shares = 1 / n_classes, [1 / n_classes] * n_classes
    found = []
    for step in steps:
        n_images = len(step)
        level = momentum * level + (1 - momentum) * sum(max(one) for one in step) / n_images
        for c in range(n_classes):
            mean = sum(one[c] for one in step) / n_images
            shares[c] = momentum * shares[c] + (1 - momentum) * mean
        trusted = []
        for one in step:
            c = int(np.argmax(one))
            trusted.append(c if one[c] >= level * shares[c] / max(shares) else -1)
        found.append(trusted)
    return found


def test_the_adaptive_threshold_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    steps = rng.dirichlet([0.3, 0.6, 0.9], size=(40, 16)).astype(np.float32)
    chooser = Consistency(3, confidence=0.0, weight=1.0)
    found = [chooser.trusted(torch.from_numpy(step)).tolist() for step in steps]
    assert found == oracle_of_freematch(steps.astype(np.float64))
    assert any(-1 in one for one in found[-5:])  # it leaves some out by then
    again = Consistency(3, confidence=0.0, weight=1.0)
    again.load_state_dict(chooser.state_dict())  # as a resumed run does
    more = torch.from_numpy(rng.dirichlet([0.3, 0.6, 0.9], size=16).astype(np.float32))
    assert torch.equal(again.trusted(more), chooser.trusted(more))


def test_a_fixed_threshold_takes_the_classes_that_reach_it():
    probabilities = torch.tensor([[0.95, 0.05], [0.06, 0.94], [0.02, 0.98]])
    chooser = Consistency(2, confidence=0.95, weight=1.0)
    assert chooser.trusted(probabilities).tolist() == [0, -1, 1]
    assert torch.equal(chooser.shares, torch.full((2,), 0.5))


def test_probabilities_are_sharp_enough_for_a_threshold_of_ninety_five_percent():
    cosines = torch.full((1, 10), -0.08)
    cosines[0, 3] = 0.26
    assert class_probabilities(cosines)[0, 3] > 0.95
    cosines[0, 3] = 0.1
    assert class_probabilities(cosines)[0, 3] < 0.95


@pytest.mark.parametrize("name", [name for name, one in LOSSES.items() if one.has_centres])
def test_a_code_is_nearest_to_the_class_that_its_loss_teaches(name):
    """A loss computes cosines to the codes that its gradient leads to."""
    torch.manual_seed(0)
    loss = build_loss(name, Task(24, 5), {})
    labels = torch.arange(5)
    logits = torch.randn(5, 24, requires_grad=True)
    for _ in range(40):
        (slope,) = torch.autograd.grad(loss(logits, labels).value, logits)
        logits = (logits - 20 * slope).detach().requires_grad_()
    assert torch.equal(loss.class_cosines(logits).argmax(dim=1), labels)


class _Model(torch.nn.Module):
    lengths = (8, 16)


def two_heads(weight):
    torch.manual_seed(0)
    losses: list[Loss] = [build_loss("orthohash", Task(n_bits, 4), {}) for n_bits in (8, 16)]
    return losses, Learner(_Model(), losses, Consistency(4, 0.5, weight))


def test_trusted_images_add_their_mean_loss_times_their_share_and_its_weight():
    losses, learner = two_heads(weight=0.5)
    logits = torch.randn(9, 24)
    labels = torch.tensor([0, 1, 2, 3, -1, 2, -1, 0, 1])
    found = learner.loss_with_trusted(logits, logits, labels, 1.0, n_trusted=5)

    def mean_loss(rows):
        parts = [logits[rows, :8], logits[rows, 8:]]
        values = [loss(part, labels[rows]).value for loss, part in zip(losses, parts, strict=True)]
        return sum(values) / 2

    # Three of the five unlabelled images are trusted.
    expected = mean_loss([0, 1, 2, 3]) + 0.5 * 3 / 5 * mean_loss([5, 7, 8])
    torch.testing.assert_close(found.value, expected)
    assert found.confident.item() == pytest.approx(0.6)
    labels[4:] = -1
    none = learner.loss_with_trusted(logits, logits, labels, 1.0, n_trusted=5)
    torch.testing.assert_close(none.value, mean_loss([0, 1, 2, 3]))


def test_the_heads_of_several_lengths_decide_together():
    losses, learner = two_heads(weight=1.0)
    first, second = losses[0].centres, losses[1].centres
    # The short code is of class 1 by a little, the long one of class 2 by far.
    short = first[1] + 0.95 * first[2]
    logits = torch.cat([short, 3 * second[2]])[None]
    assert learner.trusted_classes(logits).tolist() == [2]
    assert losses[0].class_cosines(logits[:, :8]).argmax() == 1
