"""`hashkit evaluate` of a run: the evaluation it keeps, others beside it, and its files."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, succeed
from report_samples import Page, evaluated
from small_models import linear_model

from hashkit.report.evaluations import (
    load_evaluation,
)
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a run on digits whose banks are encoded, and one of fewer bits; read only."""
    folder = tmp_path_factory.mktemp("digits")
    for name, n_bits in (("c8", 8), ("c16", 16)):
        run = Run.create(folder / "runs", name, RunConfig(data=DataSpec()))
        linear_model(run.model_path, n_bits=n_bits, height=8, width=8)
        succeed(f"encode --run {run.path}")
        succeed(f"evaluate --run {run.path}")
    return folder


@pytest.fixture
def place(digits, monkeypatch):
    monkeypatch.chdir(digits)
    return digits


def test_a_run_keeps_its_evaluation(place):
    shown = succeed("evaluate --run runs/c16 --json").json
    kept = json.loads(Path("runs/c16/evaluation.json").read_text())
    assert (kept["name"], kept["bits"]) == ("c16", 16)
    assert shown.items() <= kept.items()
    assert "name" not in shown
    assert kept["about"]["queries"].startswith("digits, ")
    assert load_evaluation(Path("runs/c16")).fields == shown


def test_evaluations_are_rows_of_tables_for_other_programs(place, tmp_path):
    succeed(
        f"evaluate --run runs/c16 --beside runs/c8 --k 5,50 --csv {tmp_path}/t.csv "
        f"--latex {tmp_path}/new/t.tex"
    )
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["name", "c16", "c8"]
    table = (tmp_path / "new" / "t.tex").read_text()
    assert "& P@5 & P@50 & R@5 & R@50 &" in table
    assert [line[:8] for line in table.splitlines() if line.startswith("c")] == [
        "c16 & 16",
        "c8 & 8 &",
    ]


def test_arrays_of_numpy_are_evaluated_with_their_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = evaluated()[2]
    queries, database = (one for one in evaluated()[:2])
    for name, one in (("q", queries), ("d", database)):
        bits = np.unpackbits(one.codes, axis=1)
        np.save(f"{name}.npy", one.codes)
        np.save(f"{name}_signs.npy", 2.0 * bits - 1)
        hot = np.asarray(one.labels)
        hot = hot if hot.ndim == 2 else np.eye(hot.max() + 1, dtype=bool)[hot]
        np.save(f"{name}_labels.npy", hot)
    labels = "--query-labels q_labels.npy --database-labels d_labels.npy --json"
    for line in ("q.npy d.npy", "q_signs.npy d_signs.npy", "q.npy d_signs.npy --bits 16"):
        document = succeed(f"evaluate {line} {labels}").json
        assert (document["bits"], document["map"]) == (16, pytest.approx(report.map))
    said = fail(f"evaluate q.npy d.npy --bits 9 {labels}")
    assert "codes of 9 bits must have zeros" in said


