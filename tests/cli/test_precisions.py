"""``hashkit export --precision``: the file, what is reported about it, and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_samples import QUICK, fail, hashkit, succeed

from hashkit.exporters import precision
from hashkit.exporters.agreement import Tolerance
from hashkit.runs.run import Run

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of digits that was trained, and exported in fp32."""
    place = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        succeed(f"train {QUICK}")
        succeed("export --onnx")
    return place


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Run.newest(Path("runs"))


def test_precisions_lie_beside_the_model_and_encode(run, monkeypatch):
    before = run.model_path.read_bytes()
    half = succeed("export --onnx --precision fp16 --allow-loss --json")
    assert half.json["path"] == str(run.path / "model-fp16.onnx")
    assert half.json["precision"] == "fp16"
    assert half.json["agreement"]["n_queries"] == 200
    assert half.json["agreement"]["map"] is not None
    assert half.json["n_bytes"] == (run.path / "model-fp16.onnx").stat().st_size
    assert f"making fp16 of {run.model_path}" in half.stderr
    assert "flipped bits per million" in half.stderr

    small = succeed("export small.onnx --onnx --precision int8 --allow-loss --json").json
    assert small["path"] == "small.onnx"
    assert small["quantised"]
    assert run.model_path.read_bytes() == before
    assert not (run.path / "model-int8.onnx").exists()

    (bank,) = succeed("encode digits --model small.onnx --out b.h5 --json").json["banks"]
    assert bank["precision"] == "int8"


def test_too_much_loss_is_a_one_line_error_without_a_file(run, monkeypatch):
    strict = {"fp16": Tolerance(-1, -1, -1)}
    monkeypatch.setattr(precision, "TOLERANCES", strict)
    message = fail("export --onnx --precision fp16")
    assert "model-fp16.onnx was not written" in message
    assert "flipped bits per million (-1 allowed); mAP lower by" in message
    assert "--allow-loss" in message
    assert not list(run.path.glob("*fp16*"))

    allowed = succeed("export --onnx --precision fp16 --allow-loss")
    assert "warning: the loss exceeds the tolerance: " in allowed.stderr
    assert (run.path / "model-fp16.onnx").is_file()


@pytest.mark.slow
def test_the_fp32_model_is_made_first_if_it_is_missing(run):
    before = run.model_path.read_bytes()
    run.model_path.unlink()
    outcome = succeed("export --onnx --precision fp16 --allow-loss")
    assert "verified: " in outcome.stderr
    assert run.model_path.read_bytes() == before


def test_flags_that_contradict_each_other_are_refused(run):
    assert "--checkpoint cannot be combined with --precision int8" in fail(
        "export --onnx --precision int8 --checkpoint x"
    )
    assert "--allow-loss works only with the precisions fp16 and int8" in fail(
        "export --onnx --allow-loss"
    )
    assert "--precision cannot be combined with --web" in fail("export --web site --precision int8")
    assert hashkit("export --onnx --precision int4").exit_code == 2
