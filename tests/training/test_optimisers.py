from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn
from trainer_samples import assert_same_checkpoints
from training_samples import add_loss, digit_data, settings, trainer

from hashkit.training.losses import Loss, LossValue
from hashkit.training.muon import Muon, orthogonalised
from hashkit.training.optimisers import OPTIMISERS, Sgd, build_optimiser, set_learning_rate

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("tiny_network")]


def groups_by_name(learner, optimiser):
    """Learning rate, its scale, and weight decay of each trainable parameter."""
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    found = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert name not in found
            found[name] = group["lr"], group["lr_scale"], group["weight_decay"]
    return found


def built(tmp_path, **changes):
    """A learner and its optimiser."""
    config = settings(**{"learning_rate": 0.1, "weight_decay": 5e-4} | changes)
    learner = trainer(config, digit_data(config, 30), tmp_path / "run").learner
    return learner, build_optimiser(learner, config)


class LearningLoss(Loss):
    """A loss with a trainable matrix and vector."""

    def __init__(self, task):
        super().__init__(task)
        self.matrix = nn.Parameter(torch.randn(task.n_bits, 3))
        self.vector = nn.Parameter(torch.randn(3))

    def forward(self, logits, targets):  # noqa: ARG002
        return LossValue((logits @ self.matrix + self.vector).square().mean(), torch.tensor(1.0))


# Groups


def test_all_parameters_have_their_rate_and_only_matrices_are_decayed(tmp_path, monkeypatch):
    add_loss(monkeypatch, "learning", LearningLoss)
    learner, optimiser = built(tmp_path, loss="learning", stage_decay=0.5, lengths=(4, 6))
    found = groups_by_name(learner, optimiser)
    assert found.keys() == {name for name, _ in learner.named_parameters()}
    assert {"model.network.convolution.1.bias", "losses.1.matrix", "losses.0.vector"} <= set(found)
    for name, parameter in learner.named_parameters():
        scale = 0.25 if ".convolution." in name else 0.5 if ".network." in name else 1.0
        decay = 5e-4 if parameter.ndim > 1 else 0.0
        assert found[name] == (pytest.approx(0.1 * scale), scale, decay), name


def test_a_stage_decay_of_1_gives_equal_rates(tmp_path):
    found = groups_by_name(*built(tmp_path))
    assert {scale for _, scale, _ in found.values()} == {1.0}


@pytest.mark.parametrize(("freeze", "left"), [(1, {"linear"}), (-1, set())])
def test_frozen_stages_are_left_out(tmp_path, freeze, left):
    learner, optimiser = built(tmp_path, freeze=freeze, stage_decay=0.5)
    found = groups_by_name(learner, optimiser)
    parts = {name.split(".")[2] for name in found if name.startswith("model.network.")}
    assert parts == left
    # A stage's rate depends on its distance from the heads, not on frozen stages.
    assert all(found[name][1] == 0.5 for name in found if ".network." in name)
    assert any(name.startswith("model.heads.") for name in found)


def test_the_whitening_layer_of_compact_is_left_out(tmp_path):
    found = groups_by_name(*built(tmp_path, network="compact", stage_decay=0.5))
    assert not any("whiten" in name for name in found)
    scales = {name.split(".")[3]: found[name][1] for name in found if ".blocks." in name}
    assert scales == {"0": 0.125, "1": 0.25, "2": 0.5}


def test_biases_of_the_caffe_network_learn_twice_as_fast_and_are_not_decayed(tmp_path):
    learner, optimiser = built(tmp_path, network="dnnh-caffe", stage_decay=0.5)
    set_learning_rate(optimiser, 1e-4)
    found = groups_by_name(learner, optimiser)
    assert found.keys() == {name for name, _ in learner.named_parameters()}
    for name, (rate, _, decay) in found.items():
        _, part, _, number, *_ = name.split(".")
        stage = 0.5 ** (4 - int(number)) if part == "network" else 1.0
        is_bias = name.endswith("bias")
        assert rate == pytest.approx(1e-4 * stage * (2 if is_bias else 1)), name
        assert decay == (0.0 if is_bias else 5e-4), name


def test_biases_of_other_networks_have_the_rate_of_the_weights(tmp_path):
    found = groups_by_name(*built(tmp_path, network="dnnh"))
    assert {scale for _, scale, _ in found.values()} == {1.0}
    for name, (_, _, decay) in found.items():
        assert decay == (0.0 if name.endswith("bias") else 5e-4), name


def test_setting_the_rate_keeps_the_scales(tmp_path):
    learner, optimiser = built(tmp_path, stage_decay=0.5)
    for rate in (0.1, 0.003, 0.0):
        set_learning_rate(optimiser, rate)
        for found, scale, _ in groups_by_name(learner, optimiser).values():
            assert found == pytest.approx(rate * scale)


