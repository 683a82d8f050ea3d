from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from looped import looped

from hashkit.errors import RunError
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig

CONFIG = RunConfig(training=TrainConfig(lengths=(12,)))
OTHER = RunConfig(training=TrainConfig(lengths=(24,)))


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, "first", CONFIG)


def test_a_new_run_says_what_made_it_and_when(run):
    config = run.read_config()
    assert config.created.startswith("20")
    assert dataclasses.replace(config, created="") == CONFIG
    assert run.checkpoints_path.is_dir()
    assert Run.open(run.path) == run


def test_a_run_is_made_below_folders_that_are_not_there(tmp_path):
    run = Run.create(tmp_path / "a" / "b", "c", RunConfig())
    assert run.path == tmp_path / "a" / "b" / "c"


def test_a_run_is_never_made_over_another(run, tmp_path):
    with pytest.raises(
        RunError, match=r"exists already: .* continue that run with `hashkit.resume"
    ):
        Run.create(tmp_path, "first", OTHER)
    assert run.read_config().training == CONFIG.training


@pytest.mark.parametrize(
    "left", [[], ["checkpoints/"], ["checkpoints/", ".config.json.0123456789abcdef.hashkit-part"]]
)
def test_leftovers_of_a_killed_creation_do_not_prevent_a_new_run(tmp_path, left):
    path = tmp_path / "first"
    path.mkdir()
    for name in left:
        if name.endswith("/"):
            (path / name).mkdir()
        else:
            (path / name).write_text('{"n_b')
    run = Run.create(tmp_path, "first", CONFIG)
    assert run.read_config().training == CONFIG.training
    assert sorted(found.name for found in path.iterdir()) == ["checkpoints", "config.json"]


@looped("kind", ["file", "link", "folder", "inner file"])
def test_other_files_and_folders_are_not_taken_for_leftovers_of_a_run(tmp_path, kind):
    path, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        path.write_text("")
    elif kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "folder":
        (path / "photos").mkdir(parents=True)
    else:
        (path / "checkpoints").mkdir(parents=True)
        (path / "checkpoints" / "step-0000001.safetensors").write_bytes(b"hours")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="exists already"):
        Run.create(tmp_path, "first", RunConfig())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("made", [False, True], ids=["missing", "another folder"])
def test_other_files_and_folders_are_not_opened_as_runs(tmp_path, made):
    path = tmp_path / "odd"
    if made:
        path.mkdir()
    with pytest.raises(RunError, match=r"is not a run folder: it has no config.json"):
        Run.open(path)


def test_the_newest_run_is_the_one_created_last(tmp_path):
    runs = [Run.create(tmp_path, name, RunConfig()) for name in ("b", "c", "a")]
    # Neither later changes of a folder nor its name count.
    os.utime(runs[0].path, (2e9, 2e9))
    os.utime(runs[0].config_path, (2e9, 2e9))
    assert Run.newest(tmp_path) == runs[2]


def test_a_damaged_run_is_left_out_and_reported(tmp_path):
    good, damaged = (Run.create(tmp_path, name, RunConfig()) for name in ("good", "damaged"))
    damaged.config_path.write_text("{")
    faults = []
    assert Run.newest(tmp_path, faults.append) == good
    assert len(faults) == 1
    assert faults[0].startswith(f"{damaged.config_path}: expected JSON, found damaged text")


def test_folders_without_settings_are_not_runs(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(RunError, match="`hashkit train` makes one"):
        Run.newest(tmp_path)
    with pytest.raises(RunError, match="`hashkit train` makes one"):
        Run.newest(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_damaged_settings_are_refused_in_one_line(run, text):
    run.config_path.write_text(text)
    with pytest.raises(RunError) as caught:
        run.read_config()
    assert str(run.config_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_snapshots_are_in_the_order_of_their_steps(run):
    for name in ("step-0000010", "step-0000009", "step-12345678", "best", "step-x"):
        (run.checkpoints_path / f"{name}.safetensors").touch()
    (run.checkpoints_path / ".step-0000011.safetensors.0123456789abcdef.hashkit-part").touch()
    assert [step for step, _ in run.snapshots()] == [9, 10, 12345678]
    assert all(path == run.snapshot_path(step) for step, path in run.snapshots())


def test_the_checkpoint_to_export_is_the_best_or_the_last(run):
    with pytest.raises(
        RunError, match=r"has no checkpoint yet: continue its training with `hashkit\.resume"
    ):
        run.checkpoint_path()
    for step in (5, 10):
        run.snapshot_path(step).touch()
    assert run.checkpoint_path() == run.snapshot_path(10)
    run.best_path.touch()
    assert run.checkpoint_path() == run.best_path


def test_metrics_come_back_without_a_line_that_was_cut(run):
    assert run.read_metrics() == []
    run.append_metrics({"step": 1, "loss": 1 / 3})
    run.append_metrics({"step": 2, "held_out": 0.5})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert run.read_metrics() == [{"step": 1, "loss": 1 / 3}, {"step": 2, "held_out": 0.5}]


def test_rewinding_drops_later_steps_and_what_was_cut(run):
    for step in (1, 2, 2, 3, 5):
        run.append_metrics({"step": step})
    with run.metrics_path.open("a") as file:
        file.write('{"ste')
    run.rewind_metrics(2)
    run.append_metrics({"step": 3})
    assert [json.loads(line)["step"] for line in run.metrics_path.read_text().splitlines()] == [
        1,
        2,
        2,
        3,
    ]
    run.rewind_metrics(0)
    assert run.metrics_path.read_text() == ""


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_json(path, {"name": "δύο"})
    before = path.read_text(encoding="utf-8")
    assert "δύο" in before
    with pytest.raises(TypeError):
        write_json(path, {"name": "three", "odd": object()})
    assert path.read_text(encoding="utf-8") == before

    def crash(file):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="the disk is full"):
        write_json(path, {"name": "four"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "δύο"}


def test_the_paths_are_those_of_the_run_folder(run):
    names = {
        "config_path": "config.json",
        "metrics_path": "metrics.jsonl",
        "summary_path": "summary.json",
        "model_path": "model.onnx",
        "bank_path": "bank.h5",
        "queries_path": "queries.h5",
        "checkpoints_path": "checkpoints",
        "best_path": "checkpoints/best.safetensors",
    }
    for attribute, name in names.items():
        assert getattr(run, attribute) == run.path / Path(name)
    assert run.snapshot_path(1234) == run.checkpoints_path / "step-0001234.safetensors"
