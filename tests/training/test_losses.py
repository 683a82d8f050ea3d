from __future__ import annotations

import numpy as np
import oracles_training as oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.errors import ConfigError
from hashkit.training.losses import LOSSES, Loss, LossValue, Task, build_loss, loss_options
from hashkit.training.losses.similarity import label_overlap
from hashkit.training.losses.triplet import TripletRankingLoss, piecewise_threshold

AVERAGES = ["active", "valid"]

SINGLE = torch.tensor([0, 1, 1, 2, 0, 1, 3])
UNLABELLED = torch.tensor([0, -1, 0, 1, -1, 1, -1])
MULTI = torch.tensor(
    [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.uint8
)
LABELS = {"single": SINGLE, "unlabelled": UNLABELLED, "multi": MULTI}

# Logits of bits that the threshold of this epsilon decides.
BINARY, DECIDED = 0.2, 3.0


def triplet(margin=2.0, average="active", epsilon=0.5, n_bits=5):
    task = Task(n_bits, n_classes=4, is_multi_label=True)
    return TripletRankingLoss(task, margin=margin, average=average, epsilon=epsilon)


def random_logits(n_images, n_bits=5, seed=0):
    """Logits whose sigmoids are spread evenly over [0, 1]."""
    values = np.random.default_rng(seed).random((n_images, n_bits))
    return torch.tensor(values, dtype=torch.float64).logit()


def relaxed(logits):
    return logits.detach().sigmoid().tolist()


def fraction(n_active, n_triplets):
    return pytest.approx(n_active / max(1, n_triplets), rel=1e-6)


# The triplet loss


@looped("average", AVERAGES)
@looped("labels", LABELS.values(), ids=LABELS)
@looped("margin", [0.5, 3.0])
def test_loss_of_labels_matches_triple_loops(labels, average, margin):
    logits = random_logits(len(labels))
    triplets = oracles.triplets_of(labels.tolist())
    expected, n_triplets, n_active = oracles.triplet_loss(
        relaxed(logits), triplets, margin, average
    )
    loss = triplet(margin, average)(logits, labels)
    assert n_triplets > 0
    assert n_active > 0
    assert loss.active.item() == fraction(n_active, n_triplets)
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)
    if margin == 0.5:
        assert n_active < n_triplets


@given(st.data())
def test_loss_matches_loops_on_random_batches(data):
    n_images = data.draw(st.integers(1, 6))
    labels = data.draw(st.lists(st.integers(-1, 2), min_size=n_images, max_size=n_images))
    margin = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    average = data.draw(st.sampled_from(AVERAGES))
    logits = random_logits(n_images, seed=data.draw(st.integers(0, 99)))
    expected, n_triplets, n_active = oracles.triplet_loss(
        relaxed(logits), oracles.triplets_of(labels), margin, average
    )
    loss = triplet(margin, average)(logits, torch.tensor(labels))
    assert loss.active.item() == fraction(n_active, n_triplets)
    assert loss.value.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("average", AVERAGES)
def test_loss_of_given_triplets_matches_a_loop(average):
    logits = random_logits(6)
    triplets = torch.tensor([[0, 1, 2], [5, 0, 3], [0, 1, 2], [2, 4, 1], [3, 3, 0]])
    expected, n_triplets, n_active = oracles.triplet_loss(
        relaxed(logits), triplets.tolist(), 0.4, average
    )
    loss = triplet(0.4, average).of_triplets(logits, triplets)
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)
    assert loss.active.item() == fraction(n_active, n_triplets)
    assert 0 < n_active < n_triplets


