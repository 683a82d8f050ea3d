"""The texture of thumbnails, beside an obvious fit of planes."""

from __future__ import annotations

import numpy as np
import pytest

from hashkit.collection.near import near_pairs
from hashkit.collection.position_codes import position_codes
from hashkit.collection.signatures import Signatures
from hashkit.collection.texture import texture

Y, X = np.mgrid[0:64, 0:64] / 63.0


def test_texture_is_what_remains_of_blocks_without_their_planes():
    image = np.random.default_rng(0).integers(0, 256, (64, 64)) // 9 + (X * 200).astype(int)
    image = image.clip(0, 255).astype(np.uint8)
    plane = np.c_[np.ones(64), np.repeat(np.arange(8), 8), np.tile(np.arange(8), 8)]
    expected = 0.0
    for top in range(0, 64, 8):
        for left in range(0, 64, 8):
            values = image[top : top + 8, left : left + 8].ravel().astype(float)
            best, *_ = np.linalg.lstsq(plane, values, rcond=None)
            expected += min(np.std(values - plane @ best) / 8, 1)
    assert texture(image[None])[0] == pytest.approx(expected, abs=1e-3)
    assert texture(image[:0].reshape(0, 64, 64)).shape == (0,)


def test_skies_and_gradients_are_not_copies_of_each_other():
    """They agree in every block, even if they come from different photographs."""
    slopes = [(1, 0.2), (1, 0.3), (0.9, 0.25), (1, 0.25)]
    images = [(40 + 150 * (down * Y + across * X) / (down + across)) for down, across in slopes]
    thumbnails = np.stack(images).round().astype(np.uint8)
    codes = position_codes(thumbnails.astype(np.float32))
    assert texture(thumbnails).max() < 5
    assert not len(near_pairs(Signatures(codes, thumbnails, None), 0.0).left)
