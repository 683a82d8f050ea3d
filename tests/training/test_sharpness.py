from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn
from training_samples import digit_data, settings, trainer

from hashkit.training.sharpness import worst_nearby


def network():
    torch.manual_seed(0)
    layers = nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 2)
    return nn.Sequential(*layers).double()


def loss_of(module, images):
    return module[:4](images).square().sum() + module[0].weight.sum()


def test_the_weights_move_along_the_gradient_and_come_back():
    module, images = network(), torch.randn(8, 5, dtype=torch.float64)
    loss_of(module, images).backward()
    before = copy.deepcopy(module.state_dict())
    gradients = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    assert set(before) - set(gradients) >= {"4.weight", "4.bias"}
    length = torch.cat([one.flatten() for one in gradients.values()]).norm()
    with worst_nearby(module, 0.05):
        for name, parameter in module.named_parameters():
            moved = 0.05 * gradients[name] / length if name in gradients else 0
            torch.testing.assert_close(parameter.detach() - before[name], moved + 0 * parameter)
        loss_of(module, images).backward()  # in training mode, with running statistics
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    module(images)
    assert not torch.equal(module[1].running_mean, before["1.running_mean"])


def test_the_loss_is_highest_in_the_direction_of_the_move():
    module, images = network(), torch.randn(8, 5, dtype=torch.float64)
    loss_of(module, images).backward()
    with worst_nearby(module, 1e-4), torch.no_grad():
        highest = loss_of(module, images)
        there = [parameter.clone() for parameter in module.parameters()]
    here = [parameter.detach().clone() for parameter in module.parameters()]
    for _ in range(20):
        move = [torch.randn_like(one) for one in here]
        length = torch.cat([one.flatten() for one in move]).norm()
        with torch.no_grad():
            for parameter, one, start in zip(module.parameters(), move, here, strict=True):
                parameter.copy_(start + 1e-4 * one / length)
            assert loss_of(module, images) < highest
    assert not torch.equal(there[0], here[0])


@pytest.mark.end_to_end
@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "sgd"},
        {"optimiser": "muon", "lengths": (12, 5)},
    ],
    ids=str,
)
def test_a_step_descends_by_the_gradient_of_the_weights_nearby(tmp_path, changes):
    """Compared with two steps by hand, with the same dropout."""
    config = settings(steps=1, momentum=0.0, holdout=0, weight_decay=0.0, **changes)
    data = digit_data(config)
    one, by_hand, plain, late = (
        trainer(dataclasses.replace(config, sam=radius, sam_start=start), data, tmp_path / name)
        for name, radius, start in (
            *(("one", 0.3, 0), ("by hand", 0.3, 0), ("plain", 0, 0), ("late", 0.3, 0.5)),
        )
    )
    for other in (one, plain, late):
        other.fit()
    learner, stepper = by_hand.learner.train(), by_hand.stepper
    batch = next(iter(by_hand.batches.steps(by_hand.order, first_step=0, n_steps=1)))
    before = {name: values.detach().clone() for name, values in learner.named_parameters()}
    with torch.random.fork_rng():
        stepper._passes(batch, 0, None)
        with torch.no_grad():
            length = torch.cat([p.grad.flatten() for p in learner.parameters()]).norm()
            for parameter in learner.parameters():
                parameter += 0.3 * parameter.grad / length
        stepper._passes(batch, 0, None)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            parameter.copy_(before[name])
    stepper._update(0)
    weights = dict(one.learner.named_parameters())
    for name, values in learner.named_parameters():
        torch.testing.assert_close(weights[name], values, rtol=1e-4, atol=1e-6)
    other = dict(plain.learner.named_parameters())
    assert not all(torch.allclose(weights[name], other[name], rtol=1e-3) for name in weights)
    for name, values in late.learner.named_parameters():
        assert torch.equal(values, other[name]), name
