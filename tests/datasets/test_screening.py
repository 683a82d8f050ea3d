from __future__ import annotations

import threading

import numpy as np
import published_sets
import pytest

from hashkit.datasets import screening
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.screening import load_pixels, screen
from hashkit.errors import DatasetError
from hashkit.preprocess import load

SIZE = (4, 6)


@pytest.fixture
def folder(tmp_path):
    """Ten images; rows 2 and 7 are damaged, row 5 is deleted after the folder was read."""
    for row in range(10):
        published_sets.write_image(tmp_path / f"{row}.png", value=row * 20, size=(5, 7))
    (tmp_path / "2.png").write_bytes(b"not an image")
    data = (tmp_path / "7.png").read_bytes()
    (tmp_path / "7.png").write_bytes(data[:-24])
    images = open_image_folder(tmp_path)
    (tmp_path / "5.png").unlink()
    return images


@pytest.mark.parametrize("n_workers", [1, 3, None])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_bad_images_are_listed_with_their_reason(folder, monkeypatch, n_workers, batch_size):
    monkeypatch.setattr(screening, "_BATCH_IMAGES", batch_size)
    calls = []
    found = screen(folder, SIZE, n_workers=n_workers, progress=lambda *call: calls.append(call))
    assert found.good_rows.tolist() == [0, 1, 3, 4, 6, 8, 9]
    assert found.good_rows.dtype == np.int64
    assert [(fault.row, fault.name, fault.reason) for fault in found.faults] == [
        (2, "2.png", "broken"),
        (5, "5.png", "missing"),
        (7, "7.png", "truncated"),
    ]
    assert calls[-1] == (10, 10)
    assert calls == sorted(calls)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_good_images_are_loaded_in_order(folder, monkeypatch, batch_size):
    monkeypatch.setattr(screening, "_BATCH_IMAGES", batch_size)
    loaded = load_pixels(folder, SIZE, "stretch-bilinear", n_workers=2)
    assert loaded.rows.tolist() == [0, 1, 3, 4, 6, 8, 9]
    assert [fault.row for fault in loaded.faults] == [2, 5, 7]
    assert loaded.pixels.shape == (7, *SIZE, 3)
    for pixels, row in zip(loaded.pixels, loaded.rows, strict=True):
        np.testing.assert_array_equal(pixels, load(folder.source(row), SIZE, "stretch-bilinear"))
        assert pixels[0, 0, 0] == row * 20


def test_strict_names_the_first_and_the_count(folder):
    for function in (screen, load_pixels):
        with pytest.raises(DatasetError, match=r"3 of 10 images cannot be used, .*2\.png") as info:
            function(folder, SIZE, strict=True)
        assert "\n" not in str(info.value)


def test_no_usable_image_is_an_error(folder):
    with pytest.raises(DatasetError, match="2 of 2 images cannot be used"):
        screen(folder.subset(np.array([2, 5])), SIZE)


def test_a_set_in_memory_of_the_right_size_is_not_copied():
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    images = ImageSet(name="set", names=["set/0", "set/1"], pixels=pixels)
    assert load_pixels(images, SIZE).pixels is pixels
    resized = load_pixels(images, (2, 3))
    assert resized.pixels.shape == (2, 2, 3, 3)
    assert resized.rows.tolist() == [0, 1]


def test_an_interruption_ends_the_workers(folder):
    def interrupt(n_done, n_images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        screen(folder, SIZE, n_workers=2, progress=interrupt)
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("hashkit-decode") for name in names)
