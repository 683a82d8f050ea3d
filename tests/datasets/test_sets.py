from __future__ import annotations

import numpy as np
import published_sets
import pytest
from sklearn.datasets import load_digits

from hashkit.datasets.sets import IMAGE_SETS, default_input_size, default_root, open_image_set
from hashkit.errors import DatasetError, MissingExtraError


def test_digits_are_those_of_scikit_learn_scaled_exactly():
    images = open_image_set("digits")
    source = load_digits()
    assert images.pixels.shape == (1797, 8, 8, 3)
    assert images.names[0] == "digits/0000"
    assert images.names[-1] == "digits/1796"
    assert images.labels.tolist() == source.target.tolist()
    assert images.class_names == tuple("0123456789")
    assert images.is_test is None
    grey = images.pixels[..., 0]
    np.testing.assert_array_equal(images.pixels, np.stack([grey] * 3, axis=3))
    # A step is 15.9375; each value is rounded to the nearest integer, 0 and 16 are exact.
    np.testing.assert_allclose(grey, source.images * 255 / 16, atol=0.5)
    assert grey[source.images == 16].min() == 255
    assert grey[source.images == 0].max() == 0


def test_digits_without_scikit_learn_are_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"digits needs scikit-learn.*\[train\]"):
        open_image_set("digits")


def test_digits_of_a_release_that_keeps_their_file_elsewhere_are_the_same(monkeypatch):
    expected = open_image_set("digits")
    monkeypatch.setattr("hashkit.datasets.digits._FILE", "elsewhere/digits.csv.gz")
    found = open_image_set("digits")
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_names_open_from_their_root_and_from_the_default(tmp_path, monkeypatch):
    published_sets.write_folder(
        tmp_path / "cifar100" / "cifar-100-python", published_sets.cifar100_python_files()
    )
    published_sets.write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("HASHKIT_DATA", str(tmp_path))
    assert default_root("mnist") == tmp_path / "mnist"
    assert open_image_set("mnist").name == "mnist"
    assert open_image_set("cifar100").name == "cifar100"
    assert open_image_set("cifar100-coarse").name == "cifar100-coarse"
    monkeypatch.setenv("HASHKIT_DATA", str(tmp_path / "other"))
    assert open_image_set("cifar100", root=tmp_path / "cifar100").name == "cifar100"
    with pytest.raises(DatasetError, match="expected train-images"):
        open_image_set("mnist")


def test_default_root_is_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("HASHKIT_DATA", raising=False)
    assert default_root("mnist").parts[-4:] == (".cache", "hashkit", "datasets", "mnist")


def test_paths_open_as_folder_or_list(tmp_path):
    published_sets.write_image(tmp_path / "images" / "a" / "1.png")
    assert open_image_set(str(tmp_path / "images")).class_names == ("a",)
    (tmp_path / "list.txt").write_text("a/1.png 7\n")
    images = open_image_set(str(tmp_path / "list.txt"), root=tmp_path / "images")
    assert images.labels.tolist() == [7]
    with pytest.raises(DatasetError, match="omit the root"):
        open_image_set(str(tmp_path / "images"), root=tmp_path)


def test_a_name_takes_precedence_over_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published_sets.write_image(tmp_path / "digits" / "1.png")
    assert len(open_image_set("digits")) == 1797
    assert len(open_image_set("./digits")) == 1


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DatasetError, match="unknown image set 'cifar'") as info:
        open_image_set("cifar")
    assert all(name in str(info.value) for name in IMAGE_SETS)


def test_input_sizes(tmp_path):
    published_sets.write_mnist(tmp_path / "mnist")
    published_sets.write_image(tmp_path / "photos" / "1.png")
    assert default_input_size(open_image_set("digits")) == (8, 8)
    assert default_input_size(open_image_set("mnist", root=tmp_path / "mnist")) == (28, 28)
    assert default_input_size(open_image_set(str(tmp_path / "photos"))) is None
