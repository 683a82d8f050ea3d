"""Outputs of a benchmark: JSON, terminal, Markdown and HTML page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_samples import (
    document_of,
    measured,
    sample,
)
from report_samples import Page

from hashkit.cli.bench_output import print_bench
from hashkit.exporters.bench.settings import Floors
from hashkit.report.bench_page import render_bench_page, save_bench_page
from hashkit.report.bench_table import columns_of, markdown, notes_of, table_of


def test_document_is_json_with_one_row_per_measurement(
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


def test_table_cells_show_the_measured_values(
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
    assert table[0]["mAP difference"] == table[0]["codes changed"] == "reference"
    found = rows[1].agreement
    assert found is not None
    assert table[1]["precision"] == "int8 (fp32)", "the precision of the arithmetic is missing"
    assert table[1]["mAP"] == f"{found.map:.4f}"
    assert table[1]["mAP difference"] == f"{found.map - found.map_source:+.4f}"
    assert table[1]["bits flipped per million"] == f"{found.flipped_per_million:,.0f}"
    assert set(table[2].values()) == {"onnxruntime", "CUDA", "absent", "—"}
    same = next(row for row in table if row["runtime"] == "openvino")
    assert same["mAP difference"] == "+0.0000"


def test_neighbours_replace_map_without_labels_and_random_images_have_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled = sample(has_labels=False)
    rows = measured(monkeypatch, tmp_path, images=unlabelled)
    heads = [one.head for one in columns_of(document_of(tmp_path, rows, unlabelled))]
    assert "neighbours kept" in heads
    assert not {"mAP", "mAP difference"} & set(heads)
    noise = document_of(tmp_path, rows, unlabelled, is_random=True)
    assert not {"neighbours kept", "mAP"} & {one.head for one in columns_of(noise)}
    assert "neighbours kept" not in {
        one.head for one in columns_of(document_of(tmp_path, measured(monkeypatch, tmp_path)))
    }


def test_markdown_is_one_table_for_any_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = document_of(tmp_path, measured(monkeypatch, tmp_path), floors=Floors(5, 0.25))
    text = markdown(document)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(document["rows"])
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "noise \\| and more" in text
    assert "a \\<b\\>" in text
    assert "floors: at most 5 flipped bits per million; mAP at least 0.25" in text
    assert "9 queries, 70 in the database" in text
    assert "reference is slow and ran on only 5 of the 79 images" in text


def test_page_shows_the_tables_and_is_self_contained(
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


def test_wide_table_is_split_on_a_narrow_terminal(
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
