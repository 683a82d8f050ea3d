from __future__ import annotations

import itertools

import numpy as np
import oracles_training as oracles
import pytest
import torch

from hashkit.errors import ConfigError
from hashkit.training.augment import AUGMENTATIONS, Augmentation, augment, choose_augmentation

N_IMAGES = 60


def pictures(height, width, n_images=N_IMAGES):
    """Images in which no two pixels are alike, so that a pixel tells where it comes from."""
    numbers = np.arange(height * width)
    colours = np.stack([numbers % 256, numbers // 256, numbers * 7 % 256], axis=1)
    image = colours.reshape(height, width, 3).astype(np.uint8)
    return torch.from_numpy(np.repeat(image[None], n_images, axis=0))


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def found_move(image, result, reach_y, reach_x, may_flip):
    """The one (dy, dx, flipped) within reach that makes ``result``."""
    moves = [
        move
        for move in itertools.product(
            range(-reach_y, reach_y + 1),
            range(-reach_x, reach_x + 1),
            (False, True) if may_flip else (False,),
        )
        if np.array_equal(oracles.shifted(image, *move), result)
    ]
    assert len(moves) == 1
    return moves[0]


def all_moves(height, width, augmentation, seed=0):
    images = pictures(height, width)
    results = augment(images, augmentation, draws(seed))
    reach_y, reach_x = round(height * augmentation.shift), round(width * augmentation.shift)
    return [
        found_move(image, result, reach_y, reach_x, augmentation.flip)
        for image, result in zip(images.numpy(), results.numpy(), strict=True)
    ]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 11), (16, 8)])
@pytest.mark.parametrize("name", ["shift", "shift-flip"])
def test_each_result_is_a_reflected_shift_within_reach(height, width, name):
    moves = all_moves(height, width, AUGMENTATIONS[name])
    reach_y, reach_x = round(height / 8), round(width / 8)
    assert {dy for dy, _, _ in moves} == set(range(-reach_y, reach_y + 1))
    assert {dx for _, dx, _ in moves} == set(range(-reach_x, reach_x + 1))


def test_a_batch_is_the_loop_over_its_images_with_the_same_draws():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 9, 11, 3), dtype=np.uint8)
    augmentation = Augmentation(shift=0.3, flip=True)
    same = draws(5)
    dy = torch.randint(-3, 4, (20,), generator=same).tolist()
    dx = torch.randint(-3, 4, (20,), generator=same).tolist()
    flips = (torch.rand(20, generator=same) < 0.5).tolist()
    expected = [oracles.shifted(*one) for one in zip(images, dy, dx, flips, strict=True)]
    result = augment(torch.from_numpy(images), augmentation, draws(5))
    np.testing.assert_array_equal(result.numpy(), np.stack(expected))


def test_half_of_the_images_are_mirrored():
    images = pictures(8, 8, n_images=4000)
    results = augment(images, Augmentation(shift=0.0, flip=True), draws())
    mirrored = (results == images.flip(2)).all(dim=(1, 2, 3))
    plain = (results == images).all(dim=(1, 2, 3))
    assert torch.all(mirrored ^ plain)
    # Five standard deviations of a fair coin.
    assert abs(mirrored.float().mean().item() - 0.5) < 5 * 0.5 / 4000**0.5


def test_rows_and_columns_move_apart():
    moves = all_moves(16, 16, AUGMENTATIONS["shift"])
    assert len({(dy, dx) for dy, dx, _ in moves}) > 15


def test_borders_are_reflected_without_repeating_the_edge():
    image = pictures(8, 8, 1)
    expected = {-1: [1, 0, 1, 2], 0: [0, 1, 2, 3], 1: [1, 2, 3, 4]}
    seen = set()
    for seed in range(30):
        result = augment(image, AUGMENTATIONS["shift"], draws(seed))[0]
        dy, _, _ = found_move(image[0].numpy(), result.numpy(), 1, 1, may_flip=False)
        rows = result[:4, 4, 0] // 8
        assert rows.tolist() == expected[dy]
        seen.add(dy)
    assert seen == {-1, 0, 1}


def test_nothing_leaves_the_batch_as_it_is():
    images = pictures(8, 9)
    before = images.clone()
    assert torch.equal(augment(images, AUGMENTATIONS["none"], draws()), images)
    augment(images, AUGMENTATIONS["shift-flip"], draws())
    assert torch.equal(images, before)


def test_the_generator_decides_alone():
    images = pictures(16, 16)
    torch.manual_seed(1)
    one = augment(images, AUGMENTATIONS["shift-flip"], draws(3))
    torch.manual_seed(2)
    other = augment(images, AUGMENTATIONS["shift-flip"], draws(3))
    assert torch.equal(one, other)
    assert not torch.equal(one, augment(images, AUGMENTATIONS["shift-flip"], draws(4)))


def test_a_shift_of_the_whole_image_is_cut_to_one_pixel_less():
    results = augment(pictures(8, 8), Augmentation(shift=1.0, flip=False), draws())
    image = pictures(8, 8, 1).numpy()[0]
    reach = range(-7, 8)
    possible = {oracles.shifted(image, dy, dx, False).tobytes() for dy in reach for dx in reach}
    assert all(result.tobytes() in possible for result in results.numpy())


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("digits", "shift"), ("mnist", "shift"), ("cifar10", "shift-flip"), ("photos", "shift-flip")],
)
def test_auto_takes_what_suits_the_image_set(dataset, name):
    assert choose_augmentation("auto", dataset) == AUGMENTATIONS[name]
    assert choose_augmentation("none", dataset) == AUGMENTATIONS["none"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'twist'; known: auto, none, shift, shift-flip$"):
        choose_augmentation("twist", "digits")
