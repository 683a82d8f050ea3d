"""Saving and loading evaluations."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from looped import looped
from report_samples import an_evaluation, evaluated, page_of

from hashkit.errors import EvaluationError
from hashkit.report.evaluations import (
    Evaluation,
    load_evaluation,
    save_evaluation,
)

NEWER = (
    *("map_interval", "interval", "ndcg_at", "ndcg_gain", "rank_curve", "distances"),
    *("bit_statistics", "per_label_queries", "per_label_interval"),
)


def test_a_saved_evaluation_is_loaded_unchanged(tmp_path):
    made = an_evaluation(
        "näme \udc80", title="net", about={"model": "x"}, lists={"queries": "1", "database": "2"}
    )
    save_evaluation(made, tmp_path / "evaluation.json")
    read = load_evaluation(tmp_path)
    assert read == dataclasses.replace(made, fields=json.loads(json.dumps(dict(made.fields))))
    assert load_evaluation(tmp_path / "evaluation.json") == read
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]
    assert page_of(read).table("measure") == page_of(made).table("measure")


def test_output_of_the_command_is_loaded(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(evaluated()[2].to_dict()))
    assert load_evaluation(path) == Evaluation("mine", json.loads(path.read_text()))


def test_page_of_an_evaluation_without_newer_fields(tmp_path):
    fields = {name: value for name, value in an_evaluation().fields.items() if name not in NEWER}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**fields, "map_interval": None}))
    page = page_of(load_evaluation(path), an_evaluation())
    assert len(page.table("measure")[0]) == 3
    assert "Precision and recall" in page_of(load_evaluation(path)).text


@looped(
    ("field", "value"),
    [
        ("map", None),
        ("map", "0.5"),
        ("bits", 4.5),
        ("bits", True),
        ("map_at", {"ten": 0.5}),
        ("per_label", ["cat"]),
        ("pr_curve", [{"radius": 0}]),
        ("rank_curve", [{"k": 1, "precision": "</svg>", "recall": 0}]),
        ("map_interval", [0.1]),
        ("distances", {"relevant": [1]}),
        ("bit_statistics", {"share_of_ones": ["x"]}),
        ("about", {"model": 3}),
        ("name", 3),
    ],
)
def test_error_for_an_invalid_field_names_it(tmp_path, field, value):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**an_evaluation().fields, field: value}))
    with pytest.raises(EvaluationError, match=re.escape(repr(field))) as caught:
        load_evaluation(path)
    assert "\n" not in str(caught.value)


@looped(
    "content",
    [
        "",
        "[1]",
        "{",
        "\x00",
        "[" * 100_000,
        '{"map": NaN}',
        '{"map": 1e999}',
        '{"a": 1, "a": 2}',
        '{"bits": 99999999999999999999999}',
        f'{{"bits": {"9" * 5000}}}',
    ],
)
def test_error_for_an_invalid_file_is_one_line(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=r"bad\.json") as caught:
        load_evaluation(path)
    assert "\n" not in str(caught.value)
