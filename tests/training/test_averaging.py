from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from trainer_samples import assert_same_checkpoints, stop_after
from training_samples import digit_data, settings, trainer

from hashkit.errors import CheckpointError
from hashkit.training.averaging import WeightAverage
from hashkit.training.checkpoint import load_model, read_checkpoint


def test_the_average_is_that_of_the_formula_without_bias():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()
    module[1].requires_grad_(requires_grad=False)
    average = WeightAverage(module, 0.7)
    steps = [torch.randn(2, 3, dtype=torch.float64) for _ in range(5)]
    frozen = module[1].weight.clone()
    for step, values in enumerate(steps, start=1):
        with torch.no_grad():
            module[0].weight.copy_(values)
        average.update(step)
        shares = [0.7 ** (step - 1 - index) for index in range(step)]
        mean = sum(share * one for share, one in zip(shares, steps, strict=False)) / sum(shares)
        with average.used():
            torch.testing.assert_close(module[0].weight.detach(), mean)
            assert torch.equal(average.weights()["0.weight"], values)
            assert torch.equal(module[1].weight, frozen)
        assert torch.equal(module[0].weight, values)


def test_without_a_decay_there_is_no_average():
    module = nn.Linear(3, 2)
    average = WeightAverage(module, 0.0)
    average.update(1)
    assert average.weights() == {}
    average.restore({}, None)
    before = module.weight.data_ptr()
    with average.used():
        assert module.weight.data_ptr() == before


@pytest.mark.end_to_end
@pytest.mark.usefixtures("tiny_network")
def test_the_averaged_network_is_saved_and_a_resumed_run_has_the_same_bytes(tmp_path):
    kinds = {"optimiser": "muon", "lengths": (12, 5), "precision": "bf16"}
    config = settings(ema=0.8, sam=0.05, keep_snapshots=1, **kinds)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    second.fit()
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")

    path = whole.run.snapshots()[-1][1]
    saved = read_checkpoint(path)
    weights = dict(whole.learner.model.named_parameters())
    assert saved.trained.keys() == weights.keys()
    assert all(torch.equal(saved.trained[name], weights[name]) for name in weights)
    plain = trainer(dataclasses.replace(config, ema=0.0), data, tmp_path / "plain")
    plain.fit()
    # The average changes nothing in the course of the training.
    for name, values in plain.learner.model.named_parameters():
        assert torch.equal(values, weights[name]), name
    with whole.average.used():
        for name, values in whole.learner.model.named_parameters():
            assert torch.equal(saved.model[name], values), name
    assert not torch.equal(saved.model["heads.0.linear.weight"], weights["heads.0.linear.weight"])
    # What is exported has the average, and standardised logits by its own statistics.
    model = load_model(path).model
    images = torch.from_numpy(data.pixels.sample(80))[torch.from_numpy(data.fit_rows())]
    logits = model(images).detach()
    torch.testing.assert_close(logits.mean(0), torch.zeros(17), atol=1e-3, rtol=0)
    torch.testing.assert_close(logits.std(0, correction=0), torch.ones(17), atol=1e-2, rtol=0)
    assert read_checkpoint(whole.run.best_path).trained == {}


@pytest.mark.end_to_end
@pytest.mark.usefixtures("tiny_network")
def test_a_snapshot_without_the_weights_in_training_is_refused(tmp_path):
    config = settings(ema=0.8)
    one = trainer(config, digit_data(config), tmp_path / "run")
    with pytest.raises(
        CheckpointError, match=r"^a\.st: expected the weights of network\..* found none: train a"
    ):
        one.average.restore({}, "a.st")
