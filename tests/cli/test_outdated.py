"""A model that was exported before its run's training went on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli_samples import hashkit, succeed
from looped import looped
from onnx import helper
from packed_graph import packed_graph
from safetensors.numpy import save_file

from hashkit.errors import CheckpointError
from hashkit.manifest import PREFIX, Manifest
from hashkit.runs.checkpoint_header import FORMAT_VERSION, HEADER_KEY, read_checkpoint_manifest
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig

OLD, NEW = "1" * 64, "2" * 64


def manifest_of(weights: str) -> Manifest:
    return Manifest(n_bits=3, height=2, width=2, weights_sha256=weights)


def write_checkpoint(path: Path, weights: str) -> None:
    header = json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "step": 5,
            "config": {},
            "manifest": manifest_of(weights).to_dict(),
            "state": {},
        }
    )
    save_file({"model.weight": np.zeros(4, np.float32)}, path, metadata={HEADER_KEY: header})


def write_model(path: Path, weights: str) -> None:
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["logit"]),
    ]
    constants = {"flat": np.array([-1, 12], np.int64), "weight": np.ones((12, 3), np.float32)}
    model = packed_graph("sums", nodes, constants, (2, 2), 3)
    entries = manifest_of(weights).to_metadata() if weights else {PREFIX + "recipe": '"best"'}
    helper.set_model_props(model, entries)
    onnx.save(model, path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run without images: what works with them ends in an error, after its warnings."""
    monkeypatch.chdir(tmp_path)
    run = Run.create(Path("runs"), "a", RunConfig(data=DataSpec("nowhere")))
    write_json(run.summary_path, {})
    write_checkpoint(run.snapshot_path(5), NEW)
    return run


@pytest.mark.parametrize(
    "command",
    [
        "search --query 0",
        "evaluate",
        "encode",
        "encode . --out bank.h5",
        "bench",
        "export --onnx --precision int8",
    ],
)
def test_commands_say_that_the_model_is_outdated_once(run: Run, command: str) -> None:
    write_model(run.model_path, OLD)
    outcome = hashkit(command)
    assert outcome.exit_code != 0
    line = f"warning: {run.model_path} is older than the run's checkpoint"
    assert outcome.stderr.count(line) == 1
    assert outcome.stderr.count("hashkit export --onnx --run runs/a") == 1


@pytest.mark.parametrize("weights", [NEW, ""])
def test_a_model_of_these_weights_or_of_unknown_ones_is_not_called_outdated(
    run: Run, weights: str
) -> None:
    write_model(run.model_path, weights)
    assert "is older than" not in hashkit("encode").stderr
    (facts,) = succeed("info runs/a --json").json["paths"]
    assert facts["is_model_outdated"] is False
    assert facts["next"] == "hashkit encode --run runs/a"


def test_it_is_the_best_checkpoint_that_counts(run: Run) -> None:
    write_model(run.model_path, OLD)
    write_checkpoint(run.best_path, OLD)
    assert "is older than" not in hashkit("encode").stderr


def test_info_names_the_command_that_exports_again(run: Run) -> None:
    write_model(run.model_path, OLD)
    assert "with other weights than the checkpoint" in succeed("info runs/a").stdout
    (facts,) = succeed("info runs/a --json").json["paths"]
    assert facts["is_model_outdated"] is True
    assert facts["next"] == "hashkit export --onnx --run runs/a"


def test_info_of_a_run_without_a_model_or_a_checkpoint(run: Run) -> None:
    (facts,) = succeed("info runs/a --json").json["paths"]
    assert facts["is_model_outdated"] is False
    run.snapshot_path(5).unlink()
    write_model(run.model_path, OLD)
    (facts,) = succeed("info runs/a --json").json["paths"]
    assert facts["is_model_outdated"] is False


def test_the_manifest_of_a_checkpoint_is_read_without_its_tensors(run: Run) -> None:
    assert read_checkpoint_manifest(run.snapshot_path(5)) == manifest_of(NEW)


@looped(
    "content",
    [b"", b"\xff" * 64, (9).to_bytes(8, "little") + b"{" + b" " * 8, b"PK\x03\x04" + b"\0" * 99],
)
def test_a_file_that_is_not_a_checkpoint_is_a_one_line_error(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "step-0000001.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of hashkit.*damaged") as caught:
        read_checkpoint_manifest(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        read_checkpoint_manifest(tmp_path / "none")
