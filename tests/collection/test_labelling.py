"""Labels of the images that a bank gets from its folder."""

import numpy as np
import pytest

from hashkit.bank.header import BankHeader
from hashkit.collection.labelling import FolderLabels


def header(kind, classes=("cat", "dog")):
    return BankHeader(8, class_names=classes, label_kind=kind)


@pytest.mark.parametrize("part", ["", "train/"])
def test_new_images_get_the_label_of_their_subfolder(part):
    names = [f"{part}cat/1.png", f"{part}dog/1.png", f"{part}dog/2.png"]
    rule = FolderLabels.of_rows(header("single"), names, np.array([0, 1, -1]))
    new = [f"{part}dog/3.png", f"{part}cow/1.png", "loose.png", f"{part}dog/2.png"]
    assert rule.labels_of(new, [None, names[0], None, None]).tolist() == [1, -1, -1, -1]


def test_labels_of_another_origin_stay_with_their_images():
    rule = FolderLabels.of_rows(header("single"), ["cat/1.png", "cat/2.png"], np.array([0, 1]))
    labels = rule.labels_of(["cat/2.png", "moved.png", "cat/new.png"], [None, "cat/2.png", None])
    assert labels.tolist() == [1, 1, -1]


def test_banks_without_labels_and_with_several_per_image():
    none = FolderLabels.of_rows(header("none", ()), ["a"], None)
    assert none.labels_of(["b"], [None]) is None
    multi = FolderLabels.of_rows(header("multi"), ["a"], np.array([[1, 1]], np.uint8))
    assert multi.labels_of(["a", "b"], [None, None]).tolist() == [[1, 1], [0, 0]]
