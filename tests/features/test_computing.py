from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_embedder import SIZE, tiny_embedder, tiny_features

from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError, RunError
from hashkit.features.computing import FeatureStore
from hashkit.features.session import EmbedderSession
from hashkit.features.views import views_of

EMBEDDER = tiny_embedder()
PIXELS = np.random.default_rng(0).integers(0, 256, (100, SIZE, SIZE, 3), dtype=np.uint8)
MEMORY = ImageSet("a", [f"a/{row}" for row in range(100)], pixels=PIXELS)


@pytest.fixture
def files(tmp_path: Path) -> ImageSet:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(20):
        Image.fromarray(PIXELS[row]).save(folder / f"{row:02}.png")
    return open_image_folder(folder)


def computed(store: FeatureStore) -> FeatureStore:
    assert store.compute("cpu", n_workers=2)
    return store


def test_features_of_all_images(tmp_path: Path) -> None:
    done: list[int] = []
    store = FeatureStore(tmp_path, MEMORY, EMBEDDER)
    assert store.compute("cpu", n_workers=2, progress=done.append)
    assert done[-1] == 100
    found = store.read(2)
    np.testing.assert_allclose(found.features, tiny_features(PIXELS), rtol=1e-4, atol=1e-4)
    assert isinstance(found.features, np.memmap)
    np.testing.assert_array_equal(found.rows, np.arange(100))
    assert found.faults == []


def test_a_stopped_computation_continues_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = computed(FeatureStore(tmp_path / "whole", MEMORY, EMBEDDER)).read(2).features
    stopped = FeatureStore(tmp_path / "stopped", MEMORY, EMBEDDER)
    assert not stopped.compute("cpu", n_workers=2, should_stop=lambda: True)
    n_seen: list[int] = []
    run = EmbedderSession.run
    monkeypatch.setattr(
        EmbedderSession,
        "run",
        lambda self, images: (n_seen.append(len(images)), run(self, images))[1],
    )
    again = computed(FeatureStore(tmp_path / "stopped", MEMORY, EMBEDDER))
    assert 0 < sum(n_seen) <= 100
    np.testing.assert_array_equal(again.read(2).features, expected)
    n_seen.clear()
    assert again.compute("cpu", n_workers=2)
    assert n_seen == []


def test_images_that_cannot_be_used_are_left_out(files: ImageSet, tmp_path: Path) -> None:
    assert files.root is not None
    (files.root / "07.png").write_bytes(b"no image")
    found = computed(FeatureStore(tmp_path, files, EMBEDDER)).read(2)
    assert 7 not in found.rows
    np.testing.assert_allclose(
        found.features, tiny_features(PIXELS[found.rows]), rtol=1e-4, atol=1e-4
    )
    assert [(fault.row, fault.name) for fault in found.faults] == [(7, "07.png")]
    with pytest.raises(DatasetError, match=r"07\.png"):
        FeatureStore(tmp_path / "b", files, EMBEDDER).compute("cpu", n_workers=2, strict=True)
    for name in files.names:
        (files.root / name).write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of its 20 images can be used"):
        computed(FeatureStore(tmp_path / "c", files, EMBEDDER)).read(2)


def test_features_are_taken_from_a_run_on_the_same_images(files: ImageSet, tmp_path: Path) -> None:
    assert files.root is not None
    first = computed(FeatureStore(tmp_path / "first", files, EMBEDDER))
    second = FeatureStore(tmp_path / "second", files, EMBEDDER)
    assert second.take_from(tmp_path / "first")
    np.testing.assert_array_equal(second.read(2).features, first.read(2).features)

    other_embedder = FeatureStore(tmp_path / "third", files, tiny_embedder(seed=1))
    other_size = FeatureStore(tmp_path / "third", files, dataclasses.replace(EMBEDDER, width=9))
    other_images = FeatureStore(tmp_path / "third", files.subset(np.arange(19)), EMBEDDER)
    for other in (other_embedder, other_size, other_images):
        assert not other.take_from(tmp_path / "first")
    Image.fromarray(PIXELS[50]).save(files.root / "03.png")
    assert not FeatureStore(tmp_path / "third", files, EMBEDDER).take_from(tmp_path / "first")
    # Its own are computed again, and those that it shared are not changed by that.
    before = first.read(2).features.copy()
    computed(FeatureStore(tmp_path / "second", files, EMBEDDER))
    np.testing.assert_array_equal(np.load(tmp_path / "first" / "features.npy"), before)


