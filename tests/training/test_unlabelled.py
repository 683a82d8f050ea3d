"""Training with unlabelled images beside the labelled ones."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from trainer_samples import assert_same_checkpoints, stop_after
from training_samples import digit_data, digits, settings, trainer

from hashkit.errors import ConfigError
from hashkit.training.augment import AUGMENTATIONS
from hashkit.training.checks import check_learnable
from hashkit.training.data import MemoryPixels
from hashkit.training.prepare import with_unlabelled
from hashkit.training.unlabelled import UnlabelledViews

pytestmark = pytest.mark.usefixtures("tiny_network")

CPU = torch.device("cpu")


def few_labels(**changes):
    return settings(loss="orthohash", unlabelled_ratio=3, **changes)


def data_of(config):
    labelled = digit_data(config, 60)
    data, faults = with_unlabelled(labelled, digits(200).subset(np.arange(60, 200)), config)
    assert not faults
    assert data.names_sha256 != labelled.names_sha256
    return data


def views_of(config, n_images=140, labelled="shift-flip"):
    numbers = torch.arange(n_images, dtype=torch.uint8)[:, None, None, None]
    pixels = MemoryPixels(numbers.expand(n_images, 8, 8, 3).contiguous())
    made = UnlabelledViews.of_run(pixels, config, AUGMENTATIONS[labelled], CPU)
    return made, lambda first, n_steps: list(made._steps(first, n_steps))


def test_each_step_has_other_images_and_a_resumed_run_the_same():
    config = few_labels(strong_policy="none", strong_cutout=0.0)
    _, steps = views_of(config, labelled="none")
    whole = steps(0, 5)
    images = [views.weak[:, 0, 0, 0].tolist() for views in whole]
    assert [len(one) for one in images] == [48] * 5  # three times the batch of 16
    assert len(set(itertools.chain(*images[:2]))) == 96  # an epoch is two steps
    assert images[2] != images[0]
    for first in (1, 2, 3):
        for one, other in zip(steps(first, 5), whole[first:], strict=True):
            assert torch.equal(one.weak, other.weak)
            assert torch.equal(one.strong, other.weak)


def test_the_strong_view_is_the_weak_one_with_operations_and_a_masked_square():
    made, _ = views_of(few_labels(policy="trivial", cutout=0.25, strong_cutout=0.5))
    assert made._weak == AUGMENTATIONS["shift-flip"]
    assert made._strong == dataclasses.replace(made._weak, policy="rand", cutout=0.5)


def test_fewer_images_than_a_step_wants_are_all_in_every_step():
    _, steps = views_of(few_labels(), n_images=5)
    assert [len(views.weak) for views in steps(0, 3)] == [5, 5, 5]


@pytest.mark.end_to_end
def test_a_stopped_run_resumes_to_the_same_bytes_and_reports_the_confident_share(tmp_path):
    config = few_labels(lengths=(12, 5), keep_snapshots=1)
    data = data_of(config)
    reports = []
    trainer(config, data, tmp_path / "whole").fit(reports.append)
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 5
    second.fit()
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")
    shares = [line["confident"] for line in second.run.read_metrics() if "loss" in line]
    assert len(shares) == 4
    assert all(0 < share <= 1 for share in shares)
    assert reports[-1].confident is not None


@pytest.mark.end_to_end
def test_unlabelled_images_change_the_weights_and_are_reported_only_if_there_are_any(tmp_path):
    config = few_labels()
    data = data_of(config)
    alone = dataclasses.replace(config, unlabelled_ratio=0)
    weights = []
    for number, (one, own) in enumerate(((config, data), (alone, digit_data(alone, 60)))):
        made = trainer(one, own, tmp_path / str(number))
        made.fit()
        weights.append(torch.cat([one.flatten() for one in made.learner.model.heads.parameters()]))
        assert any("confident" in line for line in made.run.read_metrics()) == (number == 0)
    assert not torch.equal(*weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "triplet"}, "needs a loss with a code for each class, found triplet: use one of"),
        ({"loss": "greedyhash"}, "use one of the losses csq, orthohash, dpn, or"),
        ({"network": "onnx:a.onnx"}, "needs a network that is trained, found the frozen features"),
    ],
)
def test_what_cannot_learn_from_unlabelled_images_is_refused(changes, message):
    config = settings(**({"loss": "orthohash", "unlabelled_ratio": 3} | changes))
    with pytest.raises(ConfigError, match=message):
        check_learnable(config, from_triplets=False)


def test_images_with_several_labels_and_no_unlabelled_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="needs images with one label each"):
        check_learnable(few_labels(), from_triplets=False, is_multi_label=True)
    config = few_labels()
    with pytest.raises(ConfigError, match="needs images without labels, found none"):
        trainer(config, digit_data(config, 60), tmp_path / "run")
