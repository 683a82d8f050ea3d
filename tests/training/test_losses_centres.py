"""Losses that pull images to the centre of their class, and the centres."""

from __future__ import annotations

import copy
import functools
import itertools
import math

import oracles_losses_centres as oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashkit.errors import ConfigError
from hashkit.training.losses import LOSSES, Task, build_loss
from hashkit.training.losses.centres import (
    centres_of_images,
    hadamard_centres,
    hash_centres,
    min_and_mean_distance,
    spread_centres,
)

pytestmark = pytest.mark.end_to_end

NAMES = ["csq", "orthohash", "dpn", "greedyhash"]

SINGLE = torch.tensor([0, 1, 3, -1, 2, 0, 4, -1])
MULTI = torch.tensor(
    [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 1, 1, 0, 1],
        [0, 0, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ],
    dtype=torch.uint8,
)
LABELS = {"single": SINGLE, "multi": MULTI}


def takes(name, targets):
    return targets.ndim == 1 or LOSSES[name].takes_multi_label


KINDS = [(name, kind) for name in NAMES for kind in LABELS if takes(name, LABELS[kind])]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def random_logits(n_images, n_bits=7, seed=0, size=1.5):
    generator = draws(seed)
    return size * torch.randn(n_images, n_bits, generator=generator, dtype=torch.float64)


def make(name, targets, n_bits=7, n_classes=5, **options):
    """A loss in float64, made for targets like these."""
    task = Task(n_bits, n_classes, targets.ndim == 2)
    return copy.deepcopy(made(name, task, tuple(options.items()))).double()


@functools.cache
def made(name, task, options):
    torch.manual_seed(3)
    return build_loss(name, task, dict(options))


def expected(name, loss, logits, targets):
    rows, labels = logits.tolist(), targets.tolist()
    if name == "greedyhash":
        weights = loss.classifier.weight.tolist()
        return oracles.greedyhash(rows, labels, weights, loss.quantisation)
    centres = loss.centres.tolist()
    if name == "orthohash":
        return oracles.orthohash(
            rows, labels, centres, loss.scale, loss.margin, loss.label_smoothing
        )
    tie_code = loss.tie_code.tolist()
    if name == "csq":
        return oracles.csq(rows, labels, centres, tie_code, loss.quantisation)
    return oracles.dpn(rows, labels, centres, tie_code, loss.margin)


