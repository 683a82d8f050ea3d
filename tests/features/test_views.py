from __future__ import annotations

import numpy as np
import pytest

from hashkit.features.views import _window, views_of

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 14, 3), dtype=np.uint8)
ROWS = np.arange(12) * 7


def test_the_first_view_is_the_image_and_the_others_differ() -> None:
    views = views_of(PIXELS, ROWS, 4)
    assert views.shape == (12, 4, 10, 14, 3)
    np.testing.assert_array_equal(views[:, 0], PIXELS)
    for image in views:
        assert len({view.tobytes() for view in image}) == 4
    np.testing.assert_array_equal(views_of(PIXELS, ROWS, 1)[:, 0], PIXELS)


def test_a_view_depends_on_image_row_and_number_alone() -> None:
    views = views_of(PIXELS, ROWS, 3)
    parts = [views_of(PIXELS[one], ROWS[one], 5)[:, :3] for one in (slice(0, 5), slice(5, 12))]
    np.testing.assert_array_equal(np.concatenate(parts), views)
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_array_equal(views_of(PIXELS[order], ROWS[order], 3), views[order])
    elsewhere = views_of(PIXELS, ROWS + 1, 3)
    assert not (elsewhere[:, 1:] == views[:, 1:]).all(axis=(2, 3, 4)).any()


def test_windows_are_60_to_100_percent_of_the_area_and_lie_inside() -> None:
    rng = np.random.default_rng(0)
    left, top, right, bottom = np.array([_window(10, 14, rng) for _ in range(2000)]).T
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 14
    assert bottom.max() <= 10
    areas = (right - left) * (bottom - top) / 140
    assert areas.min() == pytest.approx(0.6, abs=0.01)
    assert areas.max() == pytest.approx(1.0, abs=0.01)
    ratios = (right - left) / (bottom - top) / 1.4
    assert ratios.min() == pytest.approx(3 / 4, abs=0.02)
    assert ratios.max() == pytest.approx(4 / 3, abs=0.03)
    assert ratios.max() <= 4 / 3 + 1e-9
    slack = 14 - (right - left)
    assert np.mean(left[slack > 0.1] / slack[slack > 0.1]) == pytest.approx(0.5, abs=0.03)


def test_brightness_and_contrast_change_and_half_of_the_views_are_mirrored() -> None:
    ramp = np.broadcast_to(np.linspace(40, 120, 32)[:, None], (16, 32, 3)).astype(np.uint8)
    views = views_of(ramp[None], np.array([3]), 401)[0, 1:].astype(float)
    slopes = views[:, :, -1].mean(axis=(1, 2)) - views[:, :, 0].mean(axis=(1, 2))
    assert 0.4 < (slopes < 0).mean() < 0.6
    means = views.mean(axis=(1, 2, 3))
    assert 0.6 * 65 < means.min() < 0.75 * 80
    assert 1.2 * 80 < means.max() < 1.4 * 95
    # The slope of a whole image is 80; windows take part of it, factors change it.
    assert 0.6**3 * 80 - 2 < np.abs(slopes).min() < 40
    assert 100 < np.abs(slopes).max() < 1.4**2 * 80 + 2

    grey = np.full((1, 6, 6, 3), 100, dtype=np.uint8)
    flat = views_of(grey, np.array([0]), 50)[0]
    assert (flat == flat[:, :1, :1]).all()  # contrast leaves an image of one colour as it is
    assert len(np.unique(flat[:, 0, 0, 0])) > 20


def test_colours_end_at_0_and_255() -> None:
    white = np.full((1, 4, 4, 3), 255, dtype=np.uint8)
    values = views_of(white, np.array([0]), 40)[0, 1:]
    assert values.max() == 255
    assert values.min() >= 0.6 * 255 - 1
