from __future__ import annotations

import gzip

import numpy as np
import published_sets
import pytest
from looped import looped

from hashkit.datasets.mnist import FASHION_MNIST, MNIST, open_mnist, read_idx
from hashkit.errors import DatasetError


@looped("is_gzipped", [True, False], ids=["gz", "plain"])
@looped("separator", ["-", "."])
@looped("mnist", [MNIST, FASHION_MNIST], ids=["mnist", "fashion"])
def test_each_spelling_opens(tmp_path, mnist, separator, is_gzipped):
    published_sets.write_mnist(tmp_path, separator=separator, is_gzipped=is_gzipped)
    images = open_mnist(mnist, tmp_path)
    arrays = published_sets.mnist_arrays()
    assert images.name == mnist.name
    assert len(images.class_names) == 10
    assert images.names[19:21] == [f"{mnist.name}/train/00019", f"{mnist.name}/test/00000"]
    assert images.is_test.tolist() == [False] * 20 + [True] * 10
    assert images.labels.tolist() == [*arrays["train-labels"], *arrays["t10k-labels"]]
    grey = np.concatenate([arrays["train-images"], arrays["t10k-images"]])
    for channel in range(3):
        np.testing.assert_array_equal(images.pixels[..., channel], grey)


def test_fashion_labels_are_the_published_ones():
    assert FASHION_MNIST.class_names[0] == "T-shirt/top"
    assert FASHION_MNIST.class_names[9] == "Ankle boot"


def test_missing_file_says_how_to_get_it(tmp_path):
    published_sets.write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match=r"expected t10k-labels-idx1-ubyte.gz.*`download=True`"):
        open_mnist(MNIST, tmp_path)


def replace(folder, stem, array):
    (folder / f"{stem}-idx{array.ndim}-ubyte.gz").unlink(missing_ok=True)
    n_dims = 3 if stem.endswith("images") else 1
    name = f"{stem}-idx{n_dims}-ubyte.gz"
    (folder / name).write_bytes(gzip.compress(published_sets.idx(array)))


@looped(
    ("stem", "array", "message"),
    [
        ("train-labels", np.zeros(19, np.uint8), "label for each of the 20 train images, found 19"),
        ("train-labels", np.full(20, 10, np.uint8), "labels 0 to 9, found 10"),
        ("train-images", np.zeros((20, 28, 27), np.uint8), r"train images \[n, 28, 28\]"),
        ("train-labels", np.zeros((20, 28, 28), np.uint8), "files are not swapped"),
    ],
)
def test_files_that_do_not_match_are_refused(tmp_path, stem, array, message):
    published_sets.write_mnist(tmp_path)
    replace(tmp_path, stem, array)
    with pytest.raises(DatasetError, match=message):
        open_mnist(MNIST, tmp_path)


def test_idx_files_round_trip(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(published_sets.idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def test_a_file_of_any_wrong_length_is_an_error(tmp_path):
    data = published_sets.idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
    path = tmp_path / "cut"
    for wrong in [data[:n_bytes] for n_bytes in range(len(data))] + [data + b"\0"]:
        path.write_bytes(wrong)
        with pytest.raises(DatasetError, match=r"expected an idx file|bytes by the header"):
            read_idx(path)
    packed = gzip.compress(data)
    path = tmp_path / "cut.gz"
    for n_bytes in range(1, len(packed)):
        path.write_bytes(packed[:n_bytes])
        with pytest.raises(DatasetError, match=r"truncated|expected an idx"):
            read_idx(path)


@pytest.mark.parametrize("magic", [b"\0\0\x0d\x03", b"\0\1\x08\x03", b"\x89PNG"])
def test_other_magic_numbers_are_refused(tmp_path, magic):
    (tmp_path / "a").write_bytes(magic + bytes(12))
    with pytest.raises(DatasetError, match=rf"expected an idx file.*{magic.hex()}"):
        read_idx(tmp_path / "a")
