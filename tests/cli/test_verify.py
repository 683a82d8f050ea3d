"""``hashkit verify`` on a run, and what other commands do with a damaged bank."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
from cli_samples import OWN_NETWORK, QUICK, fail, hashkit, succeed, write_class_folders

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained and encoded run, in ``runs/first``."""
    folder = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_class_folders(Path("photos"), per_class=10)
        succeed(f"train --data photos --name first {QUICK} {OWN_NETWORK}")
        succeed(f"export --onnx --run runs/first {OWN_NETWORK}")
        succeed("encode --run runs/first")
        succeed("index runs/first/bank.h5")
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return Path("runs/first")


def damaged(path: Path, place: int):
    """A context in which one bit of a file is flipped."""
    before = path.read_bytes()
    data = bytearray(before)
    data[place] ^= 1
    path.write_bytes(data)
    return before


def faults_of(command: str) -> list[str]:
    outcome = hashkit(command)
    assert outcome.exit_code == 1
    assert "Traceback" not in outcome.stderr
    return [
        line
        for line in outcome.stdout.splitlines()
        if ": damaged (" not in line and ": ok (" not in line
    ]


def test_a_whole_run_passes(run):
    outcome = succeed(f"verify {run}")
    kinds = [line.partition(": ")[0] for line in outcome.stdout.splitlines()]
    assert kinds[0] == str(run)
    for name in ("best.safetensors", "model.onnx", "bank.h5", "bank.h5.mih", "queries.h5"):
        assert any(line.endswith(name) for line in kinds) or name == "best.safetensors"
    assert all(": ok (" in line for line in outcome.stdout.splitlines())
    document = succeed(f"verify {run} --json").json
    assert document["n_faults"] == 0
    assert {one["kind"] for one in document["checks"]} == {
        *("run", "checkpoint", "ONNX model", "code bank", "multi-index")
    }


def test_a_flipped_bit_of_any_file_is_found(run):
    checkpoint = max(run.glob("checkpoints/*.safetensors"))
    with h5py.File(run / "bank.h5") as file:
        codes_at = file["codes"].id.get_offset()
    start = int.from_bytes(checkpoint.read_bytes()[:8], "little") + 8
    header = json.loads(checkpoint.read_bytes()[8:start])
    weights_at, momentum_at = (
        start
        + next(one["data_offsets"][0] for name, one in header.items() if name.startswith(kind))
        for kind in ("model.", "optimiser.")
    )
    for path, place, expected in (
        (checkpoint, weights_at, "weights with the SHA-256"),
        (checkpoint, momentum_at, "tensors of losses and optimiser with the SHA-256"),
        (run / "bank.h5", codes_at, "codes, block 0"),
        (run / "bank.h5.mih", -100, "do not match their checksum"),
        (run / "config.json", 0, "config.json"),
        (run / "metrics.jsonl", 0, "metrics.jsonl, line 1"),
    ):
        before = damaged(path, place)
        try:
            lines = faults_of(f"verify {run}")
        finally:
            path.write_bytes(before)
        assert expected in lines[0]
        assert str(path) in lines[0]
        # The index notices rows that have changed, too.
        assert len(lines) == (2 if path.name == "bank.h5" else 1)


def test_a_model_that_is_not_that_of_the_banks_is_found(run):
    before = damaged(run / "model.onnx", -10)
    try:
        lines = faults_of(f"verify {run}")
    finally:
        (run / "model.onnx").write_bytes(before)
    assert lines
    assert any("model.onnx" in line for line in lines)


def test_a_damaged_bank_is_searched_but_not_copied(run):
    with h5py.File(run / "bank.h5") as file:
        codes_at = file["codes"].id.get_offset()
    before = damaged(run / "bank.h5", codes_at)
    try:
        line = fail(f"convert {run / 'bank.h5'} copy.parquet")
        document = hashkit(f"verify {run / 'bank.h5'} --json")
    finally:
        (run / "bank.h5").write_bytes(before)
    assert "damaged: codes, block 0" in line
    assert "hashkit verify" in line
    assert not Path("copy.parquet").exists()
    assert document.exit_code == 1
    (check,) = document.json["checks"]
    (fault,) = check["faults"]
    assert (fault["column"], fault["block"], fault["first_row"]) == ("codes", 0, 0)
