from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hashkit.datasets import disjoint
from hashkit.datasets.disjoint import check_disjoint, copies_of
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import ProtocolError


def in_memory(contents):
    """One image per number; equal numbers give equal images."""
    pixels = np.array(contents, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (1, 2, 2, 3), np.uint8
    )
    return ImageSet(name="set", names=[f"set/{row}" for row in range(len(contents))], pixels=pixels)


def in_files(contents, folder):
    """One file per number: n copies of a letter; -n gives a file of the same size, other bytes."""
    names = []
    for row, number in enumerate(contents):
        names.append(f"{row}.bin")
        data = b"a" * number if number >= 0 else b"b" * -number
        (folder / names[-1]).write_bytes(data)
    return ImageSet(name="set", names=names, root=folder)


def split_of(queries, training, database, *, inside=True):
    parts = (np.array(rows, dtype=np.int64) for rows in (queries, training, database))
    return Split("mine", 0, *parts, training_in_database=inside)


@pytest.mark.parametrize("is_file", [False, True])
def test_copies_are_found_in_other_sets(tmp_path, is_file):
    def images(contents, name):
        (tmp_path / name).mkdir()
        return in_files(contents, tmp_path / name) if is_file else in_memory(contents)

    one = images([3, 7, 5, 3], "one")
    others = [(images([7, 9], "two"), np.arange(2)), (images([3, 5], "three"), np.array([0]))]
    assert copies_of(one, np.arange(4), others).tolist() == [0, 1, 3]
    assert copies_of(one, np.array([2, 3]), others[:1]).tolist() == []
    if is_file:
        same_size = images([-7], "four")
        assert copies_of(same_size, np.arange(1), others).tolist() == []
        (tmp_path / "two" / "0.bin").unlink()
        assert copies_of(one, np.arange(4), others).tolist() == [0, 3]


def test_disjoint_parts_are_reported_as_disjoint():
    report = check_disjoint(in_memory([1, 2, 3, 4]), split_of([0], [1, 2], [1, 2, 3]))
    assert report.is_disjoint
    assert report.summary() == "no image is in two parts of the split"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (split_of([0, 1], [2], [1, 2, 3]), "both queries and database, found 1 .*set/1"),
        (split_of([0, 1], [0, 1, 2], [3]), "both queries and training, found 2 .*set/0"),
        (split_of([0], [1, 2], [2, 3], inside=False), "both training and database, found 1"),
    ],
)
def test_equal_rows_are_an_error(split, message):
    with pytest.raises(ProtocolError, match=message) as info:
        check_disjoint(in_memory([1, 2, 3, 4]), split)
    assert "\n" not in str(info.value)


def test_training_images_may_be_in_the_database_if_the_protocol_allows_it():
    split = split_of([0], [1, 2], [2, 3])
    assert check_disjoint(in_memory([1, 2, 3, 4]), split).is_disjoint
    apart = dataclasses.replace(split_of([0], [1, 2], [3, 4], inside=False))
    report = check_disjoint(in_memory([1, 2, 3, 2, 9]), apart)
    assert [(found.part, found.other) for found in report.overlaps] == [("training", "database")]
    inside = dataclasses.replace(apart, training_in_database=True)
    assert check_disjoint(in_memory([1, 2, 3, 2, 9]), inside).is_disjoint


@pytest.mark.parametrize("form", ["memory", "files"])
def test_equal_contents_are_counted_and_shown(form, tmp_path):
    contents = [5, 6, 7, 8, 5, 9, 6, 5]
    images = in_memory(contents) if form == "memory" else in_files(contents, tmp_path)
    report = check_disjoint(images, split_of([0, 1, 2], [3, 4], [3, 4, 5, 6, 7]))
    training, database = report.overlaps
    assert (training.part, training.other, training.n_images) == ("queries", "training", 1)
    assert training.examples == ((images.names[0], images.names[4]),)
    assert (database.part, database.other, database.n_images) == ("queries", "database", 2)
    assert database.examples == (
        (images.names[0], images.names[4]),
        (images.names[1], images.names[6]),
    )
    assert "1 query is also among the training images (for" in report.summary()
    assert "; 2 queries are also among the database images (for" in report.summary()
    assert "\n" not in report.summary()
    with pytest.raises(ProtocolError, match=r"mine: 1 query is.*remove the copies"):
        check_disjoint(images, split_of([0, 1, 2], [3, 4], [3, 4, 5, 6, 7]), strict=True)


def test_files_of_equal_size_with_other_bytes_differ(tmp_path):
    images = in_files([5, -5, 6], tmp_path)
    assert check_disjoint(images, split_of([0], [1, 2], [1, 2])).is_disjoint


def test_files_with_a_unique_size_are_not_read(tmp_path, monkeypatch):
    images = in_files([1, 2, 3, 3], tmp_path)
    read = []
    genuine = disjoint.file_digest
    monkeypatch.setattr(
        disjoint,
        "file_digest",
        lambda path, algorithm: read.append(path.name) or genuine(path, algorithm),
    )
    check_disjoint(images, split_of([0], [1, 2], [2, 3]))
    assert read == ["2.bin", "3.bin"]


def test_files_that_cannot_be_read_are_counted(tmp_path):
    images = in_files([5, 5, 6], tmp_path)
    (tmp_path / "0.bin").unlink()
    report = check_disjoint(images, split_of([0], [1, 2], [1, 2]))
    assert report.n_unreadable == 1
    assert report.summary().endswith("; 1 unreadable")
