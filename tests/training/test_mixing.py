from __future__ import annotations

import numpy as np
import pytest
import torch
from looped import looped
from training_samples import digit_data, settings, trainer, triplet_data, unlabelled_data

from hashkit.errors import ConfigError
from hashkit.training.learner import Learner
from hashkit.training.losses import LOSSES
from hashkit.training.mixing import cut_and_mix, draw_cut

pytestmark = pytest.mark.usefixtures("tiny_network")

N_IMAGES, HEIGHT, WIDTH = 5, 12, 8


def draws(seed):
    return torch.Generator().manual_seed(seed)


def numbered():
    """Images whose pixels are the index of the image."""
    images = torch.arange(N_IMAGES, dtype=torch.uint8)[:, None, None, None]
    return images.expand(N_IMAGES, HEIGHT, WIDTH, 3)


def mixed_images(images, share, generator):
    cut = draw_cut((HEIGHT, WIDTH), share, generator)
    return (images, 1.0) if cut is None else (cut_and_mix(images, cut), cut.kept)


def test_one_rectangle_of_each_image_comes_from_its_partner():
    for seed in range(50):
        mixed, kept = mixed_images(numbered(), 1.0, draws(seed))
        is_other = (mixed != numbered())[0]
        rows, columns = is_other.any(1).any(1), is_other.any(0).any(1)
        assert torch.equal(is_other, (rows[:, None] & columns)[..., None].expand_as(is_other))
        for places in (rows, columns):
            found = places.nonzero().flatten().tolist()
            assert found == list(range(found[0], found[-1] + 1)) if found else True
        for index in range(N_IMAGES):
            expected = torch.where(is_other, N_IMAGES - 1 - index, index)
            assert torch.equal(mixed[index].long(), expected)
        assert kept == pytest.approx(1 - is_other.float().mean().item())


def test_rectangles_have_any_size_and_place():
    found = [mixed_images(numbered(), 1.0, draws(seed)) for seed in range(400)]
    kept = np.array([share for _, share in found])
    assert kept.min() < 0.2
    assert kept.max() > 0.95
    # The mean would be one half if rectangles were not cut at the borders.
    assert 0.5 < kept.mean() < 0.75
    covered = torch.stack([(mixed != numbered())[0, ..., 0] for mixed, _ in found])
    assert (covered.float().mean(0) > 0.1).all()


def test_mixing_does_not_modify_its_input():
    images = numbered().clone()
    mixed, kept = mixed_images(images, 1.0, draws(3))
    assert kept < 1
    assert torch.equal(images, numbered())
    assert mixed.dtype == torch.uint8


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_given_fraction_of_batches_is_mixed(share):
    changed = [mixed_images(numbered(), share, draws(seed))[1] < 1 for seed in range(500)]
    # A rectangle of very small area may have no pixels.
    assert np.mean(changed) == pytest.approx(share, abs=0.06)


def learner(loss, **changes):
    config = settings(loss=loss, cutmix=0.5, **changes)
    return Learner.build(config, digit_data(config))


MIXABLE = [
    name
    for name, loss in LOSSES.items()
    if loss.learns_from == "labels" and not loss.compares_images
]


@looped("name", MIXABLE)
def test_the_loss_of_mixed_images_is_the_weighted_loss_of_both_labels(name):
    joint = learner(name, lengths=(12, 5))
    logits = torch.randn(6, 17, generator=draws(0))
    labels = torch.tensor([0, 3, 1, 1, 9, 4])
    own = joint.loss(logits, logits, labels)
    others = joint.loss(logits, logits, labels.flip(0))
    mixed = joint.loss(logits, logits, labels, 0.3)
    assert mixed.value.item() == pytest.approx(0.3 * own.value.item() + 0.7 * others.value.item())
    assert mixed.active.item() == pytest.approx(
        0.3 * own.active.item() + 0.7 * others.active.item()
    )
    assert joint.loss(logits, logits, labels, 1.0).value == own.value


def test_a_loss_that_compares_images_is_refused():
    with pytest.raises(
        ConfigError, match=r"^`cutmix` needs a loss .* losses csq, orthohash, .*, or `cutmix=0`$"
    ):
        learner("triplet")


def test_triplet_lists_are_refused():
    config = settings(loss="triplet", cutmix=0.5)
    with pytest.raises(ConfigError, match=r"^`cutmix` needs a loss"):
        Learner.build(config, triplet_data(config))


def test_images_without_labels_are_refused():
    config = settings(loss="cibhash", cutmix=0.5)
    with pytest.raises(ConfigError, match=r"^`cutmix` needs a loss"):
        Learner.build(config, unlabelled_data(config))


@pytest.mark.end_to_end
def test_training_with_cutmix_is_deterministic(tmp_path):
    ends = []
    for index, share in enumerate((0.0, 1.0, 1.0)):
        config = settings(loss="orthohash", cutmix=share)
        run = trainer(config, digit_data(config), tmp_path / str(index))
        run.fit()
        ends.append(torch.cat([value.flatten() for value in run.learner.state_dict().values()]))
    assert not torch.equal(ends[0], ends[1])
    assert torch.equal(ends[1], ends[2])


def test_features_are_not_cached_if_images_are_mixed(tmp_path):
    changes = {"loss": "orthohash", "freeze": -1, "augmentation": "none"}
    fixed = settings(**changes)
    mixed = settings(cutmix=0.5, **changes)
    assert trainer(fixed, digit_data(fixed), tmp_path / "fixed").has_fixed_features
    assert not trainer(mixed, digit_data(mixed), tmp_path / "mixed").has_fixed_features