@pytest.mark.parametrize("width", [80, 60])
def test_tables_fit_a_terminal(place, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    others = " ".join(["--beside runs/c8"] * 5)
    shown = re.sub(r"\x1b\[[\d;]*m", "", succeed(f"evaluate --run runs/c16 {others}").stdout)
    assert max(map(len, shown.splitlines())) <= width
    intervals = re.findall(r"0\.\d{4} to 0\.\d{4}", shown)
    assert len(intervals) == 6  # none is folded


@pytest.mark.end_to_end
def test_two_runs_side_by_side_make_one_page(place, tmp_path):
    page_path = tmp_path / "page.html"
    outcome = succeed(f"evaluate --run runs/c16 --beside runs/c8 --report {page_path}")
    assert f"page: {page_path}" in outcome.stderr
    assert "not comparable" not in outcome.stderr
    page = Page(page_path.read_text(encoding="utf-8"))
    rows = {row[0]: row[1:] for row in page.table("measure")}
    assert rows["measure"] == ["c16", "c8"]
    kept = [json.loads(Path(f"runs/{name}/evaluation.json").read_text()) for name in ("c16", "c8")]
    assert rows["mAP, ties in row order"] == [f"{one['map_index']:.4f}" for one in kept]
    assert "mAP over bits" in page.text
    assert len(page.all("img")) == 9 * 11
    # The same numbers on the terminal, with their conventions.
    line = next(line for line in outcome.stdout.splitlines() if "mAP@1,000" in line)
    assert "(all-relevant)" in line
    assert [f"{one['map_at']['1000']:.4f}" for one in kept] == re.findall(r"0\.\d{4}", line)


def test_a_run_is_rescored_with_its_own_model(place):
    shown = succeed("evaluate --run runs/c8 --rerank --oversample 3 --at 50 --k 10 --json").json
    kept = json.loads(Path("runs/c8/evaluation.json").read_text())
    assert kept["rescored"] == shown["rescored"]
    assert load_evaluation(Path("runs/c8")).fields["rescored"]["oversample"] == 3
    succeed("evaluate --run runs/c8")
    assert "rescored" not in json.loads(Path("runs/c8/evaluation.json").read_text())
    assert "--exclude-self expects one bank" in fail("evaluate --run runs/c8 --exclude-self")


def test_the_interval_is_printed(place):
    outcome = succeed("evaluate --run runs/c16")
    low, high = json.loads(Path("runs/c16/evaluation.json").read_text())["map_interval"]
    assert f"{low:.4f} to {high:.4f}" in outcome.stdout
    assert "NDCG" not in outcome.stdout  # images have one label each


def test_json_has_the_evaluations_given_with_beside(place):
    shown = succeed("evaluate --run runs/c16 --beside runs/c8 --json").json
    assert [one["name"] for one in shown["beside"]] == ["c8"]
    assert shown["beside"][0]["map"] == succeed("evaluate --run runs/c8 --json").json["map"]
    assert "baselines" not in shown


def test_baselines_are_columns_of_table_and_page(place, tmp_path, monkeypatch):
    from hashkit.workflow import baselines

    some = functools.partial(baselines.baseline_reports, methods=("random", "lsh"))
    monkeypatch.setattr(baselines, "baseline_reports", some)
    command = f"evaluate --run runs/c16 --baselines --k 3,7 --report {tmp_path}/page.html --json"
    shown = succeed(command).json
    names = [one["name"] for one in shown["baselines"]]
    assert any("random" in name for name in names)
    assert all(list(one["precision_at"]) == ["3", "7"] for one in shown["baselines"])
    head = Page((tmp_path / "page.html").read_text(encoding="utf-8")).table("measure")[0]
    assert sorted(head[2:]) == sorted(f"{name}baseline" for name in names)


def test_files_make_a_page_without_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, one in zip(("q", "db"), evaluated()[:2], strict=True):
        np.savez(f"{name}.npz", codes=one.codes, labels=one.labels, bits=one.n_bits)
    succeed("evaluate q.npz db.npz --report page.html")
    page = Page(Path("page.html").read_text(encoding="utf-8"))
    assert "q.npz in db.npz" in page.text
    assert "The images were not found" in page.text
    assert sorted(path.name for path in Path().iterdir()) == ["db.npz", "page.html", "q.npz"]
    assert "leave QUERY and DATABASE out" in fail("evaluate q.npz db.npz --baselines")


def test_beside_takes_only_evaluations(place, tmp_path):
    assert "has no evaluation yet: hashkit evaluate --run" in fail(f"evaluate --beside {tmp_path}")
    assert "there is no such evaluation" in fail("evaluate --beside nothing.json")
    assert "cannot be written" in hashkit_error(f"evaluate --run runs/c8 --report {tmp_path}")


def hashkit_error(command: str) -> str:
    """The error line of a command that may have printed its results already."""
    from cli_samples import hashkit as call

    outcome = call(command)
    assert outcome.exit_code == 1
    return outcome.stderr.splitlines()[-1]


def test_evaluations_that_are_not_comparable_give_a_warning(place):
    other = json.loads(Path("runs/c8/evaluation.json").read_text())
    Path("other.json").write_text(json.dumps({**other, "n_queries": 5, "name": "other"}))
    outcome = succeed("evaluate --run runs/c16 --beside other.json")
    assert "warning: not comparable: other has 5 queries, c16 has 200" in outcome.stderr


def test_a_run_that_may_not_be_written_is_still_evaluated(place, monkeypatch):
    from hashkit.report import evaluations

    def refuse(evaluation, path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(evaluations, "save_evaluation", refuse)
    outcome = succeed("evaluate --run runs/c16 --json")
    assert (
        "warning: runs/c16/evaluation.json: cannot be written (Permission denied)" in outcome.stderr
    )
    assert outcome.json["bits"] == 16
