from __future__ import annotations

import dataclasses
import itertools
import math
import zlib

import numpy as np
import oracles_training as oracles
import pytest
import torch
from looped import looped

from hashkit.errors import ConfigError
from hashkit.training.augment import (
    AUGMENTATIONS,
    Augmentation,
    Draws,
    augment,
    choose_augmentation,
    draw,
)

N_IMAGES = 60


def pictures(height, width, n_images=N_IMAGES):
    """Images in which all pixels differ, so that each pixel identifies its position."""
    numbers = np.arange(height * width)
    colours = np.stack([numbers % 256, numbers // 256, numbers * 7 % 256], axis=1)
    image = colours.reshape(height, width, 3).astype(np.uint8)
    return torch.from_numpy(np.repeat(image[None], n_images, axis=0))


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def varied(images, augmentation, generator):
    return augment(
        images, augmentation, draw(len(images), images.shape[1:3], augmentation, generator)
    )


def found_move(image, result, reach_y, reach_x, may_flip):
    """The only (dy, dx, flipped) within reach that gives ``result``."""
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
    results = varied(images, augmentation, draws(seed))
    reach_y, reach_x = round(height * augmentation.shift), round(width * augmentation.shift)
    return [
        found_move(image, result, reach_y, reach_x, augmentation.flip)
        for image, result in zip(images.numpy(), results.numpy(), strict=True)
    ]


@looped(("height", "width"), [(8, 8), (9, 11), (16, 8)])
@looped("name", ["shift", "shift-flip"])
def test_each_result_is_a_reflected_shift_within_reach(height, width, name):
    moves = all_moves(height, width, AUGMENTATIONS[name])
    reach_y, reach_x = round(height / 8), round(width / 8)
    assert {dy for dy, _, _ in moves} == set(range(-reach_y, reach_y + 1))
    assert {dx for _, dx, _ in moves} == set(range(-reach_x, reach_x + 1))


def test_a_batch_matches_a_loop_over_images_with_the_same_draws():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 9, 11, 3), dtype=np.uint8)
    augmentation = Augmentation(shift=0.3, flip=True)
    same = draws(5)
    dy = torch.randint(-3, 4, (20,), generator=same).tolist()
    dx = torch.randint(-3, 4, (20,), generator=same).tolist()
    flips = (torch.rand(20, generator=same) < 0.5).tolist()
    expected = [oracles.shifted(*one) for one in zip(images, dy, dx, flips, strict=True)]
    result = varied(torch.from_numpy(images), augmentation, draws(5))
    np.testing.assert_array_equal(result.numpy(), np.stack(expected))


def test_half_of_the_images_are_mirrored():
    images = pictures(8, 8, n_images=4000)
    results = varied(images, Augmentation(shift=0.0, flip=True), draws())
    mirrored = (results == images.flip(2)).all(dim=(1, 2, 3))
    plain = (results == images).all(dim=(1, 2, 3))
    assert torch.all(mirrored ^ plain)
    # Five standard deviations of a fair coin.
    assert abs(mirrored.float().mean().item() - 0.5) < 5 * 0.5 / 4000**0.5


def test_shifts_of_rows_and_columns_are_independent():
    moves = all_moves(16, 16, AUGMENTATIONS["shift"])
    assert len({(dy, dx) for dy, dx, _ in moves}) > 15


def test_borders_are_reflected_without_repeating_the_edge():
    image = pictures(8, 8, 1)
    expected = {-1: [1, 0, 1, 2], 0: [0, 1, 2, 3], 1: [1, 2, 3, 4]}
    seen = set()
    for seed in range(30):
        result = varied(image, AUGMENTATIONS["shift"], draws(seed))[0]
        dy, _, _ = found_move(image[0].numpy(), result.numpy(), 1, 1, may_flip=False)
        rows = result[:4, 4, 0] // 8
        assert rows.tolist() == expected[dy]
        seen.add(dy)
    assert seen == {-1, 0, 1}


def test_no_augmentation_changes_nothing_and_inputs_are_not_modified():
    images = pictures(8, 9)
    before = images.clone()
    assert torch.equal(varied(images, AUGMENTATIONS["none"], draws()), images)
    varied(images, AUGMENTATIONS["shift-flip"], draws())
    assert torch.equal(images, before)


def test_shifts_depend_only_on_the_generator():
    images = pictures(16, 16)
    torch.manual_seed(1)
    one = varied(images, AUGMENTATIONS["shift-flip"], draws(3))
    torch.manual_seed(2)
    other = varied(images, AUGMENTATIONS["shift-flip"], draws(3))
    assert torch.equal(one, other)
    assert not torch.equal(one, varied(images, AUGMENTATIONS["shift-flip"], draws(4)))