def test_a_list_of_all_triplets_has_the_loss_of_the_labels():
    logits = random_logits(len(MULTI))
    loss = triplet(1.0, "valid")
    triplets = torch.tensor(oracles.triplets_of(MULTI.tolist()))
    torch.testing.assert_close(
        loss(logits, MULTI).value, loss.of_triplets(logits, triplets).value, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_overlap_counts_shared_labels(labels):
    overlap = label_overlap(labels)
    assert overlap.dtype == torch.float32
    rows = labels.tolist()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert overlap[i, j] == oracles.n_shared(one, other)


def test_an_image_may_be_similar_in_one_triplet_and_dissimilar_in_another():
    """Image 1 is similar for query 0 and dissimilar for query 2."""
    labels = [[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 0]]
    triplets = oracles.triplets_of(labels)
    assert (0, 1, 2) in triplets
    assert (2, 1, 3) not in triplets
    logits = random_logits(4)
    expected, *_ = oracles.triplet_loss(relaxed(logits), triplets, 1.0, "valid")
    loss = triplet(1.0, "valid")(logits, torch.tensor(labels, dtype=torch.uint8))
    assert loss.value.item() == pytest.approx(expected, rel=1e-12)


@looped("average", AVERAGES)
@looped("labels", LABELS.values(), ids=LABELS)
def test_gradient_of_labels(labels, average):
    logits = random_logits(len(labels), seed=3).requires_grad_()
    loss = triplet(0.7, average)
    assert away_from_kinks(logits, oracles.triplets_of(labels.tolist()), 0.7)
    assert torch.autograd.gradcheck(lambda values: loss(values, labels).value, logits)


@pytest.mark.parametrize("average", AVERAGES)
def test_gradient_of_given_triplets(average):
    logits = random_logits(5, seed=4).requires_grad_()
    triplets = torch.tensor([[0, 1, 2], [3, 4, 0], [1, 0, 4]])
    loss = triplet(0.7, average)
    assert away_from_kinks(logits, triplets.tolist(), 0.7)
    assert torch.autograd.gradcheck(lambda values: loss.of_triplets(values, triplets).value, logits)


def away_from_kinks(logits, triplets, margin):
    values = relaxed(logits)
    return all(
        abs(
            margin
            + oracles.squared_distance(values[query], values[similar])
            - oracles.squared_distance(values[query], values[dissimilar])
        )
        > 1e-4
        for query, similar, dissimilar in triplets
    )


@looped(
    "labels",
    [
        torch.tensor([0, 1, 2, 3]),
        torch.tensor([5, 5, 5, 5]),
        torch.tensor([-1, -1, -1, -1]),
        torch.zeros(4, 3, dtype=torch.uint8),
    ],
    ids=["all different", "all equal", "no labels", "no multi-hot labels"],
)
def test_a_batch_without_triplets_has_zero_loss_and_gradient(labels):
    logits = random_logits(4).requires_grad_()
    loss = triplet(1.0, "active")(logits, labels)
    assert (loss.value.item(), loss.active.item()) == (0, 0)
    loss.value.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_an_empty_list_of_triplets_has_zero_loss_and_gradient():
    logits = random_logits(4).requires_grad_()
    loss = triplet(1.0, "valid").of_triplets(logits, torch.empty(0, 3, dtype=torch.int64))
    loss.value.backward()
    assert (loss.value.item(), loss.active.item()) == (0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("margin", "active"), [(2.9, 0.0), (3.1, 1.0)])
def test_satisfied_triplets_have_zero_loss(margin, active):
    logits = torch.tensor([[-DECIDED] * 3, [-DECIDED] * 3, [DECIDED] * 3, [DECIDED] * 3])
    logits.requires_grad_()
    loss = triplet(margin, "active", BINARY, n_bits=3)(logits, torch.tensor([0, 0, 1, 1]))
    loss.value.backward()
    assert loss.value.item() == pytest.approx(active * (margin - 3), abs=1e-6)
    assert loss.active.item() == active
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@looped(("n_differing", "margin"), [(0, 4), (4, 4), (6, 4), (2, 1)])
def test_for_binary_codes_the_margin_is_in_bits(n_differing, margin):
    query = torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 0])
    near = query.clone()
    near[7] = 1  # one bit away
    far = query.clone()
    far[:n_differing] = 1 - far[:n_differing]
    logits = DECIDED * (2 * torch.stack([query, near, far]) - 1)
    loss = triplet(margin, "valid", BINARY).of_triplets(logits, torch.tensor([[0, 1, 2]]))
    assert loss.value.item() == max(0, margin + 1 - n_differing)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 0.5])
def test_threshold_and_its_gradient_follow_the_equation(epsilon):
    values = torch.tensor(
        [0.0, 0.1, 0.3, 0.45, 0.5, 0.55, 0.65, 0.9, 1.0], dtype=torch.float64, requires_grad=True
    )
    result = piecewise_threshold(values, epsilon)
    result.sum().backward()
    for value, output, slope in zip(
        values.tolist(), result.tolist(), values.grad.tolist(), strict=True
    ):
        if value < 0.5 - epsilon:
            assert (output, slope) == (0, 0)
        elif value > 0.5 + epsilon:
            assert (output, slope) == (1, 0)
        else:
            assert (output, slope) == (value, 1)


