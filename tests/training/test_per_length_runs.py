from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_samples import fail, hashkit, succeed
from training_samples import digits

import hashkit.training.per_length_runs as splitting
from hashkit.errors import RunError
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run, run_name, write_json
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.training.checkpoint import load_model, read_checkpoint
from hashkit.training.per_length_runs import split_run

pytestmark = pytest.mark.end_to_end

LENGTHS = (12, 5)
TRAIN = (
    "train --bits 12,5 --steps 4 --batch-size 12 --training-per-class 4 --name joint --size 8 "
    "--network dnnh --loss triplet --snapshot-steps 2 --device cpu"
)
RESUME = "train --resume --run runs/joint"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a trained run of two code lengths; tests must not change it."""
    place, before = tmp_path_factory.mktemp("trained"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        ended = succeed(f"{TRAIN} --json")
    assert Path.cwd() == before
    return place, ended


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of that folder, as working folder."""
    shutil.copytree(trained[0] / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def part(n_bits):
    return Run.open(Path("runs") / run_name("joint", n_bits))


def files(path):
    """Contents of the files of a folder, config.json without its date."""
    found = {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    config = json.loads(found.pop("config.json"))
    assert config.pop("created")
    return found | {"config.json": config}


def test_a_training_of_two_lengths_creates_a_run_for_each(trained):
    place, ended = trained
    assert {path.name for path in (place / "runs").glob("[!.]*")} == {
        "joint",
        "joint-12bits",
        "joint-5bits",
    }
    for n_bits in LENGTHS:
        assert f"next: hashkit export --onnx --run runs/joint-{n_bits}bits" in ended.stderr
    assert ended.json["run"] == "runs/joint"


def test_config_and_checkpoint_of_each_run(place):
    joint = Run.open(Path("runs/joint"))
    for n_bits in LENGTHS:
        run = part(n_bits)
        saved, whole = run.read_config(), joint.read_config()
        assert saved.shared == SharedTraining("joint", (12, 5))
        assert saved.training == dataclasses.replace(whole.training, lengths=(n_bits,))
        for field in ("data", "triplets", "device", "threads"):
            assert getattr(saved, field) == getattr(whole, field)
        checkpoint = read_checkpoint(run.checkpoint_path())
        assert checkpoint.manifest.n_bits == n_bits
        assert checkpoint.config.lengths == (n_bits,)
        assert (checkpoint.losses, checkpoint.optimiser) == ({}, {})
        assert checkpoint.step == read_checkpoint(joint.checkpoint_path()).step
        assert run.read_metrics() == joint.read_metrics()
        assert run.summary_path.read_bytes() == joint.summary_path.read_bytes()


def test_each_run_gives_exactly_its_part_of_the_joint_logits(place):
    joint = load_model(Run.open(Path("runs/joint")).checkpoint_path()).model
    images = torch.from_numpy(digits(50).pixels)
    with torch.inference_mode():
        expected = joint(images).split(list(LENGTHS), dim=1)
        assert joint(images).shape == (50, 17)
        for n_bits, logits in zip(LENGTHS, expected, strict=True):
            found = load_model(part(n_bits).checkpoint_path()).model(images)
            assert torch.equal(found, logits)
            assert logits.std() > 0


@pytest.mark.slow
def test_a_part_is_exported_and_encoded_like_any_run(place):
    succeed("export --onnx --run runs/joint-5bits")
    succeed("encode --run runs/joint-5bits")
    report = succeed("evaluate --run runs/joint-5bits --json").json
    assert report["bits"] == 5


def test_a_run_of_one_length_is_returned(tmp_path):
    run = Run.create(tmp_path, "one", RunConfig(training=TrainConfig(lengths=(12,))))
    assert split_run(run) == [run]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    "kill_at",
    [
        "runs.run.Run.create",
        "training.per_length_runs.write_checkpoint",
        "runs.length_runs.write_whole",
    ],
)
def test_resuming_completes_an_interrupted_split(place, monkeypatch, kill_at):
    expected = {n_bits: files(part(n_bits).path) for n_bits in LENGTHS}
    for n_bits in LENGTHS:
        shutil.rmtree(part(n_bits).path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"hashkit.{kill_at}", killed)
        assert hashkit(RESUME).exit_code != 0
    succeed(RESUME)
    assert {n_bits: files(part(n_bits).path) for n_bits in LENGTHS} == expected


def test_resuming_splits_a_run_that_was_not_split(place):
    expected = {n_bits: files(part(n_bits).path) for n_bits in LENGTHS}
    for n_bits in LENGTHS:
        shutil.rmtree(part(n_bits).path)
    ended = succeed(RESUME)
    assert "is trained already" in ended.stderr
    assert {n_bits: files(part(n_bits).path) for n_bits in LENGTHS} == expected


def test_resuming_fills_an_empty_folder_of_an_interrupted_split(place):
    run = part(5)
    expected = files(run.path)
    shutil.rmtree(run.path)
    run.checkpoints_path.mkdir(parents=True)
    succeed(RESUME)
    assert files(run.path) == expected


def test_a_run_with_an_exported_model_is_kept(place):
    exported, plain = part(12), part(5)
    exported.model_path.write_bytes(b"a model")
    (plain.path / "note.txt").write_text("of the first time")
    assert split_run(Run.open(Path("runs/joint"))) == [exported, plain]
    assert exported.model_path.read_bytes() == b"a model"
    assert not (plain.path / "note.txt").exists()


@pytest.mark.parametrize("what", ["another run", "another run with a model", "no run"])
def test_folders_from_elsewhere_are_not_removed(place, what):
    taken = part(12).path
    shutil.rmtree(taken)
    if what == "no run":
        taken.mkdir()
        (taken / "notes.txt").write_text("not of hashkit")
    else:
        run = Run.create(Path("runs"), taken.name, RunConfig())
        if what.endswith("model"):
            run.model_path.write_bytes(b"a model")
    before = {path: path.read_bytes() for path in taken.rglob("*") if path.is_file()}
    message = fail(RESUME)
    assert f"{taken} already exists and is not from runs/joint: rename it" in message
    assert {path: path.read_bytes() for path in taken.rglob("*") if path.is_file()} == before


def test_the_newest_run_to_resume_is_the_trained_one(place):
    """The per-length runs are newer, but have no snapshot to resume from."""
    before = {n_bits: part(n_bits).best_path.read_bytes() for n_bits in LENGTHS}
    for command in ("train --resume", "train --resume --run runs/joint-5bits"):
        ended = succeed(command)
        assert "joint is trained already" in ended.stderr
    assert {n_bits: part(n_bits).best_path.read_bytes() for n_bits in LENGTHS} == before


def test_a_run_is_split_from_within_its_folder(place, monkeypatch):
    for n_bits in LENGTHS:
        shutil.rmtree(part(n_bits).path)
    monkeypatch.chdir(place / "runs" / "joint")
    succeed("train --resume --run .")
    assert {path.name for path in (place / "runs").glob("[!.]*")} == {
        "joint",
        "joint-12bits",
        "joint-5bits",
    }


@pytest.mark.parametrize("name", ["joint", "joint-5bits"])
def test_a_name_that_is_taken_is_refused_before_training(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Run.create(Path("runs"), name, RunConfig())
    assert f"runs/{name} exists already" in fail(TRAIN)
    assert [path.name for path in Path("runs").iterdir()] == [name]


def test_tensors_of_one_head():
    joint = {
        "mean": np.zeros(3),
        "network.blocks.1.weight": np.ones(2),
        "heads.0.linear.weight": np.array([0]),
        "heads.1.linear.weight": np.array([1]),
        "heads.10.linear.weight": np.array([10]),
        "standardise.1.running_mean": np.array([2]),
        "standardise.10.running_mean": np.array([3]),
    }
    found = splitting._one_head(joint, 1)
    assert {name: value.tolist() for name, value in found.items()} == {
        "mean": [0, 0, 0],
        "network.blocks.1.weight": [1, 1],
        "heads.0.linear.weight": [1],
        "standardise.0.running_mean": [2],
    }


def test_a_damaged_config_is_an_error_of_one_line(place):
    write_json(part(5).config_path, {"shared": None})
    with pytest.raises(RunError, match=r"joint-5bits/config.json: training is missing: correct"):
        split_run(Run.open(Path("runs/joint")))
