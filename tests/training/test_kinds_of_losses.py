"""Training with losses of every kind, and several code lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trainer_samples import (
    RememberingLoss,
    stop_after,
)
from training_samples import (
    add_loss,
    checkpoint_files,
    digit_data,
    settings,
    trainer,
    triplet_data,
    unlabelled_data,
)

from hashkit.datasets.digits import open_digits
from hashkit.errors import ConfigError
from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.losses import LOSSES, MAX_TRIPLET_BATCH
from hashkit.training.prepare import prepare_labelled
from hashkit.training.selection import held_out_score

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("tiny_network")]


# All kinds of losses


def data_for(loss, config):
    return digit_data(config) if LOSSES[loss].learns_from == "labels" else unlabelled_data(config)


# Losses with parameters, with buffers, that depend on progress, of features and of views.
@pytest.mark.parametrize("loss", ["greedyhash", "csq", "hashnet", "bihalf", "cibhash", "supcon"])
def test_a_stopped_run_of_any_loss_resumes_to_the_same_bytes(tmp_path, loss):
    config = settings(loss=loss, steps=8, keep_snapshots=1, lengths=(16, 8))
    data = data_for(loss, config)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(4))
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 4
    second.fit()
    assert checkpoint_files(second.run) == checkpoint_files(whole.run)
    losses = read_checkpoint(whole.run.snapshots()[-1][1]).losses
    assert losses.keys() == whole.learner.losses.state_dict().keys()


def test_parameters_and_buffers_of_a_loss_are_saved(tmp_path, monkeypatch):
    add_loss(monkeypatch, "remembering", RememberingLoss)
    config = settings(loss="remembering", holdout=0, keep_snapshots=0, weight_decay=0.5)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    before = whole.learner.losses[0].weight.detach().clone()
    whole.fit()
    first = trainer(config, data, tmp_path / "run")
    first.fit(should_stop=lambda: first.step >= 6)
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 6
    assert second.learner.losses[0].n_calls == 6
    second.fit()
    assert second.learner.losses[0].progress == [step / 12 for step in range(6, 12)]
    found, expected = (read_checkpoint(one.run.snapshot_path(12)) for one in (second, whole))
    for kind in ("model", "losses", "optimiser"):
        assert getattr(found, kind).keys() == getattr(expected, kind).keys()
        for name, value in getattr(expected, kind).items():
            assert torch.equal(getattr(found, kind)[name], value), name
    assert expected.losses["0.n_calls"] == 12
    assert not torch.equal(expected.losses["0.weight"], before)
    assert "losses.0.weight" in expected.optimiser
    assert whole.order.group_size == 1  # it compares no images


class WatchingLoss(RememberingLoss):
    """A loss without labels that keeps its arguments."""

    def forward(self, logits, targets):
        self.seen = logits.detach().clone(), targets
        return super().forward(logits, targets)


class ViewsLoss(WatchingLoss):
    learns_from = "views"


class FeaturesLoss(WatchingLoss):
    learns_from = "features"


@pytest.mark.parametrize("augmentation", ["none", "shift"])
@pytest.mark.parametrize("freeze", [0, -1])
def test_a_loss_that_learns_from_views_gets_two_per_image(
    tmp_path, monkeypatch, augmentation, freeze
):
    add_loss(monkeypatch, "views", ViewsLoss)
    # Without dropout, an image's two logits differ only if its views do.
    config = settings(
        loss="views", augmentation=augmentation, dropout=0.0, freeze=freeze, batch_size=15
    )
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    one.fit(should_stop=stop_after(1))
    logits, targets = one.learner.losses[0].seen
    assert logits.shape == (30, 12)
    assert targets.tolist() == [*range(15), *range(15)]
    same = torch.isclose(logits[:15], logits[15:], atol=1e-5).all(dim=1)
    assert same.all() if augmentation == "none" else (~same).sum() > 10
    assert not torch.isclose(logits[0], logits[1], atol=1e-3).all()


def test_a_loss_that_learns_from_features_gets_those_of_the_network(tmp_path, monkeypatch):
    add_loss(monkeypatch, "features", FeaturesLoss)
    config = settings(loss="features", augmentation="none", freeze=-1, lengths=(12, 5))
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    one.fit(should_stop=stop_after(1))
    rows = one.data.fit_items[one.order.epoch(0)[one.step - 1]]
    with torch.no_grad():
        expected = one.learner.model.features(one.data.pixels.batch(rows))
    for loss in one.learner.losses:
        _, targets = loss.seen
        assert not targets.requires_grad
        torch.testing.assert_close(targets, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [name for name in LOSSES if LOSSES[name].learns_from != "labels"])
def test_without_labels_the_last_checkpoint_is_used(tmp_path, loss):
    config = settings(loss=loss, steps=4)
    one = trainer(config, unlabelled_data(config), tmp_path / "run")
    before = one.learner.model.heads[0].linear.weight.detach().clone()
    result = one.fit()
    assert (result.best_step, result.best_score) == (None, None)
    assert one.run.checkpoint_path() == one.run.snapshot_path(4)
    assert not torch.equal(one.learner.model.heads[0].linear.weight, before)
    assert one.order.labels is None
    assert one.data.fit_items.tolist() == list(range(80))


def test_a_triplet_list_needs_a_loss_that_takes_triplets(tmp_path):
    config = settings(loss="orthohash")
    with pytest.raises(ConfigError) as caught:
        trainer(config, triplet_data(config), tmp_path / "run")
    assert str(caught.value) == (
        "the loss orthohash cannot learn from a triplet list: use the loss triplet or dtsh"
    )


LARGE = MAX_TRIPLET_BATCH + 1


@pytest.mark.parametrize("loss", LOSSES)
def test_only_losses_that_compare_all_triplets_limit_the_batch(tmp_path, loss):
    """Of 513 images and more in a batch, of labels; a list gives its own triplets alone."""
    changes = {"augmentation": "views"} if loss == "cibhash" else {}
    config = settings(loss=loss, batch_size=LARGE, **changes)
    data = digit_data(settings(loss=loss, **changes))
    if LOSSES[loss].takes_triplets:
        with pytest.raises(ConfigError, match=rf"^`batch_size` must be at most 512 .* {loss}, not"):
            trainer(config, data, tmp_path / "run")
        with pytest.raises(ConfigError, match=r"not 513: it compares all triplets of a batch"):
            prepare_labelled(open_digits(), config)
        trainer(config, triplet_data(settings(loss=loss)), tmp_path / "listed")
    else:
        assert trainer(config, data, tmp_path / "run").order.batch_size == LARGE


# Several code lengths


def test_several_lengths_share_a_network_and_the_mean_of_their_losses(tmp_path):
    config = settings(lengths=(12, 5), dropout=0.0, augmentation="none")
    one = trainer(config, digit_data(config), tmp_path / "run")
    rows = one.data.fit_items[one.order.epoch(0)[0]]
    labels = torch.from_numpy(one.data.labels[rows])
    one.learner.eval()
    features = one.learner.model.features(one.data.pixels.batch(rows))
    logits = one.learner.model.logits(features)
    assert logits.shape == (16, 17)
    each = [
        loss(part, labels)
        for loss, part in zip(one.learner.losses, logits.split([12, 5], dim=1), strict=True)
    ]
    found = one.learner.loss(logits, features, labels)
    assert found.value.item() == pytest.approx((each[0].value + each[1].value).item() / 2)
    assert found.active.item() == pytest.approx((each[0].active + each[1].active).item() / 2)
    found.value.backward()
    assert all(head.linear.weight.grad.abs().sum() > 0 for head in one.learner.model.heads)


def test_the_held_out_score_is_the_mean_over_lengths():
    config = settings(holdout=0.5)
    for data in (digit_data(config), triplet_data(config)):
        rng = np.random.default_rng(0)
        logits = rng.standard_normal((len(data.pixels), 17)).astype(np.float32)
        joint = held_out_score(lambda rows, logits=logits: logits[rows], data, (12, 5))
        one, other = (
            held_out_score(lambda rows, logits=part: logits[rows], data, (part.shape[1],))
            for part in (logits[:, :12], logits[:, 12:])
        )
        assert one != other
        assert joint == pytest.approx((one + other) / 2, rel=1e-12)
