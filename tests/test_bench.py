"""`hashkit bench` without its processes: what is measured, compared, held to floors and shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from bench_samples import answers_of, candidates, model_of, sample, stand_in
from report_samples import Page
from small_models import linear_model

from hashkit.cli.bench_output import bench_document, print_bench
from hashkit.cli.bench_subject import BenchSubject, TrialSet
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.evaluation import expected_map
from hashkit.exporters import bench as benching
from hashkit.exporters import torch_model
from hashkit.exporters.agreement import Sample
from hashkit.exporters.bench import BenchRow, BenchSettings, Floors, bench
from hashkit.exporters.contenders import Contender, Wanted, contenders, read_candidates
from hashkit.manifest import Manifest
from hashkit.report.bench_page import render_bench_page, save_bench_page
from hashkit.report.bench_table import columns_of, markdown, notes_of, table_of
from hashkit.runtimes.answers import Answers
from hashkit.runtimes.measuring_process import Outcome

SETTINGS = BenchSettings((1, 4), n_starts=2, n_slow_images=5)
NO_DRIVER = Outcome("absent", None, "there is no NVIDIA driver")
NO_OPENVINO = Outcome(
    "absent", None, "openvino is not installed: pip install 'hashkit-retrieval[openvino]'"
)


def names(rows: list[Contender]) -> list[tuple[str, str, str]]:
    return [(one.runtime, one.device, one.precision) for one in rows]


def measured(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    wanted: Wanted | None = None,
    floors: Floors | None = None,
    images: Sample | None = None,
    **changes: object,
) -> list[BenchRow]:
    """Rows of both models on a machine without a GPU, by a stand-in for the processes."""
    outcomes = {(name, "cuda"): NO_DRIVER for name in ("onnxruntime", "onnxruntime-tensorrt")}
    outcomes |= changes.pop("outcomes", {})  # type: ignore[arg-type]
    monkeypatch.setattr(benching, "measure_apart", stand_in(outcomes, **changes))  # type: ignore[arg-type]
    rows = contenders(candidates(folder), wanted or Wanted())
    return bench(rows, images or sample(), SETTINGS, floors or Floors())


def document_of(
    folder: Path, rows: list[BenchRow], images: Sample | None = None, **changes: object
) -> dict:
    """The document of rows; ``changes`` are of floors, wanted and where the images are from."""
    subject = BenchSubject("a <b>", candidates(folder))
    trial = TrialSet(images or sample(), "noise | and more", bool(changes.get("is_random")))
    floors = changes.get("floors", Floors())
    wanted = changes.get("wanted", Wanted())
    return bench_document(subject, trial, SETTINGS, floors, wanted, rows)  # type: ignore[arg-type]


# What is measured


def test_every_model_runs_in_every_runtime_on_every_device(tmp_path: Path) -> None:
    both = ["fp32", "int8"]
    assert names(contenders(candidates(tmp_path), Wanted())) == [
        *(("onnxruntime", "cpu", precision) for precision in both),
        *(("onnxruntime", "cuda", precision) for precision in both),
        *(("onnxruntime-tensorrt", "cuda", precision) for precision in both),
        *(("openvino", "cpu", precision) for precision in both),
        *(("reference", "cpu", precision) for precision in both),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(("onnxruntime",), device="cpu"), [("onnxruntime", "cpu", "int8")]),
        (
            Wanted(("openvino",), ("int8",)),
            [("openvino", "cpu", "int8")],
        ),
        (
            Wanted(precisions=("fp32",), device="cuda"),
            [("onnxruntime", "cuda", "fp32"), ("onnxruntime-tensorrt", "cuda", "fp32")],
        ),
    ],
)
def test_the_reference_runs_first_whatever_is_asked_for(
    tmp_path: Path, wanted: Wanted, expected: list[tuple[str, str, str]]
) -> None:
    found = contenders(candidates(tmp_path), wanted)
    assert names(found) == [("onnxruntime", "cpu", "fp32"), *expected]


def test_torch_is_a_row_of_runs_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = candidates(tmp_path)
    manifest = dataclasses.replace(known[0].manifest, weights_sha256="12ab")
    known[0] = dataclasses.replace(known[0], manifest=manifest)
    checkpoint = tmp_path / "best.safetensors"
    (last,) = (one for one in contenders(known, Wanted(), checkpoint) if one.runtime == "torch")
    assert (last.model, last.precision, last.device) == (checkpoint, "fp32", "cpu")
    assert (last.worker, last.weights_sha256) == (torch_model.WORKER, "12ab")
    for wanted in (Wanted(device="cuda"), Wanted(precisions=("int8",)), Wanted(("openvino",))):
        assert "torch" not in {one.runtime for one in contenders(known, wanted, checkpoint)}
    monkeypatch.setattr(torch_model, "why_no_torch", lambda: "it is not here")
    assert "torch" not in {one.runtime for one in contenders(known, Wanted(), checkpoint)}
    named = contenders(known, Wanted(("torch",)), checkpoint)
    assert names(named) == [("onnxruntime", "cpu", "fp32"), ("torch", "cpu", "fp32")]
    with pytest.raises(ConfigError, match=r"torch needs a checkpoint: name a run .* --run"):
        contenders(known, Wanted(("torch",)))


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"runtimes": ("tvm",)}, r"unknown runtime 'tvm'; known: onnxruntime, .*, torch$"),
        ({"runtimes": ()}, "expected one name or more"),
        ({"precisions": ()}, "expected one name or more"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"precisions": ("fp16",)}, r"no model is fp16; found: fp32, int8; .*--precision"),
        ({"runtimes": ("openvino",), "device": "cuda"}, "openvino runs on cpu, not on cuda"),
    ],
)
def test_names_that_lead_nowhere_are_refused(tmp_path: Path, wanted: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        contenders(candidates(tmp_path), Wanted(**wanted))


def test_models_of_other_bits_or_sizes_are_refused(tmp_path: Path) -> None:
    first = model_of(tmp_path / "a.onnx", "fp32")
    other = linear_model(tmp_path / "b.onnx", n_bits=8)
    with pytest.raises(ConfigError, match="cannot be compared: bits 12 and 8"):
        read_candidates([first, other])
    larger = linear_model(tmp_path / "c.onnx", height=5)
    with pytest.raises(ConfigError, match=r"size \(4, 5\) and \(5, 5\)"):
        read_candidates([first, larger])
    metadata = Manifest(12, 4, 5, resize="stretch-bicubic").to_metadata()
    resized = linear_model(tmp_path / "d.onnx", metadata=metadata)
    with pytest.raises(ConfigError, match="resize crop-bilinear and stretch-bicubic"):
        read_candidates([first, resized])


@pytest.mark.parametrize(
    "changes",
    [
        {"n_starts": 0},
        {"n_slow_images": 1},
        {"seconds": 0},
        {"timeout_seconds": float("nan")},
        {"batch_sizes": (0, 4)},
    ],
)
def test_settings_that_measure_nothing_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"at least|above 0"):
        BenchSettings(**changes)


def test_batch_1_is_always_timed() -> None:
    assert BenchSettings((64, 8, 8)).batch_sizes == (1, 8, 64)
    assert BenchSettings(()).batch_sizes == (1,)


# What comes out


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
        assert row.near_zero == np.mean(np.abs(own.logits) <= 1e-4)
        assert row.n_bytes == row.contender.model.stat().st_size


def test_slow_runtimes_answer_a_few_images_from_end_to_end(
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
    assert same.agreement.flipped_per_million == 0, "of other images, bits would differ"
    assert other.agreement is not None
    few = np.concatenate([sample().queries, sample().database])[[0, 20, 39, 58, 78]]
    logits = [answers_of(tmp_path / f"{name}.onnx", few).logits for name in ("model", "model-int8")]
    flipped = (logits[0] > 0) != (logits[1] > 0)
    assert other.agreement.flipped_per_million == pytest.approx(1e6 * flipped.mean())


def test_a_row_that_fails_does_not_end_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Outcome("failed", None, "its process was ended by SIGSEGV")
    rows = measured(monkeypatch, tmp_path, outcomes={("openvino", "cpu"): crash})
    status = {(row.contender.title, row.contender.precision): row.status for row in rows}
    assert status["openvino on CPU", "fp32"] == "failed"
    assert status["openvino on CPU", "int8"] == "failed", "another model may do better: tried"
    assert status["reference on CPU", "int8"] == "ok"
    problems = document_of(tmp_path, rows)["problems"]
    assert problems == [
        f"openvino on CPU, {name}: its process was ended by SIGSEGV" for name in ("fp32", "int8")
    ]


def test_what_is_absent_is_one_row_and_no_fault(
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


@pytest.mark.parametrize(
    ("wanted", "problems"),
    [
        (Wanted(("openvino",)), [f"openvino on CPU was asked for: {NO_OPENVINO.reason}"]),
        (Wanted(("onnxruntime",)), []),  # it is here on the CPU
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
def test_what_was_asked_for_by_name_and_is_absent_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, problems: list[str]
) -> None:
    outcomes = {("openvino", "cpu"): NO_OPENVINO}
    rows = measured(monkeypatch, tmp_path, wanted=wanted, outcomes=outcomes)
    document = document_of(tmp_path, rows, wanted=wanted)
    assert document["problems"] == problems
    assert document["ok"] is not bool(problems)


def test_without_the_reference_the_first_that_runs_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {("onnxruntime", "cpu"): Outcome("absent", None, "onnxruntime is not installed")}
    rows = measured(monkeypatch, tmp_path, outcomes=gone)
    (reference,) = (row for row in rows if row.is_reference)
    assert reference.contender.runtime == "openvino"
    assert reference.contender.precision == "fp32"
    nothing = gone | {("openvino", "cpu"): NO_OPENVINO}
    rows = measured(monkeypatch, tmp_path, outcomes=nothing)
    assert not any(row.is_reference for row in rows), "a few images are no reference"
    assert all(row.agreement is None for row in rows)
    facts = markdown(document_of(tmp_path, rows))
    assert "compared with: nothing: no row ran" in facts


@pytest.mark.parametrize("kind", ["infinite", "packing"])
def test_answers_that_are_wrong_in_themselves_fail(
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


def test_floors_trip_and_only_where_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(("openvino",))
    free = measured(monkeypatch, tmp_path, wanted=wanted)
    other = free[-1].agreement
    assert other is not None
    assert other.map is not None
    assert free[0].agreement is not None
    assert other.flipped_per_million > 0
    just = Floors(other.flipped_per_million, min(other.map, free[0].agreement.map or 0))
    rows = measured(monkeypatch, tmp_path, wanted=wanted, floors=just)
    assert {row.status for row in rows} == {"ok"}

    tight = Floors(max_flips=other.flipped_per_million - 1)
    rows = measured(monkeypatch, tmp_path, wanted=wanted, floors=tight)
    assert [row.status for row in rows] == ["ok", "ok", "beyond"]
    (problem,) = document_of(tmp_path, rows, wanted=wanted, floors=tight)["problems"]
    assert problem.startswith("openvino on CPU, int8: ")
    assert "of a million bits flipped (" in problem

    high = Floors(min_map=1.01)
    rows = measured(monkeypatch, tmp_path, wanted=Wanted(("reference",)), floors=high)
    assert [row.status for row in rows] == ["beyond", "ok", "ok"], "few images have no mAP"
    assert "(at least 1.01 wanted)" in rows[0].detail


def test_a_value_that_is_no_number_misses_every_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(monkeypatch, tmp_path, wanted=Wanted(("openvino",)))[0].agreement
    assert found is not None
    broken = dataclasses.replace(found, flipped_per_million=float("nan"), map=float("nan"))
    assert len(Floors(1e9, 0.0).misses(broken)) == 2
    assert Floors().misses(broken) == []


def test_progress_reaches_its_end_whatever_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {(name, "cuda"): NO_DRIVER for name in ("onnxruntime", "onnxruntime-tensorrt")}
    fake = stand_in(outcomes)
    monkeypatch.setattr(benching, "measure_apart", fake)
    rows = contenders(candidates(tmp_path), Wanted())
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
    assert len(fake.jobs) == len(rows) - 2, "an absent runtime is asked once"  # type: ignore[attr-defined]
    assert not Path(fake.jobs[0].images).exists(), "pixels are left behind"  # type: ignore[attr-defined]


# How it is shown


def test_the_document_is_plain_json_with_a_row_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = document_of(tmp_path, measured(monkeypatch, tmp_path))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    row, absent = document["rows"][0], document["rows"][2]
    assert row.keys() == absent.keys()
    assert row["best_batch_size"] == 4
    assert row["batches"][1]["images_per_second"] == pytest.approx(200)
    assert row["batches"][1]["images_per_second_p95"] == pytest.approx(200)
    assert row["start_seconds"] == 0.5
    assert absent["status"] == "absent"
    assert absent["batches"] == []
    assert absent["agreement"] is None


def test_the_table_has_a_cell_for_each_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(monkeypatch, tmp_path)
    document = document_of(tmp_path, rows)
    columns = columns_of(document)
    heads = [column.head for column in columns]
    table = [dict(zip(heads, cells, strict=True)) for cells in table_of(document, columns)]
    assert table[0]["runtime"] == "onnxruntime"
    assert table[0]["provider"] == "CPU"
    assert table[0]["start"] == "0.50 s"
    assert table[0]["best batch, images/s (p95)"] == "200 (200) at 4"
    assert table[0]["batch 1, images/s (p95)"] == "100 (50)"
    assert table[0]["peak memory"] == "80.0 MB"
    assert table[0]["its difference"] == table[0]["codes changed"] == "reference"
    found = rows[1].agreement
    assert found is not None
    assert table[1]["precision"] == "int8 (fp32)", "what a runtime makes of a file is said"
    assert table[1]["mAP"] == f"{found.map:.4f}"
    assert table[1]["its difference"] == f"{found.map - found.map_source:+.4f}"
    assert table[1]["bits flipped, of a million"] == f"{found.flipped_per_million:,.0f}"
    assert set(table[2].values()) == {"onnxruntime", "CUDA", "absent", "—"}
    same = next(row for row in table if row["runtime"] == "openvino")
    assert same["its difference"] == "+0.0000"


def test_without_labels_the_nearest_stand_for_map_and_for_noise_nothing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled = sample(has_labels=False)
    rows = measured(monkeypatch, tmp_path, images=unlabelled)
    heads = [one.head for one in columns_of(document_of(tmp_path, rows, unlabelled))]
    assert "nearest kept" in heads
    assert not {"mAP", "its difference"} & set(heads)
    noise = document_of(tmp_path, rows, unlabelled, is_random=True)
    assert not {"nearest kept", "mAP"} & {one.head for one in columns_of(noise)}
    assert "nearest kept" not in {
        one.head for one in columns_of(document_of(tmp_path, measured(monkeypatch, tmp_path)))
    }


def test_markdown_is_one_table_whatever_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = document_of(tmp_path, measured(monkeypatch, tmp_path), floors=Floors(5, 0.25))
    text = markdown(document)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(document["rows"])
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "noise \\| and more" in text
    assert "a \\<b\\>" in text
    assert "floors: 5 of a million bits flipped, at most; mAP 0.25 at least" in text
    assert "9 queries, 70 in the database" in text
    assert "reference is slow, and answered 5 of the 79 images" in text


def test_the_page_shows_the_table_and_needs_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floors = Floors(max_flips=1)
    document = document_of(tmp_path, measured(monkeypatch, tmp_path, floors=floors), floors=floors)
    page = render_bench_page(document)
    shown = Page(page)
    assert "a <b>" in shown.text
    assert not shown.all("script")
    assert "src=" not in page
    assert "href=" not in page
    columns = columns_of(document)
    for group, cells in zip(("cost", "answers"), shown.tables, strict=True):
        some = [one for one in columns if one.group in ("name", group)]
        assert cells == [[one.head for one in some], *table_of(document, some)]
    for line in [*document["problems"], *notes_of(document), "9 queries"]:
        assert line in " ".join(shown.text.split())
    save_bench_page(document, tmp_path / "deep" / "page.html")
    assert (tmp_path / "deep" / "page.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_the_terminal_shows_one_table_or_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = document_of(tmp_path, measured(monkeypatch, tmp_path))
    print_bench(document)
    piped = capsys.readouterr().out
    assert piped.count("┏") == 1
    assert "logits within 1e-4 of 0" in piped
    assert "…" not in piped
    assert "compared with: onnxruntime on CPU, fp32 (onnxruntime 1.0, CPUExecutionProvider" in piped
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    print_bench(document)
    assert capsys.readouterr().out.count("┏") == 2