def test_features_of_views_are_computed_beside_those_of_the_image(tmp_path: Path) -> None:
    alone = computed(FeatureStore(tmp_path / "alone", MEMORY, EMBEDDER)).read(2)
    assert alone.views.shape == (100, 1, alone.features.shape[1])
    store = FeatureStore(tmp_path / "views", MEMORY, EMBEDDER, n_views=3)
    done: list[int] = []
    while not store.compute(
        "cpu", n_workers=2, progress=done.append, should_stop=lambda: len(done) < 2
    ):
        store = FeatureStore(tmp_path / "views", MEMORY, EMBEDDER, n_views=3)
    found = store.read(2)
    views = views_of(PIXELS, np.arange(100), 3)
    expected = tiny_features(views.reshape(-1, *PIXELS.shape[1:])).reshape(100, 3, -1)
    np.testing.assert_allclose(found.views, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.features, alone.features, rtol=1e-4, atol=1e-4)
    for n_views in (1, 2, 4):
        other = FeatureStore(tmp_path / "other", MEMORY, EMBEDDER, n_views=n_views)
        assert not other.take_from(tmp_path / "views")
    assert FeatureStore(tmp_path / "other", MEMORY, EMBEDDER, n_views=3).take_from(
        tmp_path / "views"
    )


def test_views_of_images_that_cannot_be_used_are_left_out(files: ImageSet, tmp_path: Path) -> None:
    assert files.root is not None
    for row in (7, 12):
        (files.root / f"{row:02}.png").write_bytes(b"no image")
    found = computed(FeatureStore(tmp_path, files, EMBEDDER, n_views=2)).read(2)
    assert [fault.row for fault in found.faults] == [7, 12]
    views = views_of(PIXELS[found.rows], found.rows, 2)
    for view in range(2):
        expected = tiny_features(views[:, view])
        np.testing.assert_allclose(found.views[:, view], expected, rtol=1e-4, atol=1e-4)


def test_a_kill_while_features_are_taken_leaves_the_other_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = computed(FeatureStore(tmp_path / "first", MEMORY, EMBEDDER))
    expected = np.array(first.read(2).features)
    second = FeatureStore(tmp_path / "second", MEMORY, EMBEDDER)
    assert not second.compute("cpu", n_workers=2, should_stop=lambda: True)
    (tmp_path / "second" / "features.json").write_text(
        json.dumps(json.loads((tmp_path / "first" / "features.json").read_text()) | {"n_done": 32})
    )

    def killed_after_one(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", refused)
        link(source, target)

    def refused(*_: object) -> None:
        raise KeyboardInterrupt

    link = os.link
    monkeypatch.setattr(os, "link", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        second.take_from(tmp_path / "first")
    assert second.n_done == 0
    computed(second)
    np.testing.assert_array_equal(second.read(2).features, expected)
    assert not (tmp_path / "second" / "features.npy").samefile(tmp_path / "first" / "features.npy")
    assert first.is_complete


def test_damaged_features_are_not_taken_and_not_used(tmp_path: Path) -> None:
    store = computed(FeatureStore(tmp_path / "a", MEMORY, EMBEDDER))
    path = tmp_path / "a" / "features.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"\0\1")
    assert not FeatureStore(tmp_path / "b", MEMORY, EMBEDDER).take_from(tmp_path / "a")
    with pytest.raises(RunError, match=r"a.features\.npy: expected the features that its \.json"):
        store.read(2)


@pytest.mark.parametrize("column", [0, 7])
def test_features_that_are_not_finite_are_faults_of_their_images(
    files: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: int
) -> None:
    assert files.root is not None
    (files.root / "03.png").write_bytes(b"no image")
    run = EmbedderSession.run

    def overflowing(self: EmbedderSession, images: np.ndarray) -> np.ndarray:
        features = run(self, images)
        same = (images == PIXELS[5]).all(axis=(1, 2, 3))
        features[same, column] = np.inf
        return features

    monkeypatch.setattr(EmbedderSession, "run", overflowing)
    found = computed(FeatureStore(tmp_path / "a", files, EMBEDDER)).read(2)
    assert [fault.name for fault in found.faults] == ["03.png", "05.png"]
    assert "05.png: expected finite features, found NaN or infinite" in found.faults[1].message
    assert np.isfinite(found.features).all()
    assert not {3, 5} & {*found.rows}
    (files.root / "03.png").write_bytes((files.root / "04.png").read_bytes())
    with pytest.raises(DatasetError, match=r"05\.png: expected finite features"):
        FeatureStore(tmp_path / "b", files, EMBEDDER).compute("cpu", n_workers=2, strict=True)


def test_other_pixels_under_the_same_names_are_other_images(tmp_path: Path) -> None:
    computed(FeatureStore(tmp_path, MEMORY, EMBEDDER))
    assert FeatureStore(tmp_path, MEMORY, EMBEDDER).is_complete
    assert not FeatureStore(
        tmp_path, dataclasses.replace(MEMORY, pixels=PIXELS[::-1]), EMBEDDER
    ).is_complete