@pytest.mark.parametrize(("name", "kind"), [("sgd", Sgd), ("muon", Muon)])
def test_optimisers_by_name(tmp_path, name, kind):
    _, optimiser = built(tmp_path, optimiser=name, momentum=0.8, nesterov=True)
    assert type(optimiser) is kind
    for group in optimiser.param_groups:
        assert (group["momentum"], group["nesterov"]) == (0.8, True)


def test_heads_learn_first_and_a_resumed_run_has_the_same_bytes(tmp_path):
    # 12 steps, of which the first 6 change only heads; sharpness-aware steps move nothing else.
    config = settings(head_first=0.5, sam=0.05, holdout=0, keep_snapshots=1)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    before = {name: values.detach().clone() for name, values in whole.learner.named_parameters()}
    whole.fit(should_stop=lambda: whole.step >= 6)
    without_gradient = "model.heads.0.linear.bias"  # because logits are standardised
    for name, values in whole.learner.named_parameters():
        stays = ".network." in name or name == without_gradient
        assert torch.equal(values, before[name]) == stays, name
    part = trainer(config, data, tmp_path / "part")
    part.fit(should_stop=lambda: part.step >= 5)
    again = trainer(config, data, tmp_path / "part")
    again.resume()
    for one in (whole, again):
        one.fit()
    assert_same_checkpoints(tmp_path / "part", tmp_path / "whole")
    for name, values in whole.learner.named_parameters():
        assert torch.equal(values, before[name]) == (name == without_gradient), name


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_centralised_gradients_leave_the_sums_of_filters_and_rows(tmp_path, name):
    config = settings(
        network="compact", optimiser=name, centralise=True, weight_decay=0, steps=3, holdout=0
    )
    one = trainer(config, digit_data(config), tmp_path / "run")
    before = {key: values.detach().clone() for key, values in one.learner.named_parameters()}
    one.fit()
    for key, values in one.learner.named_parameters():
        if values.ndim == 1 or not values.requires_grad:
            continue
        sums, old_sums = values.flatten(1).sum(1), before[key].flatten(1).sum(1)
        assert not torch.allclose(values, before[key], rtol=1e-3)
        if name == "muon" and values.ndim == 4:  # and then scales all to their previous norm
            sums = sums * (old_sums @ sums) / (sums @ sums)
        torch.testing.assert_close(sums, old_sums, rtol=1e-3, atol=1e-4)


# Muon


