"""Which images a training sees without their labels."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail
from kept_reporter import Kept
from PIL import Image

from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.protocols import make_split
from hashkit.datasets.sets import open_image_set
from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec, ProtocolOptions
from hashkit.training.recipes import RECIPES
from hashkit.workflow.recipe_choice import chosen_settings
from hashkit.workflow.unlabelled_images import protocol_text, unlabelled_images

FEW_LABELS = RECIPES["few-labels"].config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``classes/``, two classes of five pictures; ``others/``, four more and copies of all ten."""
    root = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    (root / "others").mkdir()
    for number in range(14):
        folder = root / ("others" if number >= 10 else f"classes/{'ab'[number % 2]}")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        if number < 10:
            shutil.copy(path, root / "others" / f"copy-{number}.png")
    return root


def test_a_folder_is_taken_without_copies_of_queries_and_labelled_images(folders: Path) -> None:
    images = open_image_folder(folders / "classes")
    split = make_split(images, "per-class")
    spec = DataSpec(str(folders / "classes"), unlabelled=str(folders / "others"))
    notes = Kept()
    found = unlabelled_images(spec, images, split, FEW_LABELS, notes)
    assert found is not None
    assert list(found.names) == ["10.png", "11.png", "12.png", "13.png"]
    assert notes.text.splitlines() == [
        "10 unlabelled images left out, for copies of queries or of labelled images",
        "others: 4 training images without labels",
    ]
    assert protocol_text(split, FEW_LABELS) == "per-class with unlabelled images"
    only_copies = DataSpec(spec.data, unlabelled=spec.data)
    with pytest.raises(ConfigError, match=r"^classes: expected unlabelled images besides"):
        unlabelled_images(only_copies, images, split, FEW_LABELS, Kept())


def test_a_protocol_gives_its_own_and_a_list_the_images_without_a_label() -> None:
    digits = open_image_set("digits")
    assert digits.labels is not None
    labels = np.where(np.arange(len(digits)) < 200, digits.labels, -1)
    partly = dataclasses.replace(digits, name="list", labels=labels)
    own = make_split(partly, "per-class")
    found = unlabelled_images(DataSpec(), partly, own, FEW_LABELS, Kept())
    assert found is not None
    assert found.labels is not None
    assert set(found.labels.tolist()) == {-1}
    few = ProtocolOptions(queries_per_class=10, training_per_class=5)
    by_protocol = make_split(digits, "per-class-unlabelled", options=few)
    found = unlabelled_images(DataSpec(), digits, by_protocol, FEW_LABELS, Kept())
    assert found is not None
    n_known = len(by_protocol.queries) + len(by_protocol.training)
    assert len(found) == len(digits) - n_known
    assert protocol_text(by_protocol, FEW_LABELS) == "per-class-unlabelled"
    notes = Kept()
    assert unlabelled_images(DataSpec(), digits, by_protocol, TrainConfig(), notes) is None
    assert "of per-class-unlabelled are not used" in notes.text


def test_unlabelled_images_that_are_missing_or_not_used_are_a_one_line_error(folders: Path) -> None:
    images = open_image_folder(folders / "classes")
    split = make_split(images, "per-class")
    with pytest.raises(ConfigError, match="learns from images without labels too, found none: nam"):
        unlabelled_images(DataSpec(), images, split, FEW_LABELS, Kept())
    message = fail(
        f"train --data {folders / 'classes'} --unlabelled {folders / 'others'} --recipe best"
    )
    assert "--unlabelled needs --unlabelled-ratio above 0, found 0 with the recipe best" in message
    message = fail(f"train --triplets a.txt --unlabelled {folders / 'others'}")
    assert "--triplets cannot be combined with --unlabelled" in message


def test_the_recipe_for_few_labels_is_chosen_where_others_are_named() -> None:
    digits = open_image_set("digits")
    assert chosen_settings({}, digits, Kept(), has_others=True) == {"recipe": "few-labels"}
    assert chosen_settings({}, digits, Kept()) == {}
    kept = chosen_settings({"recipe": "best"}, digits, Kept(), has_others=True)
    assert kept == {"recipe": "best"}
