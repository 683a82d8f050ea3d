from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from looped import looped

from hashkit.errors import RunError
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec, ProtocolOptions
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import FORMAT_VERSION, RunConfig, SharedTraining, read_run_config

GOLDEN = Path(__file__).parents[1] / "golden"
SAVED = json.loads((GOLDEN / "run-config-v1.json").read_text(encoding="utf-8"))
CONFIG = RunConfig(
    data=DataSpec("digits", protocol="per-class", options=ProtocolOptions(queries_per_class=20)),
    training=TrainConfig(lengths=(12,), height=8, width=8, batch_size=12, steps=3),
    device="cpu",
    threads=2,
    shared=SharedTraining("one", (12, 24)),
    created="2025-11-28T10:27:03.335328+00:00",
)
"""What the golden files hold."""


def read(fields: object, folder: Path) -> RunConfig:
    path = folder / "config.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return read_run_config(path)


@pytest.mark.parametrize(
    "name", ["run-config-unversioned.json", "run-config-v1-first.json", "run-config-v1.json"]
)
def test_the_files_of_every_version_are_read(name):
    assert read_run_config(GOLDEN / name) == CONFIG


def test_the_file_that_is_written_is_the_golden_one(tmp_path):
    write_json(tmp_path / "config.json", CONFIG.to_dict())
    golden = (GOLDEN / "run-config-v1.json").read_bytes()
    assert (tmp_path / "config.json").read_bytes() == golden
    assert SAVED["format_version"] == FORMAT_VERSION


@looped(
    "config",
    [
        RunConfig(),
        RunConfig(triplets="caf\udce9/list.txt", data=DataSpec(root="caf\udce9")),
        RunConfig(data=DataSpec("a", query_list="q.txt", training_list="t.txt"), device="cuda:1"),
        RunConfig(
            data=DataSpec(options=ProtocolOptions(unseen_classes=("a", "b"), n_queries=3)),
            training=TrainConfig(loss="triplet", average="valid", lengths=(12, 24), seed=2**62),
        ),
    ],
)
def test_a_config_comes_back_from_its_file(config, tmp_path):
    run = Run.create(tmp_path, "a", config)
    found = run.read_config()
    assert found.created
    assert dataclasses.replace(found, created="") == config


def test_whole_numbers_are_numbers(tmp_path):
    fields = SAVED | {"training": SAVED["training"] | {"epochs": 3}}
    assert read(fields, tmp_path).training.epochs == 3.0


def test_a_file_without_a_version_may_hold_the_training_alone(tmp_path):
    found = read({"training": {"lengths": [12]}}, tmp_path)
    assert found == RunConfig(training=TrainConfig(lengths=(12,)))


def changed(place: str, value: object) -> dict:
    """The saved fields with one changed, whose place is separated by dots."""
    fields = json.loads(json.dumps(SAVED))
    *parents, name = place.split(".")
    inner = fields
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    return fields


@looped(
    ("place", "value", "message"),
    [
        ("training.seed", "1", 'training.seed: expected a whole number, found "1"'),
        ("training.seed", 1.0, "training.seed: expected a whole number, found 1.0"),
        ("training.seed", True, "training.seed: expected a whole number, found true"),
        ("training.mirror", 1, "training.mirror: expected true or false, found 1"),
        ("training.loss", None, "training.loss: expected a text, found null"),
        ("training.epochs", "3", 'training.epochs: expected a number, found "3"'),
        ("training.lengths", [12, "2"], 'training.lengths[1]: expected a whole number, found "2"'),
        ("training.lengths", 12, "training.lengths: expected a list, found 12"),
        ("training.colour", 1, "training.colour is unknown: correct"),
        ("training.epoch", 1, "training.epoch is unknown, did you mean epochs?"),
        ("data.options.n_querys", 1, "data.options.n_querys is unknown, did you mean n_queries?"),
        ("trainin", 1, "trainin is unknown, did you mean training?"),
        ("training.seed", -1, "training: `seed` must be between 0 and "),
        ("training.loss", "odd", "training: unknown loss 'odd'; known: triplet, "),
        ("data.colour", 1, "data.colour is unknown"),
        ("data.seed", "0", 'data.seed: expected a whole number, found "0"'),
        ("data.options.n_queries", 0, "data.options: `n_queries` must be at least 1, not 0"),
        ("data.options.colour", 0, "data.options.colour is unknown"),
        ("shared.lengths", None, "shared.lengths: expected a list, found null"),
        ("triplets", 3, "triplets: expected a text, found 3"),
        ("device", None, "device: expected a text, found null"),
        ("colour", 3, "colour is unknown"),
    ],
)
def test_a_wrong_field_is_a_one_line_error_with_its_place(tmp_path, place, value, message):
    with pytest.raises(RunError) as caught:
        read(changed(place, value), tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'config.json'}: {message}")
    assert text.endswith(": correct the file, or train a new run")
    assert "\n" not in text
    assert "http" not in text