CASES = [
    ("csq", {}),
    ("csq", {"quantisation": 2.0}),
    ("orthohash", {}),
    ("orthohash", {"scale": 3.0, "margin": 0.5, "label_smoothing": 0.3}),
    ("dpn", {}),
    ("dpn", {"margin": 0.3}),
    ("greedyhash", {}),
    ("greedyhash", {"quantisation": 1.0}),
]


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [(*case, kind) for case in CASES for kind in LABELS if (case[0], kind) in KINDS],
)
def test_losses_match_plain_loops(name, options, kind):
    targets = LABELS[kind]
    loss = make(name, targets, **options)
    for seed in range(3):
        logits = random_logits(len(targets), seed=seed)
        result = loss(logits, targets)
        value, active = expected(name, loss, logits, targets)
        assert result.value.item() == pytest.approx(value, rel=1e-10)
        assert result.active.item() == pytest.approx(active, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_logit_of_0_gives_bit_0(name):
    logits = random_logits(len(SINGLE)).relu()
    loss = make(name, SINGLE)
    result, (value, active) = loss(logits, SINGLE), expected(name, loss, logits, SINGLE)
    assert result.value.item() == pytest.approx(value, rel=1e-10)
    assert result.active.item() == pytest.approx(active, rel=1e-10)


def test_an_image_equally_near_to_another_centre_is_active():
    result = make("orthohash", SINGLE).float()(torch.zeros(8, 7), SINGLE)
    assert result.active == 1
    assert result.value == pytest.approx(math.log(4 + math.exp(-8 * 0.2)) + 8 * 0.2)


def test_options_change_the_loss():
    logits = random_logits(len(SINGLE))
    for name, options in CASES:
        if options:
            plain, changed = make(name, SINGLE), make(name, SINGLE, **options)
            assert plain(logits, SINGLE).value != changed(logits, SINGLE).value


@given(st.data())
def test_orthohash_matches_loops_on_random_batches(data):
    n_images = data.draw(st.integers(1, 5))
    targets = torch.tensor(data.draw(st.lists(st.integers(-1, 4), min_size=n_images, max_size=5)))
    loss = make("orthohash", targets)
    logits = random_logits(len(targets), seed=data.draw(st.integers(0, 99)))
    value, active = expected("orthohash", loss, logits, targets)
    assert loss(logits, targets).value.item() == pytest.approx(value, rel=1e-10, abs=1e-14)
    assert loss(logits, targets).active.item() == pytest.approx(active)


@pytest.mark.parametrize("targets", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("name", ["csq", "orthohash", "dpn"])
def test_gradient(name, targets):
    logits = random_logits(len(targets), seed=1).requires_grad_()
    loss = make(name, targets)
    assert torch.autograd.gradcheck(lambda values: loss(values, targets).value, logits)


def test_greedyhash_passes_the_gradient_of_its_codes_to_the_logits():
    logits = random_logits(len(SINGLE), seed=1).requires_grad_()
    loss = make("greedyhash", SINGLE, quantisation=0.0)
    loss(logits, SINGLE).value.backward()
    codes = torch.where(logits.detach() > 0, 1.0, -1.0).double().requires_grad_()
    scores = codes @ loss.classifier.weight.detach().T
    torch.nn.functional.cross_entropy(scores, SINGLE, ignore_index=-1).backward()
    torch.testing.assert_close(logits.grad, codes.grad)
    assert loss.classifier.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_images_without_labels_are_ignored(name, kind):
    targets = LABELS[kind]
    labelled = targets >= 0 if targets.ndim == 1 else targets.sum(1) > 0
    logits = random_logits(len(targets), seed=2).requires_grad_()
    loss = make(name, targets)
    result = loss(logits, targets)
    result.value.backward()
    alone = loss(logits.detach()[labelled], targets[labelled])
    assert result.value.item() == pytest.approx(alone.value.item(), rel=1e-12)
    assert result.active.item() == pytest.approx(alone.active.item())
    assert not logits.grad[~labelled].any()
    assert logits.grad[labelled].any(dim=1).all()


DEGENERATE = {
    "a single class": (torch.tensor([0, 0]), 1),
    "one image": (torch.tensor([1]), 5),
    "no labels": (torch.tensor([-1, -1]), 5),
    "no multi-hot labels": (torch.zeros(3, 5, dtype=torch.uint8), 5),
    "all labels": (torch.ones(2, 5, dtype=torch.uint8), 5),
}


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batches_have_a_finite_loss_and_gradient(name):
    kinds = [kind for kind in DEGENERATE if takes(name, DEGENERATE[kind][0])]
    assert kinds
    for kind, size in itertools.product(kinds, (0.0, 1e4)):
        targets, n_classes = DEGENERATE[kind]
        loss = make(name, targets, n_classes=n_classes).float()
        logits = (size * random_logits(len(targets)).sign()).float().requires_grad_()
        result = loss(logits, targets)
        result.value.backward()
        assert torch.isfinite(result.value), kind
        assert torch.isfinite(logits.grad).all(), kind
        assert 0 <= result.active <= 1, kind
        if (targets.ndim == 1 and targets.max() < 0) or (targets.ndim == 2 and not targets.any()):
            assert result.value == 0, kind
            assert not logits.grad.any(), kind


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_0_have_a_bounded_gradient(name):
    """The gradient of a cosine is infinite at 0."""
    logits = torch.zeros(4, 7, requires_grad=True)
    make(name, SINGLE).float()(logits, SINGLE[:4]).value.backward()
    assert logits.grad.abs().max() < 1e4
    assert logits.grad.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_descent_on_free_logits_separates_classes(name):
    torch.manual_seed(0)
    targets = torch.arange(20) % 4
    loss = build_loss(name, Task(12, 4), {})
    logits = torch.nn.Parameter(0.1 * torch.randn(20, 12))
    optimiser = torch.optim.Adam([logits, *loss.parameters()], lr=0.05)
    before = loss(logits, targets)
    for _ in range(120):
        optimiser.zero_grad()
        loss(logits, targets).value.backward()
        optimiser.step()
    after = loss(logits, targets)
    assert after.value < 0.7 * before.value
    assert after.active < 0.05 < before.active
    codes = torch.where(logits > 0, 1, -1)
    distances = (12 - codes @ codes.T) // 2
    same = targets[:, None] == targets
    assert distances[same].max() < distances[~same].min()
    if name != "greedyhash":
        assert (codes == loss.centres[targets]).float().mean() > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_images_without_labels_are_refused(name):
    with pytest.raises(ConfigError, match=f'{name} learns from labels.*`loss="triplet"`'):
        build_loss(name, Task(12, 0), {})


@pytest.mark.parametrize("name", ["csq", "orthohash", "dpn"])
def test_centres_are_saved_and_not_learned(name):
    torch.manual_seed(0)
    one = build_loss(name, Task(12, 4), {})
    torch.manual_seed(0)
    same = build_loss(name, Task(12, 4), {})
    other = build_loss(name, Task(12, 4), {})
    assert not list(one.parameters())
    assert torch.equal(one.centres, same.centres)
    assert not torch.equal(one.centres, other.centres)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.centres, other.centres)


def test_these_losses_compare_no_images():
    assert not any(LOSSES[name].compares_images for name in NAMES)


@pytest.mark.parametrize(
    ("n_classes", "n_bits"), [(2, 1), (4, 2), (3, 8), (8, 8), (16, 8), (40, 64)]
)
def test_hadamard_centres_differ_in_half_or_all_of_their_bits(n_classes, n_bits):
    centres = hadamard_centres(n_classes, n_bits, draws())
    assert centres.shape == (n_classes, n_bits)
    products = (centres @ centres.T)[~torch.eye(n_classes, dtype=torch.bool)]
    assert set(products.tolist()) <= {0.0, -float(n_bits)}
    assert (products == 0).all() == (n_classes <= n_bits)


def test_the_first_bit_of_hadamard_centres_is_balanced():
    for seed in range(5):
        for n_classes in (6, 10, 16):
            assert hadamard_centres(n_classes, 16, draws(seed))[:, 0].sum() == 0


@pytest.mark.parametrize(("n_classes", "n_bits"), [(3, 12), (5, 2), (3, 0)])
def test_invalid_numbers_of_hadamard_centres_are_refused(n_classes, n_bits):
    with pytest.raises(ValueError, match=r"power of two .*, not"):
        hadamard_centres(n_classes, n_bits)


@pytest.mark.parametrize(
    ("n_classes", "n_bits", "distance"),
    # Plotkin's bound on the mean, n_bits n_classes / 2 (n_classes - 1), rounded down.
    [(2, 9, 9), (4, 12, 8), (10, 24, 12), (10, 48, 26), (8, 20, 10)],
)
def test_spread_centres_of_few_classes_reach_plotkins_bound(n_classes, n_bits, distance):
    centres = spread_centres(n_classes, n_bits, draws())
    assert distance <= n_bits * n_classes / 2 / (n_classes - 1)
    assert oracles.smallest_distance(centres.tolist()) >= distance - (n_bits == 20)
    assert min_and_mean_distance(centres)[0] == oracles.smallest_distance(centres.tolist())


@pytest.mark.parametrize(("n_classes", "n_bits"), [(10, 12), (10, 48), (20, 24)])
def test_spread_centres_are_farther_apart_than_random_codes(n_classes, n_bits):
    generator = draws(1)
    sets = (
        torch.randint(0, 2, (n_classes, n_bits), generator=generator) * 2.0 - 1 for _ in range(100)
    )
    assert min_and_mean_distance(spread_centres(n_classes, n_bits, draws())) > max(
        map(min_and_mean_distance, sets)
    )


@pytest.mark.parametrize(("n_classes", "n_bits"), [(1, 1), (7, 2), (20, 33)])
def test_any_number_of_centres_and_bits_works(n_classes, n_bits):
    centres = hash_centres(n_classes, n_bits, draws())
    assert centres.shape == (n_classes, n_bits)
    assert centres.dtype == torch.float32
    assert set(centres.unique().tolist()) <= {-1.0, 1.0}
    assert len(centres.unique(dim=0)) >= min(n_classes, 2**n_bits) * 3 // 4


@pytest.mark.parametrize(("n_classes", "n_bits"), [(10, 16), (16, 8)])
def test_hash_centres_take_the_set_that_is_farther_apart(n_classes, n_bits):
    found = min_and_mean_distance(hash_centres(n_classes, n_bits, draws()))
    assert found[0] >= min_and_mean_distance(hadamard_centres(n_classes, n_bits, draws()))[0]
    assert found >= min_and_mean_distance(spread_centres(n_classes, n_bits, draws()))


def test_centres_depend_only_on_the_generator():
    torch.manual_seed(1)
    one = hash_centres(10, 16, draws(4))
    torch.manual_seed(2)
    assert torch.equal(one, hash_centres(10, 16, draws(4)))
    assert not torch.equal(one, hash_centres(10, 16, draws(5)))
    assert not torch.equal(hash_centres(10, 12), hash_centres(10, 12))


def test_a_single_centre_has_infinite_distance():
    assert min_and_mean_distance(torch.ones(1, 4)) == (math.inf, math.inf)


def test_the_tie_code_breaks_ties_of_the_majority():
    centres = torch.tensor([[1.0, 1, 1, -1], [1, -1, -1, -1], [-1, 1, -1, -1]])
    targets = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=torch.uint8)
    codes = centres_of_images(targets, centres, torch.tensor([-1.0, 1, -1, 1]))
    assert codes.tolist() == [[1, 1, -1, -1], [1, 1, -1, -1], [-1, 1, -1, -1]]
    codes = centres_of_images(targets, centres, torch.tensor([-1.0, -1, 1, 1]))
    assert codes.tolist() == [[1, -1, 1, -1], [1, 1, -1, -1], [-1, 1, -1, -1]]


@pytest.mark.slow
def test_a_thousand_centres_are_far_apart():
    centres = spread_centres(1000, 128, draws())
    assert min_and_mean_distance(centres)[0] >= 48
