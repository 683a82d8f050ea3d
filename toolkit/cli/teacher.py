"""Labels of a run's unlabelled images, by the codes of another run, its teacher."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank import Bank
from hashkit.cli.banks import run_bank
from hashkit.cli.baseline_features import pixel_blocks
from hashkit.cli.console import note, progress_bar
from hashkit.cli.encoding import load_encoder
from hashkit.cli.locate import run_model
from hashkit.cli.material import Material
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Rows, Split
from hashkit.errors import ConfigError, RunError
from hashkit.files import written_whole
from hashkit.runs import Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.training.config import TrainConfig
from hashkit.training.prepare import hold_out, learns_from_labels
from hashkit.training.pseudo_labels import PseudoLabels, class_codes, guess_labels
from hashkit.training.recipes import SELF_TRAINED

__all__ = ["ask_teacher", "check_teacher", "read_guesses", "with_guesses", "write_guesses"]


def check_teacher(material: Material, config: TrainConfig) -> None:
    """Check that a run has a teacher if its recipe asks for one, and one that it may learn from.

    A teacher of another split may have learned from what are queries here, and one that held out
    other images may have learned from what is to choose the checkpoint here.

    Raises
    ------
    ConfigError
        If not.
    """
    if material.teacher is None:
        if config.pseudo_share:
            raise ConfigError(
                f"recipe {config.recipe} learns from a teacher's labels too: train and export a "
                "run with another recipe, and name it with --teacher RUN"
            )
        return
    if not config.pseudo_share:
        raise ConfigError(
            f"--teacher goes with --recipe {' or '.join(SELF_TRAINED)}, not {config.recipe}"
        )
    if material.triplets is not None or not learns_from_labels(config):
        raise ConfigError("--teacher goes with a loss that learns from labels")
    saved = Run.open(material.teacher).read_config()
    if saved.get("triplets") or Material.of_run(Run.open(material.teacher)).spec != material.spec:
        raise ConfigError(
            f"the teacher {material.teacher} was trained on another image set or split: give the "
            "same --data, --protocol and seeds and numbers of the split"
        )
    theirs = TrainConfig.from_dict(saved["training"])
    if (theirs.holdout, theirs.seed) != (config.holdout, config.seed):
        raise ConfigError(
            "the teacher held out other images, so that nothing could choose the checkpoint: "
            f"give --holdout {theirs.holdout:g} --seed {theirs.seed}, as it was trained"
        )


def ask_teacher(
    teacher: Run, images: ImageSet, split: Split, config: TrainConfig, n_workers: int | None
) -> PseudoLabels:
    """The surest labels of the unlabelled images of training part and database.

    Labels of the database are not looked at. The teacher's bank is made if it is missing, and
    goes on where it stopped.

    Returns
    -------
    PseudoLabels
        Its rows are those of ``images``.

    Raises
    ------
    ConfigError
        If images have no labels or several, or the teacher is sure of none.
    """
    if images.labels is None or images.is_multi_label:
        found = "several" if images.is_multi_label else "none"
        raise ConfigError(f"a teacher needs images of one label each, {images.name} has {found}")
    labelled = split.training[images.labels[split.training] >= 0]
    unlabelled = np.setdiff1d(np.union1d(split.training, split.database), labelled)
    rows, codes, n_bits = _codes(teacher, images, np.union1d(labelled, unlabelled), n_workers)
    is_labelled = np.isin(rows, labelled)
    labels = images.labels[rows[is_labelled]]
    fit, _ = hold_out(labels, np.arange(len(labels)), config)
    classes, of_classes = class_codes(codes[is_labelled][fit], n_bits, labels[fit])
    guesses = guess_labels(codes[~is_labelled], classes, of_classes, config.pseudo_share)
    note(
        f"teacher {teacher.path}: {len(guesses):,} of {len(unlabelled):,} unlabelled images are "
        f"learned from, their nearest class {guesses.margins.min()} bits or more before the next"
    )
    return PseudoLabels(rows[~is_labelled][guesses.rows], guesses.labels, guesses.margins)


def _codes(
    teacher: Run, images: ImageSet, rows: Rows, n_workers: int | None
) -> tuple[Rows, NDArray[np.uint8], int]:
    """Codes of those images that can be used, and their bits; the rows are sorted."""
    settings = RuntimeSettings()
    path = run_bank(teacher, "database", settings, n_workers=n_workers)
    with Bank.open(path) as bank:
        n_bits = bank.n_bits
        places = {name: place for place, name in enumerate(bank.names)}
        place_of = np.array([places.get(images.names[row], -1) for row in rows], np.int64)
        in_bank = place_of >= 0
        codes = np.zeros((len(rows), bank.codes.shape[1]), np.uint8)
        codes[in_bank] = bank.codes[place_of[in_bank]]
    has_code = in_bank.copy()
    missing = rows[~in_bank]  # training images, where they are not searched
    if len(missing):
        encoder = load_encoder(run_model(teacher), settings)
        manifest = encoder.manifest
        n_done = 0
        with progress_bar("codes of training images", len(missing), "images") as bar:
            for done, pixels in pixel_blocks(images, missing, manifest.size, manifest.resize):
                found = np.searchsorted(rows, done)
                codes[found], _ = encoder.run(pixels)
                has_code[found] = True
                n_done += len(done)
                bar.update(n_done)
    return rows[has_code], codes[has_code], n_bits


def with_guesses(
    images: ImageSet, training: Rows, guesses: PseudoLabels | None
) -> tuple[ImageSet, NDArray[np.bool_] | None]:
    """The images that are learned from, with their labels, and which of these are guesses."""
    if guesses is None:
        return images.subset(training), None
    assert images.labels is not None  # noqa: S101 - by ask_teacher
    labels = images.labels.copy()
    labels[guesses.rows] = guesses.labels
    rows = np.union1d(training, guesses.rows)
    learned = dataclasses.replace(images, labels=labels).subset(rows)
    return learned, np.isin(rows, guesses.rows)


def write_guesses(path: Path, images: ImageSet, guesses: PseudoLabels) -> None:
    """Write what the teacher said, a line an image: its name, its label and the margin, bits."""
    with written_whole(path) as part, part.open("w", encoding="utf-8") as file:
        for row, label, margin in zip(
            guesses.rows.tolist(), guesses.labels.tolist(), guesses.margins.tolist(), strict=True
        ):
            line = {"name": images.names[row], "label": label, "margin": margin}
            file.write(json.dumps(line) + "\n")


def read_guesses(path: Path, images: ImageSet) -> PseudoLabels:
    """What `write_guesses` wrote, without images that are no longer there.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    places = {name: row for row, name in enumerate(images.names)}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = sorted(
            (places[line["name"]], int(line["label"]), int(line["margin"]))
            for line in lines
            if line["name"] in places
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read ({error}): remove it, and the teacher is asked again"
        ) from None
    rows, labels, margins = np.array(found, np.int64).reshape(-1, 3).T
    return PseudoLabels(rows, labels, margins)