def test_all_faults_are_listed(tmp_path):
    fields = changed("device", 3) | {"threads": "2", "colour": None}
    with pytest.raises(RunError) as caught:
        read(fields, tmp_path)
    for fault in ("device: expected", "threads: expected", "colour is unknown"):
        assert fault in str(caught.value)


@looped("name", [name for name in SAVED if name != "format_version"])
def test_what_is_missing_is_named(tmp_path, name):
    fields = {key: value for key, value in SAVED.items() if key != name}
    with pytest.raises(RunError, match=f": {name} is missing: correct the file"):
        read(fields, tmp_path)


def test_an_old_file_needs_its_training(tmp_path):
    with pytest.raises(RunError, match=r": training is missing: "):
        read({"data": SAVED["data"]}, tmp_path)


@pytest.mark.parametrize("name", ["data", "run", "lengths"])
def test_what_is_missing_inside_is_named(tmp_path, name):
    place = "data" if name == "data" else "shared"
    fields = json.loads(json.dumps(SAVED))
    del fields[place][name]
    with pytest.raises(RunError, match=f"{place}.{name} is missing"):
        read(fields, tmp_path)


@looped(
    ("version", "message"),
    [
        (FORMAT_VERSION + 1, "expected format version 1 or older, found 2: use the hashkit"),
        ("1", 'format_version: expected a whole number from 1, found "1"'),
        (True, "format_version: expected a whole number from 1, found true"),
        (0, "format_version: expected a whole number from 1, found 0"),
    ],
)
def test_a_version_that_cannot_be_read_is_refused(tmp_path, version, message):
    with pytest.raises(RunError) as caught:
        read({"format_version": version, "anything": "new"}, tmp_path)
    assert message in str(caught.value)


@looped(
    ("text", "found"),
    [
        ("", "expected JSON, found an empty text"),
        ("{", "expected JSON, found damaged text in line 1, column 2"),
        ("[" * 100_000, "expected JSON, found values nested too deeply"),
        ("\xff", "expected JSON in UTF-8, found the byte 0xff"),
        ('{"format_version": 1, "format_version": 1}', "expected each name once"),
        ("[1]", "expected a JSON object, found [1]"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, found):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError) as caught:
        read_run_config(path)
    assert found in str(caught.value)
    assert str(caught.value).endswith(": correct the file, or train a new run")


@pytest.mark.parametrize("fields", [[], 3, None])
def test_a_file_of_something_else_is_refused(tmp_path, fields):
    with pytest.raises(RunError, match="expected a JSON object, found"):
        read(fields, tmp_path)


@pytest.mark.end_to_end
def test_settings_are_imported_without_pydantic():
    code = (
        "import sys, hashkit.runs.run, hashkit.runs.config\n"
        "print('pydantic_core' in sys.modules)\n"
        "from hashkit.runs.run_config import read_run_config\n"
        "from pathlib import Path; read_run_config(Path(sys.argv[1]))\n"
        "print('pydantic_core' in sys.modules)"
    )
    command = [sys.executable, "-c", code, GOLDEN / "run-config-v1.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\n"
