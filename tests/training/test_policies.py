from __future__ import annotations

import numpy as np
import pytest
import torch

from hashkit.training.policies import OPERATIONS, POLICIES, apply_operations, draw_operations

TORCHVISION = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness"),
    *("Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
"""Its names of the operations, in the same order."""


def pictures(n_images=5, height=33, width=40):
    """Smooth pictures with a black one and a white one: uint8 [n, 3, height, width]."""
    coarse = torch.rand(n_images, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    images = (smooth.clamp(0, 1) * 255).to(torch.uint8)
    images[0], images[1, 0] = 0, 255
    return images


def drawn(policy, n_images, seed=0):
    return draw_operations(n_images, policy, torch.Generator().manual_seed(seed))


@pytest.mark.end_to_end
@pytest.mark.parametrize("policy", ["trivial", "rand"])
@pytest.mark.parametrize("index", range(len(TORCHVISION)), ids=TORCHVISION)
def test_operations_are_those_of_torchvision(index, policy):
    pytest.importorskip("torchvision")
    from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide
    from torchvision.transforms.autoaugment import _apply_op

    images, name, own = pictures(), TORCHVISION[index], POLICIES[policy]
    if policy == "trivial":
        magnitudes, is_signed = TrivialAugmentWide()._augmentation_space(31)[name]
    else:
        magnitudes, is_signed = RandAugment()._augmentation_space(31, (33, 40))[name]
    for level in (0, 8, 17, 30):
        for sign in (1, -1):
            operations = torch.zeros(len(images), own.n_operations, dtype=torch.int64)
            operations[:, -1] = index
            strengths = torch.full(operations.shape, sign * level / 30)
            nhwc = images.permute(0, 2, 3, 1)
            found = apply_operations(nhwc, own, operations, strengths).permute(0, 3, 1, 2)
            magnitude = float(magnitudes[level]) if magnitudes.ndim else 0.0
            magnitude *= sign if is_signed else 1
            expected = torch.stack(
                [_apply_op(one, name, magnitude, InterpolationMode.NEAREST, None) for one in images]
            )
            differences = (found.int() - expected.int()).abs()
            # Grey is rounded there; a place between two pixels may be either.
            assert (differences <= 2).float().mean() > 0.98, (level, sign)
            if not is_signed:
                assert differences.max() == 0


def test_trivial_draws_every_operation_and_strength_equally_often():
    operations, strengths = drawn(POLICIES["trivial"], 28_000)
    assert operations.shape == strengths.shape == (28_000, 1)
    counts = torch.bincount(operations[:, 0])
    assert len(counts) == len(OPERATIONS) == len(TORCHVISION)
    assert (counts - 2000).abs().max() < 5 * 2000**0.5
    levels = (30 * strengths).round().int().unique()
    assert levels.tolist() == list(range(-30, 31))
    assert abs(float((strengths < 0).float().mean()) - 30 / 62) < 0.02


def test_rand_draws_two_operations_of_one_strength():
    operations, strengths = drawn(POLICIES["rand"], 5000)
    assert operations.shape == strengths.shape == (5000, 2)
    np.testing.assert_allclose(strengths.abs().unique(), [0.3])
    assert len(operations.unique(dim=0)) == len(OPERATIONS) ** 2


def test_operations_follow_each_other_and_leave_the_input():
    images = pictures().permute(0, 2, 3, 1)
    before = images.clone()
    own = POLICIES["rand"]
    pair = torch.tensor([[5, 13]]).repeat(len(images), 1)  # rotate, then equalise
    strengths = torch.ones(pair.shape)
    found = apply_operations(images, own, pair, strengths)
    rotated, equalised = (list(OPERATIONS.values())[index] for index in (5, 13))
    one = torch.ones(len(images))
    assert torch.equal(found, equalised(rotated(images, one, own), one, own))
    assert not torch.equal(found, rotated(equalised(images, one, own), one, own))
    assert torch.equal(images, before)
