from __future__ import annotations

import dataclasses

import numpy as np
from looped import looped

from hashkit.collection.duplicates import (
    DuplicateGroup,
    classes_of,
    group_duplicates,
    without_other_names,
)
from hashkit.collection.facts import ImageFacts
from hashkit.collection.join import PairBlock

BASE = ImageFacts("b.jpg", n_bytes=1000, mtime_ns=50, width=40, height=30)


def image(name: str, **facts: object) -> ImageFacts:
    return dataclasses.replace(BASE, name=name, **facts)  # type: ignore[arg-type]


def pairs(*rows: tuple[int, int, int]) -> PairBlock:
    left, right, distance = np.array(rows or np.empty((0, 3)), np.int64).reshape(-1, 3).T
    return PairBlock(left, right, distance.astype(np.uint16))


def shown(groups: list[DuplicateGroup]) -> list[tuple[str, dict[str, int]]]:
    return [
        (group.keep.name, {one.image.name: one.distance for one in group.duplicates})
        for group in groups
    ]


def test_an_image_is_near_the_one_to_keep_and_not_merely_near_another_duplicate() -> None:
    """A near B near C: C is in no group with A, though a chain leads to it."""
    images = [image("a", width=90), image("b", width=80), image("c", width=70)]
    chain = pairs((0, 1, 3), (1, 2, 3))
    assert shown(group_duplicates(images, np.arange(3), chain)) == [("a", {"b": 3})]
    # Where the middle one is the best, both are near it.
    images[1] = image("b", width=100)
    assert shown(group_duplicates(images, np.arange(3), chain)) == [("b", {"a": 3, "c": 3})]


@looped(
    "better",
    [
        {"width": 41, "n_bytes": 10},
        {"is_dated": True, "n_bytes": 10},
        {"n_bytes": 1001, "mtime_ns": 60},
        {"mtime_ns": 49, "name": "longer name.jpg"},
        {"name": "folder/a.jpg"},
    ],
)
def test_the_rule_says_which_image_is_kept(better: dict[str, object]) -> None:
    images = [image("bb.jpg"), dataclasses.replace(BASE, **better)]  # type: ignore[arg-type]
    for some in (images, images[::-1]):
        (group,) = group_duplicates(some, np.zeros(2, np.int64), pairs())
        assert group.keep is images[1]
    # A link is never kept in place of a file, as it may lead to one that is moved.
    images[1] = dataclasses.replace(images[1], is_link=True)
    (group,) = group_duplicates(images, np.zeros(2, np.int64), pairs())
    assert group.keep is images[0]


def test_of_equal_pixels_the_smallest_file_is_kept_and_of_others_the_largest() -> None:
    images = [
        image("as.png", n_bytes=9000, pixel_digest=b"1"),
        image("original.jpg", n_bytes=2000, pixel_digest=b"1"),
        image("poor.jpg", n_bytes=1000, pixel_digest=b"2"),
    ]
    (group,) = group_duplicates(images, classes_of(images), pairs((0, 1, 5)))
    assert group.keep.name == "original.jpg"
    assert [one.kind for one in group.duplicates] == ["pixels", "near"]


def test_each_duplicate_has_a_kind_and_its_group_has_the_weakest() -> None:
    images = [
        image("a", width=90, is_dated=True, file_digest=b"1", pixel_digest=b"1"),
        image("b", width=90, file_digest=b"1", pixel_digest=b"1", n_bytes=1),
        image("c", width=90, file_digest=b"2", pixel_digest=b"1", n_bytes=1),
        image("d", file_digest=b"3", pixel_digest=b"3"),
        image("e", file_digest=b"4", pixel_digest=b"4"),
    ]
    classes = classes_of(images)
    assert classes.tolist() == [0, 0, 0, 1, 2]
    (group,) = group_duplicates(images, classes, pairs((0, 1, 7)))
    assert [(one.image.name, one.kind) for one in group.duplicates] == [
        ("b", "bytes"),
        ("c", "pixels"),
        ("d", "near"),
    ]
    kinds = [
        group_duplicates(images[:n], classes[:n], pairs())[0].to_dict()["kind"] for n in (2, 3)
    ]
    assert [*kinds, group.kind] == ["bytes", "pixels", "near"]


def test_several_names_of_one_file_are_one_image() -> None:
    images = [
        image("a", file_id=(1, 1), is_link=True),
        image("b", file_id=(1, 1)),
        image("c", file_id=(1, 2)),
        image("d"),
    ]
    assert [one.name for one in without_other_names(images)] == ["b", "c", "d"]
