"""Training and exporting from Python, and the commands on what it makes."""

from __future__ import annotations

import functools
import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import QUICK, succeed, write_class_folders, write_digit
from kept_reporter import Kept
from looped import looped
from own_training import FEW, OWN

import hashkit
from hashkit.errors import (
    ConfigError,
    EvaluationError,
    HashkitError,
    MissingExtraError,
    RunError,
    TrainingError,
)
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.export import export
from hashkit.workflow.settings import settings_by_field
from hashkit.workflow.train import resume, train

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder and notes of a run that was made in Python, and exported; read only."""
    place, kept = tmp_path_factory.mktemp("python"), Kept()
    run = train(name="made", runs=place / "runs", queries_per_class=5, reporter=kept, **FEW)
    export(run, network=OWN, reporter=kept)
    return place, kept


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy of that run in the current folder."""
    shutil.copytree(trained[0] / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return hashkit.Run.open(Path("runs/made"))


def check_all_commands(path: Path, network: str = "") -> None:
    """Run every command that takes a run folder on one; ``network`` is the flag for its network."""
    commands = (
        f"export --onnx {network}",
        "encode",
        "evaluate",
        "info",
        f"train --resume {network}",
    )
    for command in commands:
        succeed(f"{command} --run {path}" if command != "info" else f"info {path}")
    image = write_digit(3, Path("img.png"))
    found = succeed(f"search --query {image} --k 2 --run {path} --json").json
    assert len(found["queries"][0]["hits"]) == 2


# hashkit.train


@pytest.mark.end_to_end
def test_a_run_made_in_python_works_in_every_command(run):
    check_all_commands(run.path, f"--network {OWN}")
    assert hashkit.Run.newest(Path("runs")).is_trained


@pytest.mark.end_to_end
def test_the_run_is_the_one_of_the_command(run):
    flags = f"{QUICK.replace('--bits 12', '--bits 8')} --network {OWN} --device cpu"
    succeed(f"train {flags} --queries-per-class 5 --name typed")
    typed = hashkit.Run.open(Path("runs/typed"))
    expected, found = typed.read_config().to_dict(), run.read_config().to_dict()
    assert found.pop("created") != expected.pop("created")
    assert found == expected
    assert run.best_path.read_bytes() == typed.best_path.read_bytes()


@pytest.mark.end_to_end
def test_notes_and_progress_go_to_the_reporter(trained):
    _, kept = trained
    assert kept.titles[:2] == ["decoding", "training"]
    assert kept.done["training"] == 3
    text = "\n".join(kept.notes)
    for part in ("recipe best, network module:", "trained 3 steps", "checkpoint: ", "verified: "):
        assert part in text


@pytest.mark.end_to_end
def test_without_a_reporter_notes_are_logged(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, "hashkit.workflow"):
        train(name="a", runs=tmp_path, **FEW)
    assert any("trained 3 steps" in record.message for record in caplog.records)
    assert capfd.readouterr() == ("", "")


@pytest.mark.end_to_end
def test_a_training_stops_when_it_is_asked_to_and_can_be_resumed(tmp_path):
    asked = []
    run = train(
        name="a",
        runs=tmp_path,
        should_stop=lambda: asked.append(0) or len(asked) > 2,
        **FEW,
    )
    assert not run.is_trained
    (before,) = run.snapshots()
    assert before[0] < 3
    assert resume(run.path, network=OWN) == run
    assert run.is_trained
    assert json.loads(run.summary_path.read_text())["step"] == 3
    kept = Kept()
    assert resume(run, network=OWN, reporter=kept) == run
    assert kept.notes[-1] == f"run {run.path} is trained already"


@pytest.mark.end_to_end
def test_a_loss_that_fails_at_its_first_step_leaves_no_run(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "def spread(logits, labels):\n"
        "    return logits.square().mean()\n"
        "def broken(logits, labels):\n"
        "    return logits[labels.max() + 1000].sum()\n"
    )
    runs, kept = tmp_path / "runs", Kept()
    with pytest.raises(
        TrainingError, match=r"broken failed with IndexError: index .*own\.py, line 4"
    ):
        train(name="a", runs=runs, loss=f"module:{path}:broken", **FEW)
    assert not (runs / "a").exists()
    run = train(name="a", runs=runs, loss=f"module:{path}:spread", reporter=kept, **FEW)
    assert all("active" not in line for line in run.read_metrics())
    assert kept.detail.startswith("epoch ")
    assert "active" not in kept.detail


@pytest.mark.end_to_end
def test_settings_have_the_names_of_their_flags_and_of_their_fields(tmp_path):
    run = train(name="a", runs=tmp_path, lr=0.01, milestones=[0.25, 0.5], **FEW)
    config = run.read_config().training
    assert (config.learning_rate, config.milestones, config.lengths) == (0.01, (0.25, 0.5), (8,))
    assert settings_by_field("f", {"learning_rate": 1.0}) == {"learning_rate": 1.0}


def test_a_name_that_is_taken_is_refused(untrained):
    with pytest.raises(
        RunError, match=r"exists already: choose another `name=...`, or continue that run"
    ):
        train(name="made", **FEW)


@pytest.mark.end_to_end
def test_one_of_several_lengths_is_exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(name="joint", **(FEW | {"bits": (8, 5)}))
    parts = run.per_length()
    assert {n_bits: part.path.name for n_bits, part in parts.items()} == {
        8: "joint-8bits",
        5: "joint-5bits",
    }
    assert parts[5].per_length() == {5: parts[5]}
    with pytest.raises(RunError, match=r"trained 2 code lengths together: export the run of one"):
        export(run)
    model = export(parts[5], "five.onnx", network=OWN)
    assert model == Path("five.onnx")
    assert hashkit.Encoder.load(model, "cpu").n_bits == 5
    assert resume(parts[5], network=OWN).path.resolve() == run.path.resolve()
    shutil.rmtree(parts[8].path)
    with pytest.raises(RunError, match=r"joint-8bits is missing: it is made when the training of"):
        run.per_length()


def test_without_torch_the_extra_is_named(untrained, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for call in (train, lambda: resume(untrained), lambda: export(untrained)):
        with pytest.raises(MissingExtraError, match=r"pip install '.\[train\]'"):
            call()


@pytest.mark.end_to_end
def test_a_triplet_list_is_learned_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_class_folders(Path("photos"), suffix=".png")
    names = sorted(path.relative_to("photos") for path in Path("photos").rglob("*.png"))
    by_class = [[n for n in names if n.parts[0] == c] for c in ("nought", "one", "two")]
    lines = [f"{a} {b} {c}" for a, b, c in zip(*by_class, strict=True)]
    Path("list.txt").write_text("\n".join(lines))
    run = train(name="a", triplets="list.txt", data_root="photos", **FEW)
    config = run.read_config()
    assert (config.triplets, config.training.loss) == (str(tmp_path / "list.txt"), "triplet")
    assert export(run, network=OWN).is_file()


# hashkit.export


@pytest.mark.end_to_end
def test_an_export_is_the_path_of_the_model(run):
    assert export("runs/made", "other.onnx", network=OWN) == Path("other.onnx")
    assert export(run, network=OWN) == run.model_path
    half = export(run, precision="fp16", allow_loss=True)
    assert half == run.path / "model-fp16.onnx"
    assert hashkit.Encoder.load(half, "cpu").precision == "fp16"


@pytest.mark.end_to_end
def test_another_precision_exports_the_model_first(run):
    run.model_path.unlink()
    kept = Kept()
    assert export(run, precision="fp16", allow_loss=True, network=OWN, reporter=kept).is_file()
    assert run.model_path.is_file()
    assert any(note.startswith("exporting ") for note in kept.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int4"}, "unknown precision 'int4'; known: fp32, fp16, int8"),
        (
            {"precision": "int8", "checkpoint": "a"},
            '`checkpoint` cannot be combined with `precision="int8"',
        ),
        ({"allow_loss": True}, "`allow_loss` works only with the precisions fp16 and int8"),
    ],
)
def test_a_wrong_export_is_refused(untrained, arguments, message):
    with pytest.raises(ConfigError, match=message):
        export(untrained, **arguments)


# The parts, by hand


@pytest.mark.end_to_end
@pytest.mark.slow
def test_the_examples_of_the_page_make_runs_for_every_command(tmp_path, monkeypatch):
    """A run that was made by `Trainer` too."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.partition("## Recipes")[0], re.S | re.M)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "training.md", "exec"), {})  # noqa: S102
    assert Path("digits.h5").is_file()
    by_hand = hashkit.Run.open(Path("runs/digits-24"))
    assert by_hand.is_trained
    check_all_commands(by_hand.path)


def tiny_folder(root, **images_of_class):
    """A folder of class folders, each with a number of images."""
    for name, n_images in images_of_class.items():
        for number in range(n_images):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_digit(number, path)
    return root


@looped(
    ("images_of_class", "message"),
    [
        ({"a": 1}, "expected a class of 2 images or more, one to search with and one to find"),
        ({"a": 1, "b": 1}, "expected a class of 2 images or more, .* among 2 images: add images"),
        ({"a": 2, "b": 1}, "holding out images needs .*: add images, or set `holdout=0`"),
        ({"a": 3, "b": 3}, "training needs at least 3 images besides .*, found 2: add images"),
        ({"a": 9}, "learning from labels needs training images of 2 classes or more, found 1"),
    ],
)
def test_a_very_small_folder_says_what_is_needed(tmp_path, images_of_class, message):
    folder = tiny_folder(tmp_path / "photos", **images_of_class)
    with pytest.raises(HashkitError, match=message):
        train(folder, runs=tmp_path / "runs", **FEW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "triplet", "cutmix": 0.5}, "`cutmix` needs a loss that learns from single"),
        ({"precision": "fp16"}, '`precision="fp16"` needs a GPU'),
        ({"loss": "triplet", "batch_size": 600}, "`batch_size` must be at most 512"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_images_are_decoded(
    tmp_path, monkeypatch, settings, message
):
    def decode(*_args, **_kwargs):
        raise AssertionError("images were decoded")

    for name in ("prepare_labelled", "prepare_unlabelled"):
        monkeypatch.setattr(f"hashkit.workflow.training.{name}", decode)
    with pytest.raises(ConfigError, match=message):
        train(runs=tmp_path, **FEW | settings)


def test_a_run_without_labels_is_not_encoded_to_be_evaluated(tmp_path, monkeypatch):
    from hashkit.workflow.evaluation import Subject

    folder = tmp_path / "photos"
    for number in range(4):
        write_digit(number, folder / f"{number}.png")
    config = RunConfig(data=DataSpec(str(folder)))
    run = hashkit.Run.create(tmp_path, "unlabelled", config)
    with pytest.raises(EvaluationError, match=r"expected labels for the images of .*, found none"):
        Subject.of_run(run, RuntimeSettings())


@pytest.mark.end_to_end
def test_a_run_that_does_not_name_its_images_says_so(run):
    unnamed = hashkit.Run.create(
        Path("runs"), "unnamed", RunConfig(training=run.read_config().training)
    )
    shutil.copy(run.model_path, unnamed.model_path)
    shutil.copytree(run.checkpoints_path, unnamed.checkpoints_path, dirs_exist_ok=True)
    export_own, resume_own = (functools.partial(one, network=OWN) for one in (export, resume))
    for call in (export_own, resume_own, lambda one: encode_parts(one)):
        with pytest.raises(RunError, match=r"expected the run's images under data, found none"):
            call(unnamed)


def encode_parts(run):
    from hashkit.workflow.banks import run_bank

    run_bank(run, "queries")


# import hashkit


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["train", "resume", "export", "Run"])
def test_names_are_found_without_heavy_imports(name):
    code = (
        f"import sys, hashkit; hashkit.{name}\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'pydantic', 'h5py'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.end_to_end
def test_the_package_is_imported_without_numpy():
    code = (
        "import sys, hashkit\n"
        "print(sorted({'numpy', 'torch', 'onnxruntime', 'h5py'} & sys.modules.keys()))\n"
        "hashkit.encode; print('numpy' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue False\n"