@pytest.mark.parametrize("shape", [(20, 60), (60, 20), (30, 30), (1, 9), (9, 1)], ids=str)
def test_singular_values_move_near_1_and_vectors_are_unchanged(shape):
    torch.manual_seed(0)
    n = min(shape)
    left = torch.linalg.qr(torch.randn(shape[0], n, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(shape[1], n, dtype=torch.float64))[0]
    values = torch.linspace(1, 3, n, dtype=torch.float64)
    found = orthogonalised(left @ torch.diag(values) @ right.T)
    assert found.shape == shape
    inner = left.T @ found @ right
    assert inner.diag().min() > 0.65
    assert inner.diag().max() < 1.25
    torch.testing.assert_close(inner, torch.diag(inner.diag()), atol=1e-10, rtol=0)
    torch.testing.assert_close(left @ inner @ right.T, found, atol=1e-10, rtol=0)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_a_matrix_does_not_matter(scale):
    matrix = torch.randn(6, 10, dtype=torch.float64)
    torch.testing.assert_close(orthogonalised(scale * matrix), orthogonalised(matrix), rtol=1e-4,
                               atol=1e-4)  # fmt: skip


def test_a_zero_gradient_gives_a_zero_step():
    assert not orthogonalised(torch.zeros(4, 6)).any()


def test_orthogonalisation_in_half_precision_agrees_to_rounding():
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = orthogonalised(matrix)
    assert found.dtype == torch.float32
    assert not torch.equal(found, orthogonalised(matrix))
    torch.testing.assert_close(found, orthogonalised(matrix), rtol=0, atol=0.02)
    weights = nn.Parameter(torch.randn(4, 2, 3, 3))
    before = weights.detach().clone()
    weights.grad = torch.zeros_like(weights)
    Muon([weights], lr=0.1, momentum=0.9, nesterov=True).step()
    torch.testing.assert_close(weights.detach(), before)


@pytest.mark.parametrize(("size", "rate"), [(1e-3, 0.2), (1.0, 0.01), (50.0, 0.2)])
def test_a_step_rotates_a_convolution_by_the_rate_and_keeps_its_norm(size, rate):
    torch.manual_seed(1)
    weights = nn.Parameter(size * torch.randn(8, 4, 3, 3, dtype=torch.float64))
    before = weights.detach().clone()
    gradient = torch.randn_like(weights)
    weights.grad = 1e3 * gradient
    Muon([weights], lr=rate, momentum=0.0, nesterov=False, weight_decay=0.1).step()
    after = weights.detach()
    torch.testing.assert_close(after.norm(), before.norm(), rtol=1e-9, atol=0)
    step = orthogonalised(gradient.flatten(1)).view_as(weights)
    expected = before - step * (rate * before.norm() / step.norm())
    torch.testing.assert_close(after, expected * (before.norm() / expected.norm()))
    # Random weights are nearly orthogonal to the step, so the angle is about the rate.
    cosine = (after * before).sum() / (after.norm() * before.norm())
    assert math.acos(cosine) == pytest.approx(math.atan(rate), rel=0.1)
    assert ((before - after) * gradient).sum() > 0


@pytest.mark.parametrize(
    ("momentum", "nesterov", "weight_decay"),
    [(0.0, False, 0.03), (0.9, False, 0.0), (0.9, True, 0.03)],
)
def test_other_parameters_are_updated_exactly_as_by_sgd(momentum, nesterov, weight_decay):
    shapes = [(5, 7), (7,), (2, 3, 4)]
    torch.manual_seed(2)
    starts = [torch.randn(shape) for shape in shapes]
    pairs = []
    for kind in (Muon, Sgd, torch.optim.SGD):
        parameters = [nn.Parameter(start.clone()) for start in starts]
        optimiser = kind(
            [{"params": parameters, "weight_decay": weight_decay}],
            lr=0.1,
            momentum=momentum,
            nesterov=nesterov,
        )
        pairs.append((parameters, optimiser))
    for step in range(6):
        for parameters, optimiser in pairs:
            for index, parameter in enumerate(parameters):
                generator = torch.Generator().manual_seed(10 * step + index)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimiser.step()
        for one, step_without_compiler, other in zip(*(pair[0] for pair in pairs), strict=True):
            assert torch.equal(one, other)
            assert torch.equal(step_without_compiler, other)
    assert not torch.equal(pairs[0][0][0].detach(), starts[0])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_does_not_import_the_compiler_of_torch(monkeypatch, name):
    """The import takes two seconds at the start of each training."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    weights = nn.Parameter(torch.ones(2, 1, 3, 3))
    optimiser = OPTIMISERS[name]([weights], lr=0.1, momentum=0.9, nesterov=True)
    weights.grad = torch.arange(18.0).reshape(weights.shape)
    optimiser.step()
    assert not torch.equal(weights, torch.ones(2, 1, 3, 3))
    optimiser.zero_grad()
    optimiser.load_state_dict(optimiser.state_dict())


def test_momentum_of_a_convolution_accumulates_its_gradients():
    weights = nn.Parameter(torch.randn(4, 2, 3, 3, dtype=torch.float64))
    optimiser = Muon([weights], lr=0.1, momentum=0.8, nesterov=True)
    expected, buffer = weights.detach().clone(), torch.zeros_like(weights)
    for step in range(3):
        gradient = torch.randn(
            weights.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(step)
        )
        weights.grad = gradient
        optimiser.step()
        buffer = 0.8 * buffer + gradient
        step_matrix = orthogonalised((gradient + 0.8 * buffer).flatten(1)).view_as(expected)
        norm = expected.norm()
        expected = expected - step_matrix * (0.1 * norm / step_matrix.norm())
        expected = expected * (norm / expected.norm())
        torch.testing.assert_close(weights.detach(), expected.detach())
        torch.testing.assert_close(optimiser.state[weights]["momentum_buffer"], buffer.detach())


def test_parameters_without_a_gradient_do_not_change():
    weights, bias = nn.Parameter(torch.randn(2, 2, 3, 3)), nn.Parameter(torch.ones(2))
    before = weights.detach().clone()
    bias.grad = torch.ones(2)
    Muon([weights, bias], lr=0.5, momentum=0.9, nesterov=False).step()
    assert torch.equal(weights, before)
    assert bias.tolist() == [0.5, 0.5]


def test_a_closure_is_called_with_gradients_enabled_and_its_loss_returned():
    weights = nn.Parameter(torch.ones(3))
    optimiser = Muon([weights], lr=0.5, momentum=0.0, nesterov=False)

    def closure():
        loss = weights.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimiser.step(closure) == 3.0
    assert weights.tolist() == [0, 0, 0]


def test_steps_on_one_batch_reduce_the_loss():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    optimiser = Muon(network.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    images, targets = torch.randn(16, 3, 8, 8), torch.randint(0, 2, (16, 4)).float()
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(images), targets)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
