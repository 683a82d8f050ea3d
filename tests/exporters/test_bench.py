"""`hashkit bench` without its processes: comparison with the reference, floors and progress."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from bench_samples import (
    NO_GPU,
    NO_OPENVINO,
    SETTINGS,
    StandIn,
    answers_of,
    document_of,
    measured,
    models,
    sample,
)
from looped import looped

from hashkit.codes import binarize
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.evaluation.evaluator import expected_map
from hashkit.exporters.bench import comparison
from hashkit.exporters.bench.comparison import bench
from hashkit.exporters.bench.contenders import Wanted, contenders
from hashkit.exporters.bench.settings import BenchSettings, Floors
from hashkit.report.bench_table import markdown, notes_of
from hashkit.runtimes.answers import Answers
from hashkit.runtimes.measuring.measuring import MeasuringJob
from hashkit.runtimes.measuring.process import Outcome


@looped(
    "changes",
    [
        {"n_starts": 0},
        {"n_slow_images": 1},
        {"seconds": 0},
        {"timeout_seconds": math.nan},
        {"timeout_seconds": math.inf},
        {"batch_sizes": (0, 4)},
    ],
)
def test_invalid_settings_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"at least|above 0"):
        BenchSettings(**changes)


def test_batch_1_is_always_timed() -> None:
    assert BenchSettings((64, 8, 8)).batch_sizes == (1, 8, 64)
    assert BenchSettings(()).batch_sizes == (1,)


# Results


def test_answers_are_compared_with_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(monkeypatch, tmp_path, wanted=Wanted(device="cpu"))
    assert [row.is_reference for row in rows] == [True] + [False] * 5
    everything = np.concatenate([sample().queries, sample().database])
    before, after = (
        answers_of(tmp_path / name, everything) for name in ("model.onnx", "model-int8.onnx")
    )
    for row in rows:
        found = row.agreement
        assert found is not None
        if row.contender.is_slow:
            continue
        own = before if row.contender.precision == "fp32" else after
        flipped = (own.logits > 0) != (before.logits > 0)
        assert found.flipped_per_million == pytest.approx(1e6 * flipped.mean())
        assert found.codes_changed == pytest.approx(flipped.any(axis=1).mean())
        assert found.largest_difference == np.abs(own.logits - before.logits).max()
        labels = sample().query_labels, sample().database_labels
        for codes, value in ((own.codes, found.map), (before.codes, found.map_source)):
            sets = CodeSet(codes[:9], 12, labels[0]), CodeSet(codes[9:], 12, labels[1])
            assert value == pytest.approx(expected_map(*sets))
        assert row.n_bytes == row.contender.model.stat().st_size


def test_logits_near_zero_are_counted_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flatten(job: MeasuringJob, answers: Answers) -> Answers:
        logits = np.where(answers.logits > 0, 1, -1).astype(np.float32)
        logits[0, :4] = [0, 1e-4, -1e-4, 1.01e-4]
        if job.runtime == "openvino":
            logits[1, 0] = -9e-5
        return Answers(binarize(logits), logits)

    wanted = Wanted(("openvino",), ("fp32",))
    reference, other = measured(monkeypatch, tmp_path, wanted=wanted, change=flatten)
    assert reference.near_zero == pytest.approx(3 / (79 * 12))
    assert other.near_zero == pytest.approx(4 / (79 * 12))
    assert other.agreement is not None
    assert other.agreement.near_zero == reference.near_zero


def test_slow_runtimes_are_compared_on_a_few_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(monkeypatch, tmp_path, wanted=Wanted(("reference",)))
    reference, same, other = rows
    assert reference.is_reference
    assert not same.contender.model.samefile(other.contender.model)
    for row in (same, other):
        assert row.agreement is not None
        assert (row.agreement.n_queries, row.agreement.n_database) == (1, 4)
        assert row.agreement.map is None
    assert same.agreement is not None
    assert same.agreement.flipped_per_million == 0, "compared with different images"
    assert other.agreement is not None
    few = np.concatenate([sample().queries, sample().database])[[0, 20, 39, 58, 78]]
    logits = [answers_of(tmp_path / f"{name}.onnx", few).logits for name in ("model", "model-int8")]
    flipped = (logits[0] > 0) != (logits[1] > 0)
    assert other.agreement.flipped_per_million == pytest.approx(1e6 * flipped.mean())


def test_a_failed_row_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Outcome("failed", None, "its process was ended by SIGSEGV")
    rows = measured(monkeypatch, tmp_path, outcomes={("openvino", "cpu"): crash})
    status = {(row.contender.title, row.contender.precision): row.status for row in rows}
    assert status["openvino on CPU", "fp32"] == "failed"
    assert status["openvino on CPU", "int8"] == "failed", "other models are tried as well"
    assert status["reference on CPU", "int8"] == "ok"
    problems = document_of(tmp_path, rows)["problems"]
    assert problems == [
        f"openvino on CPU, {name}: its process was ended by SIGSEGV" for name in ("fp32", "int8")
    ]


def test_an_absent_runtime_is_one_row_and_not_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(monkeypatch, tmp_path, outcomes={("openvino", "cpu"): NO_OPENVINO})
    absent = [row for row in rows if row.status == "absent"]
    assert [row.contender.title for row in absent] == [
        "onnxruntime on CUDA",
        "onnxruntime-tensorrt on CUDA",
        "openvino on CPU",
    ]
    document = document_of(tmp_path, rows)
    assert document["ok"] is True
    assert f"openvino on CPU: absent: {NO_OPENVINO.reason}" in notes_of(document)


@looped(
    ("wanted", "problems"),
    [
        (Wanted(("openvino",)), [f"openvino on CPU was asked for: {NO_OPENVINO.reason}"]),
        (Wanted(("onnxruntime",)), []),  # available on the CPU
        (
            Wanted(("onnxruntime",), device="cuda"),
            ["onnxruntime on CUDA was asked for: there is no NVIDIA driver"],
        ),
        (
            Wanted(("onnxruntime-tensorrt",)),
            ["onnxruntime-tensorrt on CUDA was asked for: there is no NVIDIA driver"],
        ),
    ],
)
def test_an_absent_runtime_that_was_requested_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, problems: list[str]
) -> None:
    outcomes = {("openvino", "cpu"): NO_OPENVINO}
    rows = measured(monkeypatch, tmp_path, wanted=wanted, outcomes=outcomes)
    document = document_of(tmp_path, rows, wanted=wanted)
    assert document["problems"] == problems
    assert document["ok"] is not bool(problems)


def test_the_first_row_that_runs_replaces_an_absent_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {("onnxruntime", "cpu"): Outcome("absent", None, "onnxruntime is not installed")}
    rows = measured(monkeypatch, tmp_path, outcomes=gone)
    (reference,) = (row for row in rows if row.is_reference)
    assert reference.contender.runtime == "openvino"
    assert reference.contender.precision == "fp32"
    nothing = gone | {("openvino", "cpu"): NO_OPENVINO}
    rows = measured(monkeypatch, tmp_path, outcomes=nothing)
    assert not any(row.is_reference for row in rows), "a slow runtime cannot be the reference"
    assert all(row.agreement is None for row in rows)
    document = document_of(tmp_path, rows)
    assert document["problems"] == ["no row ran that could be the reference"]
    assert "compared with: nothing, because no row ran" in markdown(document)


@pytest.mark.parametrize("kind", ["infinite", "packing"])
def test_infinite_logits_and_wrong_packing_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def spoil(job, answers: Answers) -> Answers:
        if job.runtime != "openvino":
            return answers
        codes, logits = answers.codes.copy(), answers.logits.copy()
        if kind == "infinite":
            logits[3, 0] = np.inf if logits[3, 0] > 0 else -np.inf
        else:
            codes[5, 0] ^= 128
        return Answers(codes, logits)

    rows = measured(monkeypatch, tmp_path, wanted=Wanted(("openvino",), ("fp32",)), change=spoil)
    assert [row.status for row in rows] == ["ok", "failed"]
    expected = ("1 logits", "0 code bytes") if kind == "infinite" else ("0 logits", "1 code bytes")
    assert all(part in rows[1].detail for part in expected)


def test_floors_apply_to_rows_beyond_them_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(("openvino",))
    without_floors = measured(monkeypatch, tmp_path, wanted=wanted)
    first, other = without_floors[0].agreement, without_floors[-1].agreement
    assert other is not None
    assert other.map is not None
    assert first is not None
    assert other.flipped_per_million > 0
    met = Floors(other.flipped_per_million, min(other.map, first.map or 0))
    rows = measured(monkeypatch, tmp_path, wanted=wanted, floors=met)
    assert {row.status for row in rows} == {"ok"}

    tight = Floors(max_flips=other.flipped_per_million - 1)
    rows = measured(monkeypatch, tmp_path, wanted=wanted, floors=tight)
    assert [row.status for row in rows] == ["ok", "ok", "beyond"]
    (problem,) = document_of(tmp_path, rows, wanted=wanted, floors=tight)["problems"]
    assert problem.startswith("openvino on CPU, int8: ")
    assert "flipped bits per million (" in problem

    high = Floors(min_map=1.0)
    rows = measured(monkeypatch, tmp_path, wanted=Wanted(("reference",)), floors=high)
    assert [row.status for row in rows] == ["beyond", "ok", "ok"], "few images have no mAP"
    assert "(at least 1 required)" in rows[0].detail


def test_nan_misses_every_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, tmp_path, wanted=Wanted(("openvino",)))[0].agreement
    assert found is not None
    broken = dataclasses.replace(found, flipped_per_million=float("nan"), map=float("nan"))
    assert len(Floors(1e6, 0.0).misses(broken)) == 2
    assert Floors().misses(broken) == []


@pytest.mark.parametrize("floors", [{"max_flips": -1}, {"max_flips": math.nan}, {"min_map": 1.01}])
def test_floors_out_of_range_are_refused(floors: dict) -> None:
    with pytest.raises(ConfigError, match=r"must be from 0 to (1,000,000|1), not"):
        Floors(**floors)


def test_progress_reaches_the_total_with_absent_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = StandIn(NO_GPU)
    monkeypatch.setattr(comparison, "measure_apart", fake)
    rows = contenders(models(tmp_path), Wanted())
    steps: list[tuple[int, int]] = []
    titles: list[str] = []
    bench(
        rows,
        sample(),
        SETTINGS,
        Floors(),
        say=titles.append,
        progress=lambda *step: steps.append(step),
    )
    total = sum(SETTINGS.n_steps(one) for one in rows)
    n_slow = sum(one.is_slow for one in rows)
    assert steps[-1] == (total, total) == (len(rows) * 5 - n_slow, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert titles[:3] == [
        "onnxruntime on CPU, fp32",
        "onnxruntime on CPU, int8",
        "onnxruntime on CUDA, fp32",
    ]
    assert len(fake.calls) == len(rows) - 2, "an absent runtime is started once"
    assert not Path(fake.calls[0].job.images).exists(), "the pixels were not deleted"
