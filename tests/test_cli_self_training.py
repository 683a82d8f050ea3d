"""Self-training: a run that learns from the labels that another run's codes give."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import OWN_NETWORK, fail, succeed
from test_pseudo_labels import plain_class_code, plain_guesses

from hashkit.bank import Bank
from hashkit.cli.teacher import ask_teacher, read_guesses, with_guesses
from hashkit.codes import unpack
from hashkit.datasets.spec import DataSpec
from hashkit.datasets.split import holdout
from hashkit.errors import ConfigError
from hashkit.runs import Run, write_json
from hashkit.training.config import TrainConfig

SPLIT = "--training-per-class 10 --queries-per-class 20"
SETTINGS = f"{OWN_NETWORK} --size 8 --bits 16 --batch-size 20 --device cpu"
TEACHER = f"train {SETTINGS} {SPLIT} --steps 40 --name teacher"
STUDENT = (
    f"train {SETTINGS} {SPLIT} --recipe pretrained-self-trained --teacher runs/teacher --steps 8 "
    "--snapshot-steps 2 --keep-snapshots 0 --name student"
)
N_LABELLED = 100
CONFIG = TrainConfig(recipe="pretrained-self-trained", pseudo_share=0.8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a teacher and its student; read only."""
    place, before = tmp_path_factory.mktemp("self-training"), Path.cwd()
    os.chdir(place)
    try:
        succeed(TEACHER)
        succeed("export --onnx --run runs/teacher")
        succeed(STUDENT)
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def work(trained, monkeypatch):
    """That folder as the current one."""
    monkeypatch.chdir(trained)


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of that folder, to be changed, as the current one."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    run = Run.open(Path("runs/student"))
    write_json(
        run.config_path, run.read_config() | {"teacher": str(Path("runs/teacher").absolute())}
    )


def opened(name: str):
    """A run, its image set and its split."""
    run = Run.open(Path("runs") / name)
    return run, *DataSpec.from_dict(run.read_config()["data"]).open()


def lines(run: Run) -> list[dict]:
    return [json.loads(line) for line in run.pseudo_labels_path.read_text().splitlines()]


@pytest.mark.usefixtures("work")
def test_the_labels_are_those_of_the_teachers_codes():
    """By plain loops over its bank, from labelled images that are not held out alone."""
    student, images, split = opened("student")
    with Bank.open(Path("runs/teacher/bank.h5")) as bank:
        bits = dict(zip(bank.names, unpack(bank.codes, 16).astype(int).tolist(), strict=True))
    fit, _ = holdout(images.labels, split.training, 0.1, seed=0)
    assert len(fit) == 0.9 * N_LABELLED
    of_classes = [
        plain_class_code([bits[images.names[row]] for row in fit if images.labels[row] == label])
        for label in range(10)
    ]
    unlabelled = [row for row in split.database.tolist() if row not in set(split.training.tolist())]
    expected = plain_guesses(
        [bits[images.names[row]] for row in unlabelled], range(10), of_classes, 0.8
    )
    found = lines(student)
    assert 300 < len(found) < len(unlabelled)
    assert found == [
        {"name": images.names[unlabelled[place]], "label": label, "margin": margin}
        for place, label, margin in expected
    ]


@pytest.mark.usefixtures("work")
def test_labels_of_the_database_are_not_looked_at():
    """And what it says is right more often than by chance, a tenth."""
    _, images, split = opened("student")
    hidden = np.setdiff1d(split.database, split.training)
    others = images.labels.copy()
    others[hidden] = (others[hidden] + 1) % 10
    teacher = Run.open(Path("runs/teacher"))
    plain = ask_teacher(teacher, images, split, CONFIG, 1)
    blind = ask_teacher(teacher, dataclasses.replace(images, labels=others), split, CONFIG, 1)
    np.testing.assert_array_equal(plain.rows, blind.rows)
    np.testing.assert_array_equal(plain.labels, blind.labels)
    assert not np.isin(plain.rows, np.union1d(split.queries, split.training)).any()
    assert np.mean(plain.labels == images.labels[plain.rows]) > 0.2


@pytest.mark.usefixtures("work")
def test_training_images_without_a_label_are_labelled_too():
    _, images, split = opened("student")
    bare = split.training[::2]
    labels = images.labels.copy()
    labels[bare] = -1
    some = dataclasses.replace(images, labels=labels)
    guesses = ask_teacher(Run.open(Path("runs/teacher")), some, split, CONFIG, 1)
    assert np.isin(guesses.rows, bare).any()
    assert not np.isin(guesses.rows, split.training[1::2]).any()
    learned, is_guess = with_guesses(some, split.training, guesses)
    assert np.count_nonzero(learned.labels[~is_guess] >= 0) == len(split.training) - len(bare)
    assert (learned.labels[is_guess] >= 0).all()


