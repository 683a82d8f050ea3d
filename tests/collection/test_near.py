"""Copies among pictures: codes in eight positions, registration of thumbnails, pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hashkit.codes import binarize
from hashkit.collection.near import find_candidates, near_pairs
from hashkit.collection.position_codes import (
    N_POSITIONS,
    in_position,
    inverse_position,
    position_codes,
)
from hashkit.collection.signatures import Signatures, Signer, canvas_of
from hashkit.collection.verification import SIDE, verify
from hashkit.errors import ConfigError
from hashkit.kernels.place_search import COARSE, find_place, shrink
from hashkit.kernels.registration import agreement
from hashkit.runtimes.encoder import Encoder


def picture(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture with structure at several scales, as photographs have."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / 5.0
    stretched = (total - 127.5) * 2 + 127.5
    return Image.fromarray(stretched.clip(0, 255).astype(np.uint8))


def thumbnail(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def verified(
    left: NDArray[np.float32], right: NDArray[np.float32], likely: int = -1
) -> tuple[float, int]:
    """Score and position of one pair."""
    pair = np.stack([left, right]).round().astype(np.uint8)
    found = verify(pair, np.array([0]), np.array([1]), np.array([likely]))
    return float(found.scores[0]), int(found.positions[0])


def part(image: Image.Image, left: float, top: float, side: float) -> Image.Image:
    """A part of a picture, in shares of its sides."""
    width, height = image.size
    box = (left * width, top * height, (left + side) * width, (top + side) * height)
    return image.crop(tuple(round(one) for one in box))


@pytest.mark.end_to_end
def test_codes_of_positions_are_those_of_the_built_in_model_on_turned_pictures() -> None:
    canvases = np.stack([canvas_of(picture(seed)) for seed in range(3)])
    signatures = Signer(None).sign(canvases)
    grey = signatures.thumbnails.astype(np.float32)
    model = Encoder.load("phash-256", "cpu")
    for position in range(N_POSITIONS):
        turned = in_position(grey, position)
        pixels = np.repeat(turned.astype(np.uint8)[..., None], 3, axis=3)
        assert np.array_equal(model.run(pixels)[0], signatures.hashes[:, position])
        assert np.array_equal(in_position(turned, inverse_position(position)), grey)


def test_codes_of_positions_follow_from_one_transform() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE)).astype(np.float32)
    angles = np.arange(16)[:, None] * (2 * np.arange(SIDE) + 1) * (np.pi / (2 * SIDE))
    for position in range(N_POSITIONS):
        moved = in_position(grey, position)
        coefficients = np.cos(angles) @ moved @ np.cos(angles).T
        flat = coefficients.reshape(2, -1)
        logits = (flat - np.median(flat, axis=1, keepdims=True)).astype(np.float32)
        assert np.array_equal(position_codes(grey)[:, position], binarize(logits))


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("change", "position"),
    [
        (lambda image: part(image, 0.2, 0.1, 0.77), 0),
        (lambda image: ImageOps.expand(image, 30, "white"), 0),
        (ImageOps.mirror, 4),
        (lambda image: part(image.transpose(Image.Transpose.ROTATE_90), 0.0, 0.1, 0.85), 1),
        (lambda image: image.point(lambda value: 255 - value // 2), None),
    ],
    ids=["crop", "border", "mirrored", "turned and cropped", "negative"],
)
def test_a_changed_copy_is_verified_in_its_position(
    change: Callable[[Image.Image], Image.Image], position: int | None
) -> None:
    original = picture(1)
    score, found = verified(thumbnail(original), thumbnail(change(original)))
    score_back, back = verified(thumbnail(change(original)), thumbnail(original))
    if position is None:  # a negative is no copy: light and dark are exchanged
        assert max(score, score_back) < 0.5
    else:
        assert min(score, score_back) > 0.8
        assert found == position
        assert back == inverse_position(position)


@pytest.mark.end_to_end
def test_unlike_and_flat_pictures_are_not_verified() -> None:
    one = thumbnail(picture(1))
    assert verified(one, thumbnail(picture(2)))[0] < 0.5
    flat = np.full((SIDE, SIDE), 200, np.float32)
    assert verified(flat, flat)[0] == 0
    assert verified(one, flat, 0)[0] < 0.2


@pytest.mark.end_to_end
def test_find_place_is_the_best_correlation_of_all_places() -> None:
    random = np.random.default_rng(3)
    large = random.integers(0, 256, (COARSE, COARSE)).astype(np.float32)
    other = random.integers(0, 256, (COARSE, COARSE)).astype(np.float32)
    sizes = np.array([(16, 16), (12, 12), (16, 10)], np.int64)
    correlation, top, left, height, width = find_place(large, shrink(other, sizes), sizes)
    expected = {}
    for rows, columns in sizes.tolist():
        finer = other.repeat(rows, axis=0).repeat(columns, axis=1)
        box = finer.reshape(rows, COARSE, columns, COARSE).mean(axis=(1, 3))
        for y in range(COARSE - rows + 1):
            for x in range(COARSE - columns + 1):
                window = large[y : y + rows, x : x + columns]
                value = np.corrcoef(window.ravel(), box.ravel())[0, 1]
                expected[y, x, rows, columns] = value
    best = max(expected, key=expected.__getitem__)
    assert (top, left, height, width) == best
    assert correlation == pytest.approx(expected[best], abs=1e-4)


@pytest.mark.end_to_end
def test_agreement_correlates_blocks() -> None:
    one, other = thumbnail(picture(4)), thumbnail(picture(5))
    values, weights = np.empty(64, np.float32), np.empty(64, np.float32)
    whole = agreement(one, other, np.array([1.0, 0.0, 1.0, 0.0]), values, weights)
    assert whole == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1], abs=1e-3)
    block = np.corrcoef(one[8:16, :8].ravel(), other[8:16, :8].ravel())[0, 1]
    assert values[8] == pytest.approx(block, abs=0.02)
    agreement(one, other, np.array([1.0, 32.0, 1.0, 0.0]), values, weights)
    assert (weights[:24] > 0).all()
    assert not weights[32:].any()  # outside


@pytest.mark.end_to_end
def test_near_pairs_are_the_copies() -> None:
    one, two = picture(1), picture(2)
    pictures = [
        one,
        two,
        ImageOps.mirror(one),
        two.transpose(Image.Transpose.ROTATE_270),
        one.resize((80, 60)),
        picture(3),
        Image.new("RGB", (50, 50), "white"),
        Image.new("RGB", (60, 60), "white"),
    ]
    signatures = Signer(None).sign(np.stack([canvas_of(image) for image in pictures]))
    reports: list[tuple[int, int]] = []
    found = near_pairs(signatures, progress=lambda done, total: reports.append((done, total)))
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert pairs == [(0, 2), (0, 4), (1, 3), (2, 4)]
    assert found.position.tolist() == [4, 0, 3, 4]
    assert (found.distance < 20).all()
    assert (found.score > 0.9).all()
    assert reports[-1][0] == reports[-1][1] >= 4


@pytest.mark.end_to_end
def test_candidates_are_bounded_where_all_pictures_are_alike() -> None:
    signatures = Signer(None).sign(np.stack([canvas_of(picture(1))] * 40))
    found = find_candidates(signatures, most=3)
    assert 39 <= len(found.left) <= 3 * 6 * 40
    assert (found.left < found.right).all()


def test_no_pictures_have_no_pairs() -> None:
    empty = Signer(None).sign(np.empty((0, 256, 256, 3), np.uint8))
    assert len(near_pairs(empty).left) == 0
    with pytest.raises(ConfigError, match="`threshold` must be between 0 and 1, not 2"):
        near_pairs(empty, 2)


@pytest.mark.end_to_end
def test_learned_codes_find_what_hashes_miss() -> None:
    """A candidate may come from either code alone."""
    signatures = Signer(None).sign(
        np.stack([canvas_of(picture(1)), canvas_of(part(picture(1), 0.2, 0.2, 0.7))])
    )
    assert len(near_pairs(signatures).left) == 0
    same = np.zeros((2, 32), np.uint8)
    learned = Signatures(signatures.hashes, signatures.thumbnails, same)
    assert near_pairs(learned).score[0] > 0.8
