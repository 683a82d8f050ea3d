"""Losses that need no labels."""

from __future__ import annotations

import oracles_losses_centres as oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.training.losses import LOSSES, Task, build_loss
from hashkit.training.losses.bihalf import bihalf_codes
from hashkit.training.losses.binary import signs, straight_through

NAMES = ["bihalf", "cibhash"]


def make(name, n_bits=6, **options):
    return build_loss(name, Task(n_bits, 0), options).double()


def random(n_images, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_images, width, generator=generator, dtype=torch.float64)


def drawn_codes(logits, seed):
    """The codes that the loss samples with this seed."""
    torch.manual_seed(seed)
    return torch.where(torch.rand_like(logits) < logits.sigmoid(), 1.0, -1.0).tolist()


@looped("quantisation", [3.0, 0.7])
@looped("n_images", [2, 8, 9])
def test_bihalf_matches_plain_loops(n_images, quantisation):
    logits, features = random(n_images, seed=1), random(n_images, 11, seed=2)
    result = make("bihalf", quantisation=quantisation)(logits, features)
    value, active = oracles.bihalf(logits.tolist(), features.tolist(), quantisation)
    assert result.value.item() == pytest.approx(value, rel=1e-10)
    assert result.active.item() == pytest.approx(active)


@looped("images", [[0, 1, 2, 0, 1, 2], [4, 4], [0, 1, 1, 2]], ids=str)
@looped("options", [{}, {"temperature": 1.1, "quantisation": 0.9}], ids=str)
def test_cibhash_matches_plain_loops(images, options):
    logits = 2 * random(len(images), seed=3)
    loss = make("cibhash", **options)
    for seed in range(3):
        codes = drawn_codes(logits, seed)
        torch.manual_seed(seed)
        result = loss(logits, torch.tensor(images))
        value, active = oracles.cibhash(
            logits.tolist(), images, codes, loss.temperature, loss.quantisation
        )
        assert result.value.item() == pytest.approx(value, rel=1e-9)
        assert result.active.item() == pytest.approx(active)


@given(st.data())
def test_bihalf_codes_match_sorting(data):
    n_images = data.draw(st.integers(1, 7))
    rows = data.draw(
        st.lists(
            st.lists(st.integers(-2, 2), min_size=3, max_size=3),
            min_size=n_images,
            max_size=n_images,
        )
    )
    codes = bihalf_codes(torch.tensor(rows, dtype=torch.float32))
    assert codes.tolist() == oracles.halves(rows)
    assert ((codes.sum(dim=0).abs()) == n_images % 2).all()


def test_bihalf_has_the_gradient_of_its_codes_plus_the_papers_term():
    """Li and van Gemert 2021: dL/dU = dL/dB + gamma (U - B), here with gamma = 3 / (N K)."""
    logits, features = random(8, seed=1).requires_grad_(), random(8, 5, seed=2)
    make("bihalf", quantisation=3.0)(logits, features).value.backward()
    codes = bihalf_codes(logits.detach()).requires_grad_()
    of_codes = torch.cosine_similarity(codes[:, None], codes[None], dim=2)
    of_features = torch.cosine_similarity(features[:, None], features[None], dim=2)
    pairs = torch.triu_indices(8, 8, offset=1)
    (of_codes - of_features)[pairs[0], pairs[1]].square().mean().backward()
    # All codes have the same norm, so the product has no gradient of the normalisation.
    plain = torch.autograd.functional.jacobian(
        lambda b: ((b @ b.T / 6) - of_features)[pairs[0], pairs[1]].square().mean(), codes.detach()
    )
    pull = 3 * (logits.detach() - codes.detach()) / logits.numel()
    torch.testing.assert_close(logits.grad, plain + pull)


def test_cibhash_passes_on_the_gradient_of_its_codes():
    logits = random(6, seed=3).requires_grad_()
    images = torch.tensor([0, 1, 2, 0, 1, 2])
    codes = torch.tensor(drawn_codes(logits.detach(), 5), dtype=torch.float64)
    torch.manual_seed(5)
    make("cibhash", quantisation=0.0)(logits, images).value.backward()

    def contrast(relaxed):
        similarities = relaxed @ relaxed.T / 6 / 0.3 - 1e12 * torch.eye(6, dtype=torch.float64)
        return torch.nn.functional.cross_entropy(similarities, torch.tensor([3, 4, 5, 0, 1, 2]))

    of_codes = torch.autograd.functional.jacobian(contrast, codes)
    p = logits.detach().sigmoid()
    torch.testing.assert_close(logits.grad, of_codes * 2 * p * (1 - p))


