from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_samples import hashkit as run
from PIL import Image

import hashkit
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.workflow.evaluation import Subject
from hashkit.workflow.leaks import leaks_of_subject
from hashkit.workflow.reporter import SILENT, NoteList
from hashkit.workflow.run_start import Reading, training_part


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures; 4 is a small copy of 0, and 5 a copy of 1 in poor quality."""
    folder = tmp_path_factory.mktemp("leaks")
    rng = np.random.default_rng(0)
    for number in range(4):
        blocks = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((160, 160), Image.Resampling.BICUBIC).save(
            folder / f"{number}.png"
        )
    Image.open(folder / "0.png").resize((90, 90)).save(folder / "4.png")
    Image.open(folder / "1.png").save(folder / "5.jpg", quality=40)
    return folder


def image_set(folder: Path) -> ImageSet:
    names = sorted(path.name for path in folder.iterdir())
    return ImageSet("six", names, root=folder, labels=np.zeros(6, np.int64), class_names=("a",))


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_queries_that_are_copies_by_their_look_are_noted_before_a_training(pictures: Path) -> None:
    split = Split("made", 0, queries=rows(0, 1, 2), training=rows(3, 4), database=rows(3, 4, 5))
    notes = NoteList()
    training_part(image_set(pictures), split, Reading(leaks=True), notes)
    training, database, _ = notes.lines
    assert "1 of the 3 queries look like training images (for example 0.png and 4.png" in training
    assert "2 of the 3 queries look like database images" in database
    notes.lines.clear()
    training_part(image_set(pictures), split, Reading(), notes)
    assert len(notes.lines) == 1
    apart = Split("made", 0, queries=rows(2), training=rows(0), database=rows(0, 1, 4, 5))
    training_part(image_set(pictures), apart, Reading(leaks=True), notes)
    assert notes.lines[1] == "no query looks like a training or database image"


def test_evaluate_says_which_queries_look_like_images_of_the_database(
    pictures: Path, tmp_path: Path
) -> None:
    images = image_set(pictures)
    for name, part in (("q", rows(0, 2)), ("d", rows(1, 3, 4))):
        hashkit.encode(images.subset(part), "phash", tmp_path / f"{name}.h5")
    outcome = run(f"evaluate '{tmp_path}/q.h5' '{tmp_path}/d.h5' --leaks --json")
    assert "1 of the 2 queries look like database images" in outcome.stderr
    (part,) = outcome.json["leaks"]["parts"]
    assert (part["part"], part["n_queries"]) == ("database", 1)
    (example,) = part["examples"]
    assert (example["query"], example["image"]) == ("0.png", "4.png")
    assert example["distance"] <= 12
    # A collection that is both queries and database: an image is not a leak of itself.
    with hashkit.Bank.open(tmp_path / "d.h5") as bank:
        assert leaks_of_subject(Subject("d", bank, [bank]), None, SILENT).found == ()
    codes = hashkit.CodeSet(np.zeros((2, 1), np.uint8), 8)
    found = leaks_of_subject(Subject("codes", codes, [codes]), None, SILENT)
    assert (found.n_queries, found.n_missing, found.found) == (0, 2, ())
