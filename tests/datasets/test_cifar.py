from __future__ import annotations

import numpy as np
import published_sets
import pytest
from looped import looped
from PIL import Image

from hashkit.datasets.cifar import CIFAR10, CIFAR10_CLASSES, CIFAR100, CIFAR100_COARSE, open_cifar
from hashkit.errors import DatasetError

PYTHON10 = ("cifar-10-batches-py", published_sets.cifar10_python_files, "cifar-10-python.tar.gz")
BINARY10 = ("cifar-10-batches-bin", published_sets.cifar10_binary_files, "cifar-10-binary.tar.gz")
PYTHON100 = ("cifar-100-python", published_sets.cifar100_python_files, "cifar-100-python.tar.gz")
BINARY100 = ("cifar-100-binary", published_sets.cifar100_binary_files, "cifar-100-binary.tar.gz")


def lay_out(root, version, form):
    """Write one published version below ``root``; return the folder to open."""
    folder, files, archive = version
    if form == "archive":
        root.mkdir(exist_ok=True)
        (root / archive).write_bytes(published_sets.tar_gz(folder, files()))
        return root
    published_sets.write_folder(root / folder, files())
    return root / folder if form == "folder itself" else root


FORMS = ("archive", "folder", "folder itself")


@looped("form", FORMS)
@looped("version", [PYTHON10, BINARY10], ids=["python", "binary"])
def test_cifar10_archives_and_folders(tmp_path, version, form):
    images = open_cifar(CIFAR10, lay_out(tmp_path, version, form))
    parts = published_sets.cifar10_parts()
    assert images.name == "cifar10"
    assert images.class_names == CIFAR10_CLASSES
    assert images.names[0] == "cifar10/train/00000"
    assert images.names[49:51] == ["cifar10/train/00049", "cifar10/test/00000"]
    assert images.labels.tolist() == [label for _, labels in parts.values() for label in labels]
    assert images.labels.dtype == np.int64
    assert images.is_test.tolist() == [False] * 50 + [True] * 10
    assert images.pixels.shape == (60, 32, 32, 3)
    # The official description: 1,024 red values row by row, then green, then blue.
    third_of_batch_2 = parts["data_batch_2"][0][2]
    for channel in range(3):
        assert images.pixels[12, 0, 5, channel] == third_of_batch_2[channel * 1024 + 5]
        assert images.pixels[12, 7, 0, channel] == third_of_batch_2[channel * 1024 + 7 * 32]


@looped("form", FORMS)
@looped("version", [PYTHON100, BINARY100], ids=["python", "binary"])
def test_cifar100_fine_and_coarse(tmp_path, version, form):
    root = lay_out(tmp_path, version, form)
    parts = published_sets.cifar100_parts()
    fine, coarse = open_cifar(CIFAR100, root), open_cifar(CIFAR100_COARSE, root)
    assert fine.labels.tolist() == parts["train"][1] + parts["test"][1]
    assert coarse.labels.tolist() == parts["train"][2] + parts["test"][2]
    assert fine.class_names[99] == "fine99"
    assert coarse.class_names == tuple(f"coarse{label}" for label in range(20))
    assert fine.is_test.tolist() == [False] * 12 + [True] * 5
    np.testing.assert_array_equal(fine.pixels, coarse.pixels)
    expected = parts["test"][0][4].reshape(3, 32, 32)
    np.testing.assert_array_equal(fine.pixels[16].transpose(2, 0, 1), expected)


def write_image_folders(root, class_names):
    for part in ("train", "test"):
        for name in class_names:
            published_sets.write_image(root / part / name / "0000.png", size=(32, 32))


def test_image_folders_get_the_labels_of_the_archives(tmp_path):
    write_image_folders(tmp_path, CIFAR10_CLASSES[::-1])
    images = open_cifar(CIFAR10, tmp_path)
    assert images.name == "cifar10"
    assert images.root == tmp_path
    assert images.class_names == CIFAR10_CLASSES
    for row, name in enumerate(images.names):
        part, class_name, _ = name.split("/")
        assert CIFAR10_CLASSES[images.labels[row]] == class_name
        assert images.is_test[row] == (part == "test")
        with Image.open(images.source(row)) as image:
            assert image.size == (32, 32)


def test_image_folders_with_other_class_names_are_refused(tmp_path):
    # "plane" and "car" sort differently, so labels would mean other classes.
    names = [{"airplane": "plane", "automobile": "car"}.get(name, name) for name in CIFAR10_CLASSES]
    write_image_folders(tmp_path, names)
    with pytest.raises(DatasetError, match=r"expected the class folders airplane.*found 10: bird"):
        open_cifar(CIFAR10, tmp_path)
    with pytest.raises(DatasetError, match="expected the class folders 100 of them"):
        open_cifar(CIFAR100, tmp_path)


def test_a_missing_set_says_how_to_get_it(tmp_path):
    with pytest.raises(
        DatasetError, match=r"`download=True`.*https://.*cifar-10-python.tar.gz"
    ) as info:
        open_cifar(CIFAR10, tmp_path / "nowhere")
    assert "\n" not in str(info.value)
    assert str(tmp_path / "nowhere") in str(info.value)


@pytest.mark.parametrize("version", [PYTHON10, BINARY10], ids=["python", "binary"])
def test_a_truncated_archive_gives_a_one_line_error_at_every_length(tmp_path, version):
    folder, files, archive = version
    data = published_sets.tar_gz(folder, files())
    for n_bytes in range(0, len(data) - 100, len(data) // 23):
        (tmp_path / archive).write_bytes(data[:n_bytes])
        with pytest.raises(DatasetError, match=r"damaged|incomplete") as info:
            open_cifar(CIFAR10, tmp_path)
        assert "\n" not in str(info.value)


@looped(
    ("version", "name", "change", "message"),
    [
        (PYTHON10, "data_batch_3", None, "incomplete: data_batch_3 not found"),
        (PYTHON10, "batches.meta", None, "10 class names in batches.meta not found"),
        (BINARY10, "batches.meta.txt", lambda data: data[10:], "10 class names"),
        (BINARY10, "test_batch.bin", lambda data: data[:-1], "multiple of 3073 bytes"),
        (BINARY10, "test_batch.bin", lambda _: b"", "multiple of 3073 bytes"),
        (BINARY10, "test_batch.bin", lambda data: b"\x0a" + data[1:], "expected labels 0 to 9"),
        (PYTHON10, "test_batch", lambda data: data[:-20], "damaged or truncated"),
        (
            PYTHON10,
            "test_batch",
            lambda _: published_sets.python2_pickle({b"data": 1, b"labels": [0]}),
            "expected entries data and labels",
        ),
        (
            PYTHON10,
            "test_batch",
            lambda _: published_sets.python2_pickle(
                {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}
            ),
            "expected 1 rows of 3072",
        ),
        *(
            (
                PYTHON10,
                "test_batch",
                lambda _, labels=labels: published_sets.python2_pickle(
                    {b"data": np.zeros((2, 3072), np.uint8), b"labels": labels}
                ),
                "expected labels 0 to 9",
            )
            for labels in ([[1, 2], [3, 4]], [[1], [2, 3]], [1, b"2"], [1, 10])
        ),
    ],
)
def test_damage_is_reported(tmp_path, version, name, change, message):
    folder, files, _ = version
    contents = files()
    if change is None:
        del contents[name]
    else:
        contents[name] = change(contents[name])
    published_sets.write_folder(tmp_path / folder, contents)
    with pytest.raises(DatasetError, match=message):
        open_cifar(CIFAR10, tmp_path)