@pytest.mark.parametrize(("n_columns", "found"), [(0, "none"), (10, "several")])
@pytest.mark.usefixtures("work")
def test_images_of_no_label_or_several_are_refused(n_columns, found):
    _, images, split = opened("student")
    labels = np.eye(10, dtype=np.uint8)[images.labels] if n_columns else None
    with pytest.raises(ConfigError, match=f"one label each, digits has {found}"):
        ask_teacher(
            Run.open(Path("runs/teacher")),
            dataclasses.replace(images, labels=labels),
            split,
            CONFIG,
            1,
        )


@pytest.mark.usefixtures("work")
def test_a_run_says_that_it_was_self_trained():
    run, *_ = opened("student")
    saved = run.read_config()
    assert saved["teacher"] == str(Path("runs/teacher").absolute())
    assert saved["training"]["recipe"] == "pretrained-self-trained"
    (facts,) = succeed("info runs/student --json").json["paths"]
    assert facts["teacher"] == saved["teacher"]
    assert "teacher" in succeed("info runs/student").stdout


@pytest.mark.usefixtures("copy")
def test_a_stopped_run_goes_on_without_its_teacher():
    """Bit for bit as if it had not been stopped."""
    run = Run.open(Path("runs/student"))
    last = run.snapshots()[-1][1]
    whole = last.read_bytes()
    last.unlink()
    run.summary_path.unlink()
    shutil.rmtree("runs/teacher")
    succeed("train --resume --run runs/student --device cpu")
    assert last.read_bytes() == whole


@pytest.mark.usefixtures("copy")
def test_labels_that_are_lost_are_asked_for_again():
    run = Run.open(Path("runs/student"))
    whole = run.snapshots()[-1][1].read_bytes()
    said = run.pseudo_labels_path.read_bytes()
    run.pseudo_labels_path.unlink()
    run.snapshots()[-1][1].unlink()
    run.summary_path.unlink()
    succeed("train --resume --run runs/student --device cpu")
    assert run.pseudo_labels_path.read_bytes() == said
    assert run.snapshots()[-1][1].read_bytes() == whole


@pytest.mark.usefixtures("copy")
def test_without_labels_and_teacher_a_run_cannot_go_on():
    run = Run.open(Path("runs/student"))
    run.pseudo_labels_path.unlink()
    run.summary_path.unlink()
    shutil.rmtree("runs/teacher")
    assert "runs/teacher is not a run folder" in fail("train --resume --run runs/student")


@pytest.mark.usefixtures("copy")
def test_damaged_labels_are_said():
    run, images, _ = opened("student")
    n_guesses = len(read_guesses(run.pseudo_labels_path, images))
    gone = {line["name"] for line in lines(run)[:3]}
    left = np.array([row for row, name in enumerate(images.names) if name not in gone])
    assert len(read_guesses(run.pseudo_labels_path, images.subset(left))) == n_guesses - 3
    run.summary_path.unlink()
    with run.pseudo_labels_path.open("a") as file:
        file.write('{"name": "digits/0')
    assert "pseudo_labels.jsonl cannot be read" in fail("train --resume --run runs/student")


@pytest.mark.usefixtures("copy")
def test_training_images_that_are_not_searched_are_encoded_for_it():
    split = f"{SPLIT} --no-training-in-database"
    succeed(f"train {SETTINGS} {split} --steps 40 --name other")
    succeed("export --onnx --run runs/other")
    student = STUDENT.replace("runs/teacher", "runs/other").replace("student", "apart")
    succeed(f"{student} --no-training-in-database")
    _, images, split = opened("other")
    found = lines(Run.open(Path("runs/apart")))
    database = {images.names[row] for row in split.database}
    assert {line["name"] for line in found} <= database
    assert len(found) > 300


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--recipe pretrained-self-trained", "name it with --teacher RUN"),
        (
            "--teacher runs/teacher",
            "--teacher goes with --recipe pretrained-self-trained, not best",
        ),
        (
            "--recipe pretrained-self-trained --teacher runs/teacher --split-seed 1",
            "was trained on another image set or split",
        ),
        (
            "--recipe pretrained-self-trained --teacher runs/teacher --holdout 0.2",
            "give --holdout 0.1 --seed 0, as it was trained",
        ),
        (
            "--recipe pretrained-self-trained --teacher runs/teacher --loss bihalf",
            "--teacher goes with a loss that learns from labels",
        ),
        ("--recipe pretrained-self-trained --teacher runs/none", "runs/none is not a run folder"),
        ("--recipe best --pseudo-share 0.5 --teacher runs/teacher", "pseudo-share must be above 0"),
        ("--recipe pretrained-self-trained --pseudo-share 0", "pseudo-share must be above 0"),
        (
            "--recipe pretrained-self-trained --pseudo-share 2",
            "pseudo_share must be between",
        ),
    ],
)
@pytest.mark.usefixtures("work")
def test_what_cannot_be_is_said_in_a_line(command, expected):
    assert expected in fail(f"train {SETTINGS} {SPLIT} {command} --name new")
    assert not Path("runs/new").exists()


@pytest.mark.usefixtures("copy")
def test_a_teacher_must_be_exported():
    shutil.rmtree("runs/student")
    Path("runs/teacher/model.onnx").unlink()
    Path("runs/teacher/bank.h5").unlink()
    assert "hashkit export --onnx --run" in fail(STUDENT)
