from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from PIL import Image
from training_samples import digit_triplets, digits, settings

import hashkit.training.data as training_data
import hashkit.training.prepare as prepare
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ConfigError, DatasetError, ImageError
from hashkit.preprocess import load
from hashkit.training.data import MemoryPixels, StreamedPixels
from hashkit.training.prepare import prepare_labelled, prepare_triplets

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture
def folder(tmp_path):
    """Ten image files of other sizes than the model's; numbers 3 and 7 are damaged."""
    rng = np.random.default_rng(0)
    for number in range(10):
        shape = (10 + number, 9 + 2 * number, 3)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{number}.png")
    for number in (3, 7):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    return tmp_path


def file_set(folder, labels=None):
    names = [f"{number}.png" for number in range(10)]
    return ImageSet("files", names, root=folder, labels=labels)


def whole(pixels):
    return pixels.batch(np.arange(len(pixels)))


def test_streamed_images_equal_images_in_memory(folder):
    good = file_set(folder).subset(np.array([0, 1, 2, 4, 5, 6, 8, 9]))
    streamed = StreamedPixels(good, (8, 9), "crop-bilinear", n_workers=3)
    images = whole(streamed)
    assert images.shape == (8, 8, 9, 3)
    memory = MemoryPixels(images.numpy())
    assert len(memory) == len(streamed) == 8
    rng = np.random.default_rng(1)
    orders = [rng.permutation(8)[:5] for _ in range(5)]
    for rows in orders:
        assert torch.equal(streamed.batch(rows), memory.batch(rows))
    for one, other in zip(streamed.batches(orders), memory.batches(orders), strict=True):
        assert torch.equal(one, other)
    for n_images in (1, 3, 8, 100):
        np.testing.assert_array_equal(streamed.sample(n_images), memory.sample(n_images))


def test_a_sample_is_spread_evenly():
    memory = MemoryPixels(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1).repeat(3, 3))
    assert memory.sample(1)[:, 0, 0, 0].tolist() == [0]
    assert memory.sample(4)[:, 0, 0, 0].tolist() == [0, 33, 66, 99]
    assert memory.sample(1000)[:, 0, 0, 0].tolist() == list(range(100))


def test_batches_are_decoded_before_they_are_requested(monkeypatch):
    images = digits(8)
    decoded = threading.Semaphore(0)

    def counted_load(*source, **settings):
        decoded.release()
        return load(*source, **settings)

    monkeypatch.setattr(training_data, "load", counted_load)
    streamed = StreamedPixels(images, (8, 8), "crop-bilinear", n_workers=2)
    orders = [np.array(rows) for rows in ([4, 1], [0, 7], [2, 3], [5, 6])]
    batches = streamed.batches(orders)
    assert torch.equal(next(batches), torch.from_numpy(images.pixels[orders[0]]))
    for _ in range(3 * 2):
        assert decoded.acquire(timeout=20)
    for rows, batch in zip(orders[1:], batches, strict=True):
        assert torch.equal(batch, torch.from_numpy(images.pixels[rows]))


def test_an_image_that_cannot_be_used_is_an_error(folder):
    streamed = StreamedPixels(file_set(folder), (8, 9), "crop-bilinear", n_workers=2)
    with pytest.raises(ImageError, match=r"3\.png") as caught:
        streamed.batch(np.array([2, 3, 4]))
    assert caught.value.reason == "broken"
    assert streamed.batch(np.array([2, 4])).shape == (2, 8, 9, 3)


def test_labelled_images_are_divided_into_fit_and_held_out():
    config = settings(holdout=0.25)
    images = digits(80)
    data, faults = prepare_labelled(images, config, protocol="per-class")
    assert faults == []
    assert sorted([*data.fit_items, *data.held_items]) == list(range(80))
    for label in range(10):
        n_images = (images.labels == label).sum()
        assert (images.labels[data.held_items] == label).sum() == int(0.25 * n_images + 0.5)
    assert torch.equal(whole(data.pixels), torch.from_numpy(images.pixels))
    assert (data.dataset, data.protocol, data.class_names) == (
        "digits",
        "per-class",
        images.class_names,
    )
    np.testing.assert_array_equal(data.fit_labels(), images.labels[data.fit_items])


