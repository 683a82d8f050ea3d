"""Frozen stages, cached features, and the start of a run."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from trainer_samples import (
    RememberingLoss,
    stop_after,
)
from training_samples import (
    TINY,
    TinyNetwork,
    add_loss,
    add_network,
    checkpoint_files,
    digit_data,
    settings,
    trainer,
)

import hashkit.training.trainer as trainer_module
from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.model import new_model
from hashkit.training.networks import NetworkKind
from hashkit.training.trainer import Trainer

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("tiny_network")]


# Frozen stages and cached features


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("freeze", "n_frozen"), [(1, 1), (-1, 2)])
def test_frozen_stages_do_not_change(tmp_path, freeze, n_frozen):
    config = settings(freeze=freeze, weight_decay=0.1)
    one = trainer(config, digit_data(config), tmp_path / "run")
    stages = one.learner.model.network.stages()
    before = [state_of(stage) for stage in stages]
    head = one.learner.model.heads[0].linear.weight
    first_head = head.detach().clone()
    one.fit()
    for index, (stage, old) in enumerate(zip(stages, before, strict=True)):
        new = stage.state_dict()
        unchanged = {name for name in old if torch.equal(old[name], new[name])}
        assert unchanged == (set(old) if index < n_frozen else set())
    assert not torch.equal(head, first_head)


class CountedTiny(TinyNetwork):
    """A network that counts its input images."""

    n_images = 0

    def forward(self, images):
        type(self).n_images += len(images)
        return super().forward(images)


@pytest.fixture
def counted(monkeypatch):
    kind = dataclasses.replace(TINY, build=lambda _, dropout, __: CountedTiny(dropout))
    add_network(monkeypatch, "counted", kind)
    monkeypatch.setattr(CountedTiny, "n_images", 0)
    return CountedTiny


def test_fixed_features_are_computed_once(tmp_path, counted, monkeypatch):
    config = settings(network="counted", freeze=-1, augmentation="none")
    data = digit_data(config)
    cached = trainer(config, data, tmp_path / "cached")
    assert cached.has_fixed_features
    counted.n_images = 0  # without the image of the size check
    reported = []
    cached.compute_features(lambda *at: reported.append(at))
    assert reported[-1] == (80, 80)
    cached.fit()
    assert counted.n_images == 80
    monkeypatch.setattr(Trainer, "has_fixed_features", False)
    plain = trainer(config, data, tmp_path / "plain")
    plain.fit()
    assert counted.n_images > 80 + 12 * 16  # each step computes its features
    found, expected = (read_checkpoint(one.run.snapshot_path(12)) for one in (cached, plain))
    for kind in ("model", "optimiser"):
        for name, value in getattr(expected, kind).items():
            # The order of sums may depend on the batch size.
            torch.testing.assert_close(getattr(found, kind)[name], value, rtol=1e-4, atol=1e-5)
    scores = [[line["held_out"] for line in one.run.read_metrics() if "held_out" in line]
             for one in (cached, plain)]  # fmt: skip
    assert scores[0] == pytest.approx(scores[1])
    assert len(scores[0]) == 3


@pytest.mark.parametrize(
    "changes", [{"freeze": 1}, {"augmentation": "shift"}, {"freeze": 0}], ids=str
)
def test_features_that_change_are_not_cached(tmp_path, counted, changes):
    config = settings(
        **{"network": "counted", "freeze": -1, "augmentation": "none", "holdout": 0} | changes,
        snapshot_steps=500,
    )
    one = trainer(config, digit_data(config), tmp_path / "run")
    assert not one.has_fixed_features
    counted.n_images = 0  # without the image of the size check
    one.compute_features()
    assert counted.n_images == 0
    one.fit()
    # At the end twice for the statistics, or once if its only normalisation is frozen.
    n_passes = 1 if changes.get("freeze") == 1 or one.config.freeze == -1 else 2
    assert counted.n_images == 12 * 16 + n_passes * len(one.data.fit_rows())


def test_features_that_do_not_fit_into_memory_are_not_cached(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(trainer_module, "memory_limit", lambda _: 80 * 64 * 4 - 1)
    config = settings(network="counted", freeze=-1, augmentation="none", holdout=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    assert counted.n_images >= 12 * 16
    assert one.learner.training


class DrawingLoss(RememberingLoss):
    """A loss that uses torch's global generator."""

    def forward(self, logits, targets):
        return super().forward(logits + 0.1 * torch.rand_like(logits), targets)


def test_randomness_of_heads_and_losses_depends_on_seed_and_step_with_cached_features(
    tmp_path, monkeypatch
):
    add_loss(monkeypatch, "drawing", DrawingLoss)
    config = settings(
        network="compact", loss="drawing", dropout=0.5, freeze=-1, augmentation="none", steps=6
    )
    data = digit_data(config, 40)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(3))
    torch.manual_seed(99)
    second = trainer(config, data, tmp_path / "run")
    second.resume()
    second.fit()
    assert checkpoint_files(second.run) == checkpoint_files(whole.run)


# Start of a run


class CalibratedTiny(TinyNetwork):
    """A network that records the arguments of its calibration."""

    def calibrate(self, images, heads):
        self.calibrated = images, heads, self.training


@pytest.mark.parametrize(
    ("pretrained", "has_weights", "calibrate", "expected"),
    [
        (True, False, True, True),
        (False, True, True, True),
        (True, True, True, False),
        (True, False, False, False),
    ],
)
def test_only_random_weights_are_calibrated(
    tmp_path, monkeypatch, pretrained, has_weights, calibrate, expected
):
    kind = NetworkKind("", lambda _, dropout, __: CalibratedTiny(dropout), has_weights=has_weights)
    add_network(monkeypatch, "calibrated", kind)
    config = settings(
        network="calibrated", pretrained=pretrained, calibrate=calibrate, lengths=(4, 6)
    )
    one = trainer(config, digit_data(config), tmp_path / "run")
    network = one.learner.model.network
    assert hasattr(network, "calibrated") == expected
    if expected:
        images, heads, training = network.calibrated
        assert images.shape == (80, 3, 8, 8)
        assert images.mean().abs() < 1e-3
        assert images.std() == pytest.approx(1, abs=1e-2)
        assert heads == list(one.learner.model.heads)
        assert not training


@pytest.mark.parametrize("network", ["compact", "dnnh"])
def test_without_calibration_initial_weights_are_unchanged(tmp_path, network):
    config = settings(network=network, calibrate=False)
    data = digit_data(config, 30)
    found = trainer(config, data, tmp_path / "run").learner.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        drawn = new_model(config, found.mean, found.std, dataset="")
    for name, value in drawn.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    adjusted = trainer(dataclasses.replace(config, calibrate=True), data, tmp_path / "run")
    changed = {
        name
        for name, value in adjusted.learner.model.state_dict().items()
        if not torch.equal(value, drawn.state_dict()[name])
    }
    weights = {name for name, value in drawn.named_parameters() if value.ndim > 1}
    assert changed & weights == ({"network.whiten.weight"} if network == "compact" else weights)