@looped("size", [0.0, 1e4])
@looped("n_images", [1, 5])
@looped("kind", ["different", "constant"])
@looped("name", NAMES)
def test_any_batch_has_a_finite_loss_and_gradient(name, n_images, size, kind):
    loss = make(name).float()
    logits = size * random(n_images).float() if kind == "different" else torch.ones(n_images, 6)
    logits = (size * logits if kind == "constant" else logits).requires_grad_()
    features = torch.zeros(n_images, 4) if kind == "constant" else random(n_images, 4).float()
    result = loss(logits, features if name == "bihalf" else torch.arange(n_images) // 2)
    result.value.backward()
    assert torch.isfinite(result.value)
    assert torch.isfinite(logits.grad).all()
    assert 0 <= result.active <= 1


def test_a_single_view_has_zero_loss_and_gradient():
    logits = random(1).requires_grad_()
    result = make("cibhash")(logits, torch.tensor([0]))
    result.value.backward()
    assert result.value == 0
    assert result.active == 0
    assert not logits.grad.any()


def descend(loss, logits, targets, n_steps=200):
    logits = torch.nn.Parameter(logits.clone())
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for step in range(n_steps):
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss(logits, targets).value.backward()
        optimiser.step()
    return logits.detach()


def code_distances(logits):
    codes = torch.where(logits > 0, 1, -1)
    return (logits.shape[1] - codes @ codes.T) // 2


def grouped_features():
    """Features of 20 images in 4 groups, and positive logits."""
    torch.manual_seed(0)
    groups = torch.arange(20) % 4
    features = torch.randn(4, 16)[groups] + 0.1 * torch.randn(20, 16)
    return groups, features, 0.1 * torch.randn(20, 12) + 2


@pytest.mark.end_to_end
def test_bihalf_balances_each_bit():
    _, features, start = grouped_features()
    loss = build_loss("bihalf", Task(12, 0), {})
    end = descend(loss, start, features)
    assert (end > 0).sum(dim=0).tolist() == [10] * 12
    assert loss(start, features).active == 0.5
    assert loss(end, features).active == 0


@pytest.mark.end_to_end
def test_bihalf_gives_similar_codes_to_similar_features():
    groups, features, start = grouped_features()
    # Without a network, the default weight outweighs the pairs of only 20 images.
    end = descend(build_loss("bihalf", Task(12, 0), {"quantisation": 0.5}), start, features)
    distances, same = code_distances(end).float(), groups[:, None] == groups
    assert distances[same].mean() + 4 < distances[~same].mean()
    cosines = torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2)
    assert (1 - distances / 6 - cosines).abs().mean() < 0.35


@pytest.mark.end_to_end
def test_cibhash_brings_codes_of_views_together():
    torch.manual_seed(0)
    images = torch.arange(10).repeat(2)
    loss = build_loss("cibhash", Task(16, 0), {})
    start = 0.1 * torch.randn(20, 16)
    end = descend(loss, start, images)
    same = (images[:, None] == images) & ~torch.eye(20, dtype=torch.bool)
    others = images[:, None] != images
    before, after = code_distances(start), code_distances(end)
    assert after[same].float().mean() < 1 < before[same].float().mean()
    assert after[same].max() < after[others].min()


@pytest.mark.end_to_end
def test_the_divergence_brings_logits_of_views_together():
    torch.manual_seed(0)
    images = torch.arange(4).repeat(2)
    start = torch.randn(8, 6)
    gaps = [
        (end[:4] - end[4:]).abs().mean()
        for end in (
            descend(make("cibhash", quantisation=weight).float(), start, images, 60)
            for weight in (0.0, 1.0)
        )
    ]
    assert gaps[1] < 0.5 * gaps[0]


def test_bits_are_sampled_with_the_sigmoid_of_their_logit():
    logits = torch.tensor([[-1.5, -0.2, 0.0, 0.7, 3.0]]).repeat(2, 4000)
    torch.manual_seed(0)
    fraction = torch.tensor(drawn_codes(logits, 0)).gt(0).float().reshape(2, -1, 5).mean((0, 1))
    # Five standard deviations of 8,000 tosses of a fair coin.
    assert (fraction - logits[0, :5].sigmoid()).abs().max() < 5 * 0.5 / 8000**0.5


def test_kind_of_targets():
    assert LOSSES["bihalf"].learns_from == "features"
    assert LOSSES["cibhash"].learns_from == "views"
    # Batches grouped by label would reveal the labels.
    assert not any(LOSSES[name].compares_images for name in NAMES)


def test_signs_follow_the_code_convention():
    assert signs(torch.tensor([-0.1, -0.0, 0.0, 1e-30])).tolist() == [-1, -1, -1, 1]


def test_straight_through_is_exactly_the_code():
    relaxed = (1e4 * torch.randn(1000)).requires_grad_()
    codes = straight_through(signs(relaxed), relaxed)
    assert torch.equal(codes, signs(relaxed))
    (codes * torch.arange(1000)).sum().backward()
    assert torch.equal(relaxed.grad, torch.arange(1000.0))


def test_bihalf_does_not_compare_an_image_with_itself():
    """Not even an image with zero features, whose cosine with itself is 0 instead of 1."""
    loss = make("bihalf", quantisation=0.0)
    assert loss(random(1), torch.zeros(1, 4)).value == 0
