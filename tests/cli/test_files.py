"""The commands about files of codes: convert, delete and info."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bank_samples import job_header, rows_of, run_job
from cli_samples import fail, hashkit, succeed
from looped import looped
from small_models import linear_model

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.formats import FORMATS, open_codes
from hashkit.manifest import Manifest
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig

N_ROWS = 34


@pytest.fixture(scope="module")
def bank_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "bank.h5"
    run_job(path)
    return path.read_bytes()


@pytest.fixture
def bank(tmp_path, monkeypatch, bank_bytes):
    monkeypatch.chdir(tmp_path)
    Path("bank.h5").write_bytes(bank_bytes)
    return Path("bank.h5")


# convert


@pytest.mark.parametrize("suffix", FORMATS)
def test_convert_writes_every_format(bank, suffix):
    ended = succeed(f"convert {bank} out{suffix} --json")
    document = ended.json
    assert document["format"] == FORMATS[suffix].name
    assert (document["n_rows"], document["n_deleted"], document["bits"]) == (N_ROWS, 0, 20)
    assert document["n_bytes"] == Path(f"out{suffix}").stat().st_size
    found = open_codes(f"out{suffix}", n_bits=20)
    np.testing.assert_array_equal(found.codes, Bank.open(bank).codes)
    assert document["left_out"] == ([] if FORMATS[suffix].keeps_names else ["names", "labels"])
    assert ("cannot hold everything: names and labels are left out" in ended.stderr) == bool(
        document["left_out"]
    )
    assert ("read it with --bits 20" in ended.stderr) == (not FORMATS[suffix].keeps_bits)


def test_an_interrupted_conversion_says_that_nothing_changed(bank, monkeypatch):
    before = Path(bank).read_bytes()

    def interrupt(database):
        raise KeyboardInterrupt

    monkeypatch.setattr("hashkit.formats.arrow_columns.kept_codes", interrupt)
    ended = hashkit(f"convert {bank} out.parquet")
    assert ended.exit_code == 130
    assert ended.stderr.splitlines()[-1] == "interrupted; out.parquet is unchanged"
    assert not Path("out.parquet").exists()
    assert Path(bank).read_bytes() == before


def test_convert_drops_deleted_rows(bank):
    delete_rows(bank, [0, 33])
    ended = succeed(f"convert {bank} compact.h5")
    assert "compact.h5: 32 rows of 20 bits, without 2 deleted rows" in ended.stderr
    assert list(Bank.open("compact.h5").names) == list(Bank.open(bank).names)[1:33]
    succeed(f"convert {bank} {bank} --overwrite")
    assert Bank.open(bank).codes.tolist() == Bank.open("compact.h5").codes.tolist()


def test_convert_takes_bits_and_labels_that_the_file_lacks(bank):
    succeed(f"convert {bank} codes.faiss")
    Path("labels.txt").write_text("\n".join(["ant", "bee"] * 17))
    succeed("convert codes.faiss back.h5 --bits 20 --labels labels.txt")
    with Bank.open("back.h5") as back:
        assert (back.n_bits, back.class_names) == (20, ("ant", "bee"))
    assert "24 bits" in succeed("convert codes.faiss other.npz").stderr
    assert "expected codes of 30 bits" in fail("convert codes.faiss more.h5 --bits 30")
    assert "found 20" in fail(f"convert {bank} more.h5 --bits 21")


def test_convert_overwrites_only_when_told(bank):
    before = bank.read_bytes()
    for target in (bank, "here.npz"):
        Path("here.npz").write_bytes(b"precious")
        assert "exists already; replace it with --overwrite" in fail(f"convert {bank} {target}")
    assert (bank.read_bytes(), Path("here.npz").read_bytes()) == (before, b"precious")
    succeed(f"convert {bank} here.npz --overwrite")
    assert len(open_codes("here.npz")) == N_ROWS


def test_convert_lists_the_suffixes_it_knows(bank):
    known = r"known: .h5, .hdf5, .npz, .npy, .parquet, .faiss, .index, .txt"
    assert known in fail(f"convert {bank} codes.csv")
    assert "none.npz" in fail("convert none.npz codes.h5")
    assert hashkit(f"convert {bank}").exit_code == 2


@pytest.mark.end_to_end
def test_a_missing_extra_is_a_one_line_error(bank):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        f"sys.argv = ['hashkit', 'convert', '{bank}', 'a.parquet']\n"
        "from hashkit.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    needs = "error: a Parquet file needs pyarrow, which is not installed: "
    line = ended.stderr.splitlines()[-1]
    assert line == f"{needs}pip install '.[parquet]' (in a clone of hashkit)"


# delete


def deleted(path: Path) -> list[int]:
    found = Bank.open(path).deleted
    return [] if found is None else np.flatnonzero(found).tolist()


def test_delete_and_restore_by_row(bank):
    ended = succeed(f"delete {bank} --rows 3,7-9")
    assert ended.stderr == f"{bank}: deleted 4 rows; 4 of 34 rows deleted now\n"
    assert deleted(bank) == [3, 7, 8, 9]
    ended = succeed(f"delete {bank} --rows 9-10")
    assert "deleted 1 row (1 was already deleted); 5 of 34 rows" in ended.stderr
    ended = succeed(f"delete {bank} --rows 7,8,33 --restore --json")
    assert "restored 2 rows (1 was not deleted); 3 of 34" in ended.stderr
    assert ended.json == {
        "bank": str(bank),
        "rows": [7, 8, 33],
        "n_changed": 2,
        "n_rows": N_ROWS,
        "n_deleted": 3,
    }
    assert deleted(bank) == [3, 9, 10]


def test_delete_by_name_takes_all_rows_of_a_name(bank):
    names = rows_of(range(40))[1]
    succeed(f"delete {bank} --name {names[5]} --name {names[30]} --rows 2")
    assert deleted(bank) == [2, 5, 30]
    header = job_header("first")
    with BankWriter.create("twice.h5", header, n_rows=4, n_name_bytes=9, overwrite=True) as writer:
        writer.write(rows_of(range(3))[0], ["a", "b", "a"], np.zeros(3, int), n_consumed=3)
    succeed("delete twice.h5 --name a")
    assert deleted(Path("twice.h5")) == [0, 2]


@looped(
    ("options", "message"),
    [
        ("--name /0.png --name none.png", "has no row named 'none.png'; nothing was changed"),
        ("--name x --name y --name z", "has no row named 'x' and 2 other names; nothing"),
        ("--rows 3,34", "rows from 0 to 33, found 34"),
        ("--rows 9-7", "rows from 0 to 33, found 9-7"),
        ("--rows 3,-5", "as 3,7-9, not '-5'"),
        ("--rows 3-", "as 3,7-9, not '3-'"),
        ("--rows a", "not 'a'"),
        ("", "name the rows: --name NAME, or --rows 3,7-9"),
    ],
)
def test_a_wrong_row_or_name_deletes_nothing(bank, options, message):
    before = bank.read_bytes()
    assert message in fail(f"delete {bank} {options}")
    assert bank.read_bytes() == before


# info


def info(path: Path | str) -> dict:
    (facts,) = succeed(f"info {path} --json").json["paths"]
    assert facts["path"] == str(path)
    if Path(path).is_file():
        assert facts["n_bytes"] == Path(path).stat().st_size
    return facts


def test_info_of_a_bank(bank):
    delete_rows(bank, [1, 2])
    Path("bank.h5.mih").write_bytes(b"index")
    facts = info(bank)
    counts = rows_of(range(40))[2]
    kept = np.delete(counts, [1, 2])
    expected = {
        name: int(np.sum(kept == number)) for number, name in enumerate(["ant", "bee", "cat"])
    }
    assert facts["classes"] == expected
    assert facts["n_unlabelled"] == np.sum(kept < 0)
    assert (facts["kind"], facts["bits"], facts["n_rows"]) == ("code bank", 20, N_ROWS)
    assert (facts["n_deleted"], facts["is_complete"], facts["format_version"]) == (2, True, 3)
    assert facts["model_sha256"] == "ab" * 32
    assert facts["manifest"]["network"] == "dnnh"
    assert [source["dataset"] for source in facts["sources"]] == ["first", "second"]
    index = facts["index"]
    assert (index["path"], index["n_bytes"], index["n_rows"]) == ("bank.h5.mih", 5, None)
    assert "not an index; build the index again: `hashkit index bank.h5`" in index["problem"]
    shown = succeed(f"info {bank}").stdout
    for text in (
        "34, 2 of them deleted",
        "onnxruntime 1.24.0",
        "out of date: bank.h5.mih",
        "ab" * 32,
    ):
        assert text in shown
    assert f"ant {expected['ant']}" in shown


def test_info_of_an_incomplete_bank(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with BankWriter.create("a.h5", job_header("first"), n_rows=24, n_name_bytes=99) as writer:
        writer.write(*rows_of(range(8)), n_consumed=8)
    assert (info("a.h5")["is_complete"], info("a.h5")["n_images_left"]) == (False, 16)
    assert "no, 16 images still to encode" in succeed("info a.h5").stdout


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix not in (".h5", ".hdf5")])
def test_info_of_codes_in_other_formats(bank, suffix):
    succeed(f"convert {bank} codes{suffix}")
    facts, kind = info(f"codes{suffix}"), FORMATS[suffix]
    assert (facts["kind"], facts["n_rows"]) == (kind.name, N_ROWS)
    assert facts["bits"] == (20 if kind.keeps_bits else 24)
    assert facts["has_names"] == kind.keeps_names
    assert set(facts["classes"]) == ({"ant", "bee", "cat"} if kind.keeps_labels else set())
    assert facts.get("model_sha256") == ("ab" * 32 if suffix == ".parquet" else None)
    assert f"codes{suffix}: {kind.name}" in succeed(f"info codes{suffix}").stdout


def test_info_of_codes_of_unknown_origin(bank):
    succeed(f"convert {bank} codes.npz")
    succeed("convert codes.npz foreign.h5")
    facts = info("foreign.h5")
    assert (facts["manifest"], facts["model_sha256"], facts["runtime"]) == (None, None, None)
    assert "not known" in succeed("info foreign.h5").stdout


@pytest.mark.end_to_end
def test_info_of_a_model_needs_no_runtime(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = Manifest(12, 8, 6, network="dnnh", class_names=("ant", "bee"), seed=3)
    linear_model(Path("model.onnx"), height=8, width=6, metadata=manifest.to_metadata())
    facts = info("model.onnx")
    assert (facts["kind"], facts["bits"], facts["precision"]) == ("ONNX model", 12, "fp32")
    assert facts["manifest"] == manifest.to_dict()
    assert facts["outputs"][0] == {"name": "code", "type": "tensor(uint8)", "shape": ["N", 2]}
    code = (
        "import sys; sys.modules.update(onnxruntime=None, onnx=None, torch=None)\n"
        "sys.argv = ['hashkit', 'info', 'model.onnx']\n"
        "from hashkit.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for text in ("8 x 6 pixels, crop-bilinear", "ant, bee", "dnnh, seed 3", facts["sha256"]):
        assert text in ended.stdout


def test_info_of_a_run_says_what_to_type_next(bank):
    training = TrainConfig(network="dnnh", loss="triplet", lengths=(20,), seed=3)
    config = RunConfig(
        data=DataSpec("digits", protocol="per-class"), training=training, device="cpu"
    )
    run = Run.create(Path("runs"), "first", config)
    run.append_metrics({"step": 50, "loss": 2.5})
    for step, score in ((40, 0.25), (50, 0.75), (60, 0.5)):
        run.append_metrics({"step": step, "held_out": score})
    run.snapshot_path(50).write_bytes(b"")

    def next_command() -> str:
        shown = succeed("info runs/first").stdout
        found = info("runs/first")["next"]
        assert found in shown
        assert isinstance(found, str)
        return found

    assert next_command() == "hashkit train --resume --run runs/first"
    own = dataclasses.replace(training, loss="module:my loss.py:near")
    Run.create(Path("runs"), "own", dataclasses.replace(config, training=own))
    command = "hashkit train --resume --run runs/own --loss 'module:my loss.py:near'"
    assert info("runs/own")["next"] == command
    write_json(run.summary_path, {"seconds": 12.5})
    assert next_command() == "hashkit export --onnx --run runs/first"
    run.model_path.write_bytes(b"model")
    assert next_command() == "hashkit encode --run runs/first"
    run.bank_path.write_bytes(bank.read_bytes())
    assert next_command() == "hashkit encode --run runs/first"
    run.queries_path.write_bytes(bank.read_bytes())
    assert next_command() == "hashkit evaluate --run runs/first"
    facts = info("runs/first")
    assert facts["training"].items() <= training.to_dict().items()
    assert (facts["training"]["network"], facts["training"]["lengths"]) == ("dnnh", [20])
    assert (facts["data"], facts["device"]) == (config.data.to_dict(), "cpu")
    assert facts["created"] == run.read_config().created
    assert facts["last"] == {"step": 50, "loss": 2.5}
    assert facts["best_held_out"] == {"step": 50, "held_out": 0.75}
    assert facts["snapshots"] == [50]
    assert facts["model_bytes"] == 5
    assert facts["database"]["n_rows"] == N_ROWS
    run.bank_path.write_bytes(b"damaged")
    assert "not HDF5" in succeed("info runs/first").stdout


def test_info_of_an_evaluated_run(bank):
    run = Run.create(Path("runs"), "a b", RunConfig(data=DataSpec()))
    write_json(run.summary_path, {})
    run.model_path.write_bytes(b"model")
    for path in (run.bank_path, run.queries_path):
        path.write_bytes(bank.read_bytes())
    unlabelled = np.flatnonzero(Bank.open(bank).labels < 0)
    delete_rows(bank, unlabelled)
    succeed(f"convert {bank} q.npz")
    report = succeed("evaluate q.npz q.npz --json").json
    (run.path / "evaluation.json").write_text(json.dumps(report))
    (facts,) = succeed("info 'runs/a b' --json").json["paths"]
    assert facts["evaluation"]["map"] == report["map"]
    assert facts["next"] == "hashkit search --query IMAGE --run 'runs/a b'"


@looped(
    ("path", "message"),
    [
        ("none", "there is no such file or folder"),
        (
            "folder",
            "without config.json or bankset.json: if it has images, `hashkit sync folder",
        ),
        ("page.html", "expected a run folder, a bank set, an ONNX model (.onnx) or codes (.h5 "),
        ("bad.h5", "not HDF5"),
        ("bad.onnx", "expected an ONNX model, found other data"),
    ],
)
def test_info_of_anything_else_is_a_one_line_error(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("page.html", "bad.h5", "bad.onnx"):
        Path(name).write_text("<html>")
    line = fail(f"info {path}")
    assert message in line
    assert path in line


def test_info_of_several_is_a_list(bank):
    paths = succeed(f"info {bank} {bank} --json").json["paths"]
    assert [facts["path"] for facts in paths] == [str(bank), str(bank)]