def test_a_shift_is_at_most_the_side_minus_one_pixel():
    results = varied(pictures(8, 8), Augmentation(shift=1.0, flip=False), draws())
    image = pictures(8, 8, 1).numpy()[0]
    reach = range(-7, 8)
    possible = {oracles.shifted(image, dy, dx, False).tobytes() for dy in reach for dx in reach}
    assert all(result.tobytes() in possible for result in results.numpy())


@looped(
    ("dataset", "name"),
    [("digits", "shift"), ("mnist", "shift"), ("cifar10", "shift-flip"), ("photos", "shift-flip")],
)
def test_auto_chooses_by_image_set(dataset, name):
    assert choose_augmentation("auto", dataset) == AUGMENTATIONS[name]
    assert choose_augmentation("none", dataset) == AUGMENTATIONS["none"]


def test_an_unknown_name_lists_the_known_ones():
    known = "'twist'; known: auto, none, shift, shift-flip, crop, views$"
    with pytest.raises(ConfigError, match=known):
        choose_augmentation("twist", "digits")


@pytest.mark.parametrize(("name", "checksum"), [("shift", 54051113), ("shift-flip", 4020389027)])
def test_draws_are_the_same_as_in_the_first_release(name, checksum):
    """A run that is resumed with a newer version gets the same images."""
    result = varied(pictures(9, 11), AUGMENTATIONS[name], draws(7))
    assert zlib.crc32(result.numpy().tobytes()) == checksum


def test_disabled_changes_draw_nothing():
    generator = draws(3)
    before = generator.get_state()
    images = pictures(8, 9)
    assert varied(images, AUGMENTATIONS["none"], generator) is images
    assert torch.equal(generator.get_state(), before)
    unchanged = [name for name, one in AUGMENTATIONS.items() if one.leaves_images]
    assert unchanged == ["none"]


def test_crop_and_shift_together_are_refused():
    with pytest.raises(
        ConfigError, match=r"^crop and shift exclude each other, .*: set shift to 0 or crop to 1$"
    ):
        Augmentation(crop=0.5, shift=0.1)


