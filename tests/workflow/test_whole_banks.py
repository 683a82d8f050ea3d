"""The bank of a run on own images holds them all; an evaluation leaves the queries out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from cli_samples import break_image, succeed, write_class_folders
from linear_models import linear_model
from looped import looped

import hashkit
from hashkit.bank.deletion import delete_rows
from hashkit.bank.editor import BankEditor
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.protocols import make_split
from hashkit.datasets.spec import open_spec
from hashkit.evaluation.split_queries import without_queries
from hashkit.runs.data_spec import DataSpec, ProtocolOptions
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.banks import is_own_collection
from hashkit.workflow.evaluation import Subject


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run with a model on a folder of three classes; one image of it is broken."""
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "photos", per_class=10, suffix=".png")
    break_image(tmp_path / "photos" / names[4])
    made = Run.create(tmp_path / "runs", "a", RunConfig(data=DataSpec(str(tmp_path / "photos"))))
    linear_model(made.model_path, height=8, width=8)
    return made


@pytest.mark.end_to_end
def test_all_images_are_found_and_the_evaluation_is_that_of_the_split(run):
    outcome = succeed("search --query photos/one/0001.png --k 40 --json")
    assert "holds all images; hashkit evaluate leaves its 6 queries out" in outcome.stderr
    assert len(outcome.json["queries"][0]["hits"]) == 29
    measured = succeed("evaluate --json").json
    assert (measured["n_queries"], measured["n_database"]) == (5, 24)
    name = hashkit.Bank.open(run.queries_path).names[2]
    (own,) = succeed(f"search --query {name} --k 1 --json").json["queries"]
    assert (own["row"], own["hits"][0]["distance"]) == (own["row"], 0)
    (rest,) = succeed(f"search --query {name} --k 40 --exclude-self --json").json["queries"]
    assert own["row"] not in [hit["row"] for hit in rest["hits"]]
    kept = json.loads((run.path / "evaluation.json").read_text())
    # As it was when the bank held the database alone.
    succeed(f"encode photos --model {run.model_path} --out rest.h5 --protocol per-class "
            "--part database --labels folders")  # fmt: skip
    queries, rest = str(run.queries_path), "rest.h5"
    assert succeed(f"evaluate {queries} {rest} --json").json == measured
    # The files of the run, on the command line and in Python.
    assert succeed(f"evaluate {queries} {run.bank_path} --json").json == measured
    with hashkit.Bank.open(queries) as q, hashkit.Bank.open(run.bank_path) as whole:
        assert hashkit.evaluate(q, whole).n_database == 24
        assert len(whole) == 29
    run.bank_path.write_bytes(Path(rest).read_bytes())
    assert succeed("evaluate --json").json == measured
    again = json.loads((run.path / "evaluation.json").read_text())
    assert again == kept
    found = succeed("search --query photos/one/0001.png --k 40 --json")
    assert "lacks the queries of hashkit evaluate" in found.stderr
    assert len(found.json["queries"][0]["hits"]) == 24


@pytest.mark.end_to_end
def test_a_bank_without_its_queries_is_completed_as_it_is(run):
    succeed("encode")
    images, split = open_spec(run.read_config().data)
    lists = {name: images.subset(split.part(name)).names for name in ("all", "database")}
    for part in ("database", "all"):
        # As an earlier version made it, and as it is made now.
        protocol = f"--protocol per-class --part {part} --labels folders"
        line = f"encode photos --model {run.model_path} --out {run.bank_path} {protocol}"
        succeed(f"{line} --overwrite")
        succeed("encode")
        assert set(hashkit.Bank.open(run.bank_path).names) <= set(lists[part])
    succeed("encode --overwrite")
    assert len(hashkit.Bank.open(run.bank_path)) == 29


@pytest.mark.end_to_end
def test_baselines_and_deleted_rows_are_measured_on_the_same_rows(run):
    succeed("encode")
    subject = Subject.of_run(run, RuntimeSettings())
    (database,) = subject.databases
    gone = int(np.flatnonzero(~database.deleted)[3])
    delete_rows(run.bank_path, [gone])
    measured = succeed("evaluate --baselines --json").json
    assert measured["n_database"] == 23
    assert measured["baselines"]
    assert {one["n_database"] for one in measured["baselines"]} == {23}


def test_a_bank_that_was_synced_since_is_still_evaluated_without_the_queries(run):
    succeed("encode")
    measured = succeed("evaluate --json").json
    with hashkit.Bank.open(run.bank_path) as bank:
        (source,) = bank.sources

    with BankEditor.open(run.bank_path) as editor:
        editor.set_source(
            dataclasses.replace(source, protocol="", seed=None, n_images=None, names_sha256="")
        )
    assert succeed("evaluate --json").json == measured
    with hashkit.Bank.open(run.bank_path) as bank, hashkit.Bank.open(run.queries_path) as queries:
        assert without_queries(queries, bank) is bank  # of files, only what they say themselves


@looped(
    ("protocol", "options", "is_whole"),
    [
        ("", None, True),
        ("random", None, True),
        ("per-class", ProtocolOptions(training_per_class=2, training_in_database=False), False),
        ("unseen-classes", None, False),
    ],
)
def test_which_runs_have_a_bank_of_all_images(tmp_path, protocol, options, is_whole):
    names = [f"{label}/{row}.png" for label in range(4) for row in range(10)]
    images = ImageSet("own", names, root=tmp_path, labels=np.repeat(np.arange(4), 10),
                      class_names=tuple("0123"))  # fmt: skip
    split = make_split(images, protocol or "per-class", options=options)
    spec = DataSpec(str(tmp_path), protocol=protocol, options=options or ProtocolOptions())
    assert is_own_collection(spec, split, len(images)) == is_whole
    named = DataSpec("digits", protocol=protocol, options=options or ProtocolOptions())
    assert not is_own_collection(named, split, len(images))
