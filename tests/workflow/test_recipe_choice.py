from __future__ import annotations

import pytest

from hashkit.workflow.recipe_choice import odd_class_names


@pytest.mark.parametrize(
    "names",
    [
        ("2019", "2020", "2021"),
        ("2021-05 Rome", "2021-07", "2022-01-01 party"),
        ("Camera", "WhatsApp Images", "Screenshots"),
        ("100CANON", "101_PANA", "102APPLE"),
        ("backup", "old", "misc"),
        ("June", "july", "aug 2"),
        ("cats", "backup", "2021"),
    ],
)
def test_folders_that_say_when_images_arrived(names: tuple[str, ...]) -> None:
    assert odd_class_names(names)


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog", "horse"),
        ("0", "1", "2", "3", "9"),
        ("n01440764", "n01443537"),
        ("marsupial", "maypole", "juniper", "oldsmobile", "newt", "photosynthesis"),
        ("airplane", "automobile", "bird", "album cover"),
        ("007_cat", "008_dog"),
        (*(f"class{number}" for number in range(20)), "misc"),
    ],
)
def test_classes(names: tuple[str, ...]) -> None:
    assert odd_class_names(names) == []