def noise(n_images, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (n_images, height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 4), (9, 14, 2), (20, 12, 3)])
def test_cutout_fills_a_square_with_the_mean_colour(height, width, side):
    images = noise(400, height, width)
    results = varied(images, Augmentation(cutout=0.25), draws())
    corners = set()
    for image, result in zip(images.numpy(), results.numpy(), strict=True):
        rows, columns = (
            np.flatnonzero((image != result).any(axis=axes)) for axes in [(1, 2), (0, 2)]
        )
        (y, x), (y_end, x_end) = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
        # The square is smaller only at a border; it is filled with one colour.
        assert y_end - y == side or y == 0 or y_end == height
        assert x_end - x == side or x == 0 or x_end == width
        assert max(y_end - y, x_end - x) <= side
        filled = result[y:y_end, x:x_end].reshape(-1, 3)
        assert (filled == filled[0]).all()
        assert np.abs(filled[0] - image.mean(axis=(0, 1))).max() <= 0.5
        corners.add((y, x))
    # The centre may be in any row and column.
    assert {y for y, _ in corners} == set(range(height - side // 2))
    assert {x for _, x in corners} == set(range(width - side // 2))


def test_cutout_does_not_change_shift_and_flip():
    images = noise(50, 12, 12)
    plain = varied(images, AUGMENTATIONS["shift-flip"], draws(5))
    augmentation = dataclasses.replace(AUGMENTATIONS["shift-flip"], cutout=0.25)
    cut = varied(images, augmentation, draws(5))
    n_changed = (plain != cut).any(dim=3).sum(dim=(1, 2))
    assert n_changed.max() == 9
    assert n_changed.min() >= 1


def ramps(n_images, height, width):
    """Images with red rising from left to right and green from top to bottom, 0 to 250."""
    red = np.linspace(0, 250, width)[None, :].repeat(height, axis=0)
    green = np.linspace(0, 250, height)[:, None].repeat(width, axis=1)
    image = np.stack([red, green, 0 * red], axis=2).round().astype(np.uint8)
    return torch.from_numpy(np.repeat(image[None], n_images, axis=0))


@pytest.mark.parametrize(("height", "width"), [(40, 40), (32, 64)])
def test_crops_have_the_given_areas_and_ratios_and_lie_within_the_image(height, width):
    n_images = 300
    results = varied(
        ramps(n_images, height, width), Augmentation(crop=0.3, flip=True), draws()
    ).numpy()
    # Away from the borders, where pixels repeat, the slope of a ramp is the window's side.
    middle = slice(height // 4, -(height // 4)), slice(width // 4, -(width // 4))
    inner = results[:, *middle].astype(float)
    steps_x = np.diff(inner[..., 0], axis=2).mean(axis=(1, 2)) / (250 / (width - 1))
    steps_y = np.diff(inner[..., 1], axis=1).mean(axis=(1, 2)) / (250 / (height - 1))
    area, ratio = np.abs(steps_x * steps_y), np.abs(steps_x) / steps_y
    assert steps_y.min() > 0
    assert 0.27 < area.min() < 0.36
    assert 0.9 < area.max() < 1.03
    assert 0.72 < ratio.min() < 0.82
    assert 1.22 < ratio.max() < 1.38
    assert abs((steps_x < 0).mean() - 0.5) < 5 * 0.5 / n_images**0.5
    # Windows reach all four borders and do not exceed them.
    assert results[..., :2].min() == 0
    assert results[..., :2].max() == 250
    assert results[..., 2].max() == 0


def test_a_crop_matches_bilinear_interpolation_of_its_window():
    images = noise(12, 6, 7)
    crop = 0.4
    results = varied(images, Augmentation(crop=crop, flip=True), draws(2)).numpy()
    area, stretch, across, down, mirror = torch.rand(5, 12, generator=draws(2)).double().numpy()
    for number, image in enumerate(images.numpy().astype(float)):
        side = math.sqrt(crop + (1 - crop) * area[number])
        factor = math.exp((2 * stretch[number] - 1) * math.log(4 / 3) / 2)
        width, height = min(1, side * factor), min(1, side / factor)
        left, top = (1 - width) * across[number], (1 - height) * down[number]
        for y in range(6):
            for x in range(7):
                share = (x + 0.5) / 7
                share = 1 - share if mirror[number] < 0.5 else share
                place_x = (left + width * share) * 7 - 0.5
                place_y = (top + height * (y + 0.5) / 6) * 6 - 0.5
                value = interpolated(image, place_y, place_x)
                # Half a level of rounding, plus float32 errors of positions.
                assert np.abs(results[number, y, x] - value).max() < 0.51


def interpolated(image, y, x):
    """Weighted mean of the four pixels around a position; border pixels repeat outside."""
    height, width, _ = image.shape
    value = np.zeros(3)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            value += weight * image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return value


COLOURS = Augmentation(brightness=0.4, contrast=0.3, saturation=0.5, grey=0.3)


def test_colour_changes_match_a_loop():
    images = noise(30, 5, 6)
    results = varied(images, COLOURS, draws(4)).numpy()
    scales = torch.rand(4, 30, generator=draws(4)).double().numpy()
    for number, image in enumerate(images.numpy().astype(float)):
        brightness, contrast, saturation = (
            1 + (2 * scales[step, number] - 1) * strength
            for step, strength in enumerate((0.4, 0.3, 0.5))
        )
        if scales[3, number] < 0.3:
            saturation = 0.0
        bright = np.minimum(image * brightness, 255)
        mean = np.mean([grey_of(pixel) for row in bright for pixel in row])
        contrasted = np.clip(mean + contrast * (bright - mean), 0, 255)
        for y, x in itertools.product(range(5), range(6)):
            grey = grey_of(contrasted[y, x])
            value = np.clip(grey + saturation * (contrasted[y, x] - grey), 0, 255)
            assert np.abs(results[number, y, x] - value).max() < 0.51


def grey_of(pixel):
    """Grey by ITU-R BT.601."""
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def test_the_given_fraction_of_images_becomes_grey():
    results = varied(noise(2000, 3, 3), Augmentation(grey=0.2), draws())
    grey = (results.amax(dim=3) == results.amin(dim=3)).all(dim=(1, 2))
    assert abs(grey.float().mean() - 0.2) < 5 * (0.2 * 0.8 / 2000) ** 0.5
    assert torch.equal(results[~grey], noise(2000, 3, 3)[~grey])


@pytest.mark.parametrize("name", ["shift-flip", "crop", "views"])
def test_all_draws_depend_only_on_the_generator(name):
    augmentation = dataclasses.replace(AUGMENTATIONS[name], cutout=0.25, policy="trivial")
    images = noise(20, 12, 10)
    before = images.clone()
    generator = draws(3)
    torch.manual_seed(1)
    one = varied(images, augmentation, generator)
    second = varied(images, augmentation, generator)
    torch.manual_seed(2)
    assert torch.equal(one, varied(images, augmentation, draws(3)))
    assert not torch.equal(one, second)
    assert torch.equal(images, before)
    assert one.dtype == torch.uint8
    assert one.is_contiguous()
    assert one.shape == images.shape


@looped("name", [name for name in AUGMENTATIONS if name != "none"])
def test_batches_augmented_together_match_single_batches(name):
    augmentation = dataclasses.replace(AUGMENTATIONS[name], cutout=0.25, policy="rand")
    images, sizes = noise(12, 12, 10), (5, 4, 3)
    parts = [draw(size, (12, 10), augmentation, draws(index)) for index, size in enumerate(sizes)]
    together = augment(images, augmentation, Draws.joined(parts))
    alone = [
        augment(own, augmentation, part)
        for own, part in zip(images.split(sizes), parts, strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together, images)