def test_the_loss_compares_sigmoids_after_the_threshold():
    epsilon = 0.3
    logits = random_logits(len(SINGLE), seed=2)
    codes = [
        [0.0 if s < 0.5 - epsilon else 1.0 if s > 0.5 + epsilon else s for s in row]
        for row in relaxed(logits)
    ]
    triplets = oracles.triplets_of(SINGLE.tolist())
    expected, *_ = oracles.triplet_loss(codes, triplets, 1.0, "valid")
    found = [
        triplet(1.0, "valid", epsilon)(logits, SINGLE),
        triplet(1.0, "valid", epsilon).of_triplets(logits, torch.tensor(triplets)),
    ]
    assert [loss.value.item() for loss in found] == pytest.approx([expected] * 2, rel=1e-12)
    assert triplet(1.0, "valid")(logits, SINGLE).value.item() != pytest.approx(expected, rel=1e-3)


def test_invalid_options_of_the_triplet_loss_are_refused():
    with pytest.raises(ConfigError, match=r"^unknown average 'odd'; known: active, valid$"):
        triplet(average="odd")
    for epsilon in (-0.1, 0.6):
        with pytest.raises(
            ConfigError, match=f"^`epsilon` must be between 0 and 0.5, not {epsilon}"
        ):
            triplet(epsilon=epsilon)


# Losses by name


def test_active_is_detached_and_the_value_is_not():
    logits = random_logits(3).requires_grad_()
    loss = LossValue(logits.sum(), logits.mean())
    assert loss.value.requires_grad
    assert not loss.active.requires_grad


def test_options_are_the_keyword_arguments_of_a_loss():
    assert loss_options("triplet") == {"margin": 2.0, "average": "active", "epsilon": 0.5}


@looped("name", LOSSES)
def test_every_loss_is_built_with_its_defaults(name):
    task = Task(16, n_classes=5)
    defaults = {key: value for key, value in loss_options(name).items() if value is not None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = build_loss(name, task, {})
        torch.manual_seed(0)
        stated = build_loss(name, task, defaults)
    assert isinstance(plain, Loss)
    assert plain.task == task
    for key, value in defaults.items():
        assert getattr(plain, key) == getattr(stated, key) == value
    for one, other in zip(plain.state_dict().values(), stated.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_an_option_reaches_the_loss():
    loss = build_loss("triplet", Task(8, 3), {"margin": 7.0, "average": "valid"})
    assert (loss.margin, loss.average, loss.epsilon) == (7.0, "valid", 0.5)


@pytest.mark.parametrize("name", ["triplet", "hashnet"])
def test_an_unknown_option_lists_the_known_ones(name):
    with pytest.raises(ConfigError, match=f"^the loss {name} has no colour; it has ") as caught:
        build_loss(name, Task(8, 3), {"colour": 1.0})
    for option in loss_options(name):
        assert option in str(caught.value)


def test_a_single_label_loss_refuses_several_labels():
    assert build_loss("greedyhash", Task(8, 3), {}).task.n_bits == 8
    with pytest.raises(
        ConfigError,
        match=r"^the loss greedyhash learns from one label per image, .* the losses triplet, dpsh,",
    ) as caught:
        build_loss("greedyhash", Task(8, 3, is_multi_label=True), {})
    others = str(caught.value).partition("one of the losses ")[2].split(", ")
    assert not {"greedyhash", "bihalf", "cibhash"} & set(others)
    for name in others:
        build_loss(name, Task(8, 3, is_multi_label=True), {})


@looped("name", LOSSES)
def test_only_losses_that_take_triplets_implement_of_triplets(name):
    loss = build_loss(name, Task(8, 3), {})
    arguments = torch.randn(3, 8), torch.tensor([[0, 1, 2]])
    if loss.takes_triplets:
        assert loss.of_triplets(*arguments).value.ndim == 0
    else:
        with pytest.raises(NotImplementedError):
            loss.of_triplets(*arguments)
