"""Pairwise and triplet losses: values, gradients, degenerate batches, and gradient descent."""

from __future__ import annotations

import math

import numpy as np
import oracles_losses_pairs as oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hashkit.errors import ConfigError
from hashkit.training.losses import LOSSES, Task, build_loss, loss_options
from hashkit.training.losses.dch import DchLoss
from hashkit.training.losses.dpsh import DpshLoss
from hashkit.training.losses.dsh import DshLoss
from hashkit.training.losses.dtsh import DtshLoss
from hashkit.training.losses.hashnet import HashNetLoss, sharpness
from hashkit.training.losses.multi_similarity import MultiSimilarityLoss
from hashkit.training.losses.pairs import Pairs
from hashkit.training.losses.supcon import SupConLoss

pytestmark = pytest.mark.end_to_end

N_BITS = 5
CLASSES = 4

NAMES = {
    "dpsh": DpshLoss,
    "dtsh": DtshLoss,
    "dsh": DshLoss,
    "hashnet": HashNetLoss,
    "dch": DchLoss,
    "multi-similarity": MultiSimilarityLoss,
    "supcon": SupConLoss,
}

RELATIVE = ("multi-similarity", "supcon")
"""Losses that order pairs, and stop there: codes of a class may differ by a few bits."""

ABSOLUTE = tuple(name for name in NAMES if name not in RELATIVE)

SINGLE = torch.tensor([0, 1, 1, 2, 0, 1, 3])
UNLABELLED = torch.tensor([0, -1, 0, 1, -1, 1, -1])
MULTI = torch.tensor(
    [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]],
    dtype=torch.uint8,
)
LABELS = {"single": SINGLE, "unlabelled": UNLABELLED, "multi": MULTI}

# float64 against Python floats: sums of a few hundred terms of magnitude 1.
TOLERANCE = {"rel": 1e-12, "abs": 1e-13}


def random_logits(n_images, seed=0, spread=1.0):
    values = np.random.default_rng(seed).normal(0, spread, (n_images, N_BITS))
    return torch.tensor(values, dtype=torch.float64)


def task_of(targets, n_bits=N_BITS):
    return Task(n_bits, CLASSES, is_multi_label=targets.ndim == 2)


def build(name, targets, n_bits=N_BITS, **options):
    return build_loss(name, task_of(targets, n_bits), options)


# Options that differ from the defaults, and the oracle with the same options.
CASES = {
    "dpsh": ({"quantisation": 0.7}, lambda x, y: oracles.dpsh(x, y, 0.7)),
    "dtsh": (
        {"margin": 0.4, "quantisation": 0.7},
        lambda x, y: oracles.dtsh(x, oracles.triplets_of(y), 0.4, 0.7),
    ),
    "dsh": ({"margin": 6.0, "quantisation": 0.7}, lambda x, y: oracles.dsh(x, y, 6.0, 0.7)),
    "hashnet": ({"scale": 0.6}, lambda x, y: oracles.hashnet(x, y, 0.6, 1.0)),
    "dch": (
        {"scale": 2.5, "quantisation": 0.7},
        lambda x, y: oracles.dch(x, y, 2.5, 0.7, 0.01),
    ),
    "multi-similarity": (
        {"scale": 7.0, "margin": 0.2, "epsilon": 0.05, "quantisation": 0.7},
        lambda x, y: oracles.multi_similarity(x, y, (2.0, 7.0), 0.2, 0.05, 0.7),
    ),
    "supcon": (
        {"temperature": 0.4, "quantisation": 0.7},
        lambda x, y: oracles.supcon(x, y, 0.4, 0.7),
    ),
}

# The oracle with the default options.
DEFAULTS = {
    "dpsh": lambda x, y: oracles.dpsh(x, y, 0.1),
    "dtsh": lambda x, y: oracles.dtsh(x, oracles.triplets_of(y), N_BITS / 2, 0.2),
    "dsh": lambda x, y: oracles.dsh(x, y, 2 * N_BITS, 0.01),
    "hashnet": lambda x, y: oracles.hashnet(x, y, 10 / N_BITS, 1.0),
    "dch": lambda x, y: oracles.dch(x, y, 20.0, 0.1, 0.01),
    "multi-similarity": lambda x, y: oracles.multi_similarity(x, y, (2.0, 50.0), 0.5, 0.1, 0.1),
    "supcon": lambda x, y: oracles.supcon(x, y, 0.1, 0.1),
}


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
@settings(deadline=None, max_examples=40)
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
