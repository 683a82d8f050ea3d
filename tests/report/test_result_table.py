"""Evaluations as CSV and as a LaTeX table."""

from __future__ import annotations

import csv
import dataclasses
import io

from report_samples import an_evaluation

from hashkit.report.evaluations import Evaluation
from hashkit.report.result_table import csv_text, latex_text


def row(name: str, value: float, **fields: object) -> Evaluation:
    given = an_evaluation(name)
    fields = {
        "map": value,
        "map_interval": [value - 0.01, value + 0.01],
        "map_at": {"1000": value},
        "precision_at": {"1": value, "100": value / 2},
        "recall_at": {"1": 0.001, "100": 0.25},
        "precision_radius_2": 0.5,
        **fields,
    }
    return dataclasses.replace(given, fields={**given.fields, **fields})


def test_csv_has_a_line_per_evaluation_and_a_column_per_number():
    other = row('b, "2"\n', 0.5, map_at={"500": 0.25, "1000": 0.75}, map_interval=None)
    first, second = csv.DictReader(io.StringIO(csv_text([row("a", 1 / 3), other])))
    assert (first["name"], second["name"]) == ("a", 'b, "2"\\n')
    assert float(first["map"]) == 1 / 3  # unrounded
    assert (float(first["map_low"]), second["map_low"]) == (1 / 3 - 0.01, "")
    assert (first["map_at_500"], second["map_at_500"]) == ("", "0.25")
    assert (first["precision_at_100"], first["n_queries"]) == (str(1 / 6), second["n_queries"])
    names = list(first)
    assert names.index("map_at_500") + 1 == names.index("map_at_1000")


def test_latex_is_a_table_of_booktabs_with_the_best_in_bold():
    simple = row("simple on RGB pixels", 0.1, map_interval=None)
    simple = dataclasses.replace(simple, is_baseline=True)
    short = row("short", 0.9, bits=8, map_at={})
    lines = latex_text([row("own", 0.845), row("other", 0.8444), short, simple]).splitlines()
    table = [line for line in lines if not line.startswith("%")]
    rest = r"\textbf{0.422} & \textbf{0.250} & \textbf{0.500} \\"  # of equal numbers, all are bold
    assert table == [
        r"\begin{tabular}{lrrrrrr}",
        r"\toprule",
        r"Method & Bits & mAP & mAP@1000 & P@100 & R@100 & P@$r \le 2$ \\",
        r"\midrule",
        rf"own & 16 & \textbf{{0.845}} {{\scriptsize [0.835, 0.855]}} & \textbf{{0.845}} & {rest}",
        rf"other & 16 & 0.844 {{\scriptsize [0.834, 0.854]}} & 0.844 & {rest}",
        r"short & 8 & 0.900 {\scriptsize [0.890, 0.910]} & -- & 0.450 & 0.250 & 0.500 \\",
        r"\midrule",
        r"simple & 16 & 0.100 & 0.100 & 0.050 & \textbf{0.250} & \textbf{0.500} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "24 queries, 150 in the database" in "".join(lines)
    assert "% simple: simple on RGB pixels." in lines


def test_latex_takes_the_asked_k_and_prints_any_name_as_it_is():
    text = latex_text([row(r"a_b & 50% #1 {x} \y ~^ --$", 0.5)], [1])
    assert "& P@1 & R@1 &" in text
    assert (
        r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{} -{}-\$ & 16"
    ) in text
    assert r"\textbf" not in text  # nothing to compare with