def test_nothing_is_held_out_at_fraction_zero():
    data, _ = prepare_labelled(digits(30), settings(holdout=0))
    assert len(data.held_items) == 0
    assert data.fit_items.tolist() == list(range(30))


def test_images_without_a_label_are_not_used():
    images = digits(40)
    labels = images.labels.copy()
    labels[::4] = -1
    single = ImageSet("single", images.names, pixels=images.pixels, labels=labels)
    hot = np.eye(10, dtype=np.uint8)[images.labels]
    hot[::4] = 0
    multi = ImageSet("multi", images.names, pixels=images.pixels, labels=hot)
    for image_set in (single, multi):
        data, _ = prepare_labelled(image_set, settings())
        items = sorted([*data.fit_items, *data.held_items])
        assert items == [row for row in range(40) if row % 4]


def test_batches_are_grouped_only_by_single_labels():
    images = digits(40)
    hot = np.eye(10, dtype=np.uint8)[images.labels]
    multi = ImageSet("multi", images.names, pixels=images.pixels, labels=hot)
    assert prepare_labelled(multi, settings())[0].fit_labels() is None


@pytest.mark.parametrize(
    "labels",
    [None, np.full(40, -1), np.zeros((40, 3), dtype=np.uint8)],
    ids=["none", "all -1", "all zeros"],
)
def test_images_without_any_label_are_refused(labels):
    images = digits(40)
    unlabelled = ImageSet("bare", images.names, pixels=images.pixels, labels=labels)
    with pytest.raises(ConfigError, match=r"^bare.* label"):
        prepare_labelled(unlabelled, settings())


@pytest.mark.parametrize("limit", [10**9, 0], ids=["memory", "streamed"])
def test_damaged_images_are_left_out_and_reported(folder, monkeypatch, limit):
    monkeypatch.setattr(prepare, "MEMORY_LIMIT_BYTES", limit)
    labels = np.array([0, 1] * 5)
    config = settings(height=8, width=9, holdout=0)
    progress = []
    data, faults = prepare_labelled(
        file_set(folder, labels), config, n_workers=2, progress=lambda *at: progress.append(at)
    )
    assert [fault.name for fault in faults] == ["3.png", "7.png"]
    assert isinstance(data.pixels, MemoryPixels if limit else StreamedPixels)
    assert data.labels.tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert len(data.pixels) == 8
    good = StreamedPixels(
        file_set(folder).subset(np.array([0, 1, 2, 4, 5, 6, 8, 9])), (8, 9), config.resize, 1
    )
    assert torch.equal(whole(data.pixels), whole(good))
    assert progress[-1] == (10, 10)
    with pytest.raises(DatasetError):
        prepare_labelled(file_set(folder, labels), config, strict=True)


def test_triplets_of_damaged_images_are_left_out(folder):
    triplets = np.array([[0, 1, 2], [3, 1, 2], [4, 9, 8], [0, 1, 7], [9, 0, 4], [2, 2, 5]])
    config = settings(height=8, width=9, holdout=0)
    data, faults = prepare_triplets(file_set(folder), triplets, config)
    assert len(faults) == 2
    # Rows count the remaining images: 0 1 2 4 5 6 8 9.
    assert data.triplets.tolist() == [[0, 1, 2], [3, 7, 6], [7, 0, 3], [2, 2, 4]]
    assert data.fit_items.tolist() == [0, 1, 2, 3]
    assert data.labels is None
    assert data.fit_labels() is None
    with pytest.raises(ConfigError, match="no triplet is left"):
        prepare_triplets(file_set(folder), np.array([[0, 1, 3]]), config)


def test_some_triplets_are_held_out():
    images, triplets = digit_triplets(40, 50)
    data, _ = prepare_triplets(images, triplets, settings(holdout=0.1))
    assert len(data.held_items) == 5
    assert sorted([*data.fit_items, *data.held_items]) == list(range(50))
    np.testing.assert_array_equal(data.triplets, triplets)
