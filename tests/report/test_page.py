"""The report page: its numbers, several evaluations, and hostile names."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from looped import looped
from report_samples import Page, an_evaluation, code_set, evaluated, examples_of, page_of

import hashkit
from hashkit.errors import HashkitError
from hashkit.report.evaluations import (
    Evaluation,
    differences,
    in_column_order,
    renamed_apart,
)
from hashkit.report.examples import find_examples
from hashkit.report.numbers import number_rows
from hashkit.report.overview import map_figure
from hashkit.report.page import PageContent, render_page, save_page

HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)>{{ 7 * 7 }}<!--'
NEWER = (
    *("map_interval", "interval", "ndcg_at", "ndcg_gain", "rank_curve", "distances"),
    *("bit_statistics", "per_label_queries", "per_label_interval"),
)


# Numbers


def test_every_scalar_of_the_report_is_in_the_table():
    report = evaluated()[2]
    rows = dict(row for row in page_of(an_evaluation()).table("measure") if len(row) == 2)
    expected = {
        "mAP (whole ranking, mean over tie orders, all relevant)": report.map,
        "mAP, ties in the best order": report.map_best,
        "mAP, ties in the worst order": report.map_worst,
        "mAP, ties in row order": report.map_index,
        "mAP@10 (all-relevant)": report.map_at[10],
        "mAP@100 (all-relevant)": report.map_at[100],
        "precision within 2 bits (empty: 0)": report.precision_radius_2,
        "queries without an image within 2 bits": report.empty_radius_2,
        **{f"precision@{k}": value for k, value in report.precision_at.items()},
        **{f"recall@{k}": value for k, value in report.recall_at.items()},
        **{f"NDCG@{k} (exponential gain)": value for k, value in report.ndcg_at.items()},
        "mean entropy per bit (at most 1)": report.bit_statistics.mean_entropy,
    }
    low, high = report.map_interval
    assert {label: rows[label] for label in expected} == {
        label: f"{value:.4f}" for label, value in expected.items()
    }
    assert rows["mAP, 95% interval (bootstrap over queries)"] == f"{low:.4f} to {high:.4f}"
    assert rows["bits"] == "16"
    assert rows["distinct codes in the database"] == str(report.bit_statistics.n_distinct_codes)


def test_head_of_the_page_shows_what_was_evaluated():
    report = evaluated()[2]
    page = page_of(an_evaluation("mine", title="a net, a loss", about={"model": "SHA-256 12ab"}))
    head = " ".join(page.text.partition("Curves")[0].split())
    for part in ("mine", "a net, a loss", "16 bits", "24 queries", "150 images", "tie orders"):
        assert part in head, part
    assert f"{report.map:.4f}" in head
    assert "SHA-256 12ab" in page.text


def test_tables_of_the_curves_match_the_report():
    report = evaluated()[2]
    page = page_of(an_evaluation())
    assert page.table("radius") == [
        ["radius", "precision", "recall", "empty"],
        *(
            [str(point["radius"]), *(f"{point[n]:.4f}" for n in ("precision", "recall", "empty"))]
            for point in report.pr_curve
        ),
    ]
    assert page.table("k", width=3)[1:] == [
        [f"{point['k']:,}", f"{point['precision']:.4f}", f"{point['recall']:.4f}"]
        for point in report.rank_curve
    ]
    distances = page.table("distance")
    assert [row[1:] for row in distances[1:]] == [
        [f"{relevant:,}", f"{other:,}"]
        for relevant, other in zip(*report.distances.values(), strict=True)
    ]
    assert len(distances) == 18
    assert [row[1] for row in page.table("bit")[1:]] == [
        f"{share:.4f}" for share in report.bit_statistics.share_of_ones
    ]


def test_table_by_label_has_all_labels_best_first():
    report = evaluated()[2]
    rows = page_of(an_evaluation()).table("label")
    in_order = sorted(report.per_label.items(), key=lambda item: -item[1])
    assert rows[1:] == [[name, "8", f"{value:.4f}"] for name, value in in_order]


# Several evaluations


def test_the_own_column_is_first_then_others_by_bits_then_baselines():
    own, other = an_evaluation("c16", title="net"), an_evaluation("c8", 8, title="net")
    poor, good = an_evaluation("poor", 12), an_evaluation("good", 24)
    assert poor.fields["map"] < good.fields["map"]
    simple = [dataclasses.replace(one, is_baseline=True) for one in (poor, good)]
    page = page_of(own, *simple, other)
    rows = page.table("measure")
    assert rows[0] == ["measure", "c16", "c8", "goodbaseline", "poorbaseline"]
    shown = {row[0]: row[1:] for row in rows if len(row) == 5}
    columns = [own, other, good, poor]
    assert shown["bits"] == ["16", "8", "24", "12"]
    assert shown["mAP, ties in row order"] == [f"{one.fields['map_index']:.4f}" for one in columns]
    assert [row[-4:] for row in page.table("label")[1:]] == [
        [f"{one.fields['per_label'][row[0]]:.4f}" for one in columns]
        for row in page.table("label")[1:]
    ]


def test_each_chart_has_all_evaluations_with_the_own_in_front():
    page = page_of(an_evaluation("c16"), an_evaluation("c8", 8))
    series = [one for one in page.all("g") if one.get("data-name") in ("c8", "c16")]
    # Bits, precision against recall, both by rank, their differences, and three by radius.
    names = [one["data-name"] for one in series]
    assert names == [*["c8", "c16"] * 4, "c8", "c8", *["c8", "c16"] * 3]
    assert {one["class"] for one in series if one["data-name"] == "c16"} == {"series s0"}
    assert {one["class"] for one in series if one["data-name"] == "c8"} == {"series s1"}


def test_baselines_do_not_flatten_the_differences_of_the_others():
    """They have charts of their own, and every axis fits what it shows."""

    def near(name: str, value: float) -> Evaluation:
        one = an_evaluation(name)
        fields = {"map": value, "map_best": value, "map_worst": value, "map_interval": None}
        return dataclasses.replace(one, fields={**one.fields, **fields})

    own, other = near("own", 0.945), near("other", 0.948)
    simple = dataclasses.replace(near("simple", 0.1), is_baseline=True)
    axis = map_figure([(0, own), (1, other)]).svg
    assert re.search(r">0\.9\d*<", axis)
    assert ">0.5<" not in axis
    figures = render_page(PageContent(own, [other, simple])).split("<figure")
    charts = [set(re.findall(r'class="(series s\d)" data-name="(\w+)"', one)) for one in figures]
    assert {("series s0", "own"), ("series s1", "other")} in charts
    assert {("series s0", "own"), ("series s2", "simple")} in charts
    assert not any(len(one) > 2 for one in charts)


def test_numbers_of_one_evaluation_are_blank_for_others():
    first, second = dict(an_evaluation().fields), dict(an_evaluation().fields)
    first["map_at"], second["map_at"] = {"10": 0.5}, {"10": 0.25, "20": 0.75}
    second["convention"] = "hits"
    rows = {row.label: row.values for row in number_rows([first, second])}
    assert rows["mAP@10 (all-relevant)"] == ("0.5000", "—")
    assert rows["mAP@10 (hits)"] == ("—", "0.2500")
    assert rows["mAP@20 (hits)"] == ("—", "0.7500")
    labels = list(rows)
    assert labels.index("mAP@20 (hits)") < labels.index("precision@1")


def test_evaluations_with_one_title_are_connected_over_bits():
    runs = [an_evaluation(f"c{bits}", bits, title="net") for bits in (16, 8, 24)]
    page = page_of(*runs)
    (joined,) = [one for one in page.all("g") if one.get("data-name") == "net"]
    points = json.loads(joined["data-points"])
    assert [text.split(" bits")[0] for _, _, text in points] == ["8", "16", "24"]
    assert [text.split()[-1] for _, _, text in points] == [
        f"{one.fields['map']:.4f}" for one in sorted(runs, key=lambda one: one.fields["bits"])
    ]
    places = [x for x, _, _ in points]
    assert places == sorted(places)
    assert page.table("", width=3)[1:] == [
        [one.name, str(one.fields["bits"]), f"{one.fields['map']:.4f}"]
        for one in [runs[0], runs[1], runs[2]]
    ]


def test_plot_over_bits_needs_different_bits():
    same = page_of(an_evaluation("a"), an_evaluation("b"))
    assert "mAP over bits" not in same.text
    baseline = dataclasses.replace(an_evaluation("b", 8), is_baseline=True)
    assert "mAP over bits" not in page_of(an_evaluation("a"), baseline).text
    assert "mAP over bits" in page_of(an_evaluation("a"), an_evaluation("b", 8)).text


def test_evaluations_with_one_title_and_equal_bits_are_not_connected():
    page = page_of(
        *(an_evaluation(name, bits, title="net") for name, bits in [("a", 16), ("b", 16), ("c", 8)])
    )
    names = [one.get("data-name") for one in page.all("g")]
    assert "net" not in names
    assert {"a", "b", "c"} <= set(names)


@looped(
    ("changes", "expected"),
    [
        ({"n_queries": 7}, "other has 7 queries, own has 24"),
        ({"n_database": 1_200}, "other has 1,200 images in the database, own has 150"),
        ({"convention": "hits"}, "another convention for mAP@R: hits, not all-relevant"),
        ({"without_relevant": "drop"}, "images differently: drop, not zero"),
    ],
)
def test_evaluations_that_are_not_comparable_have_a_warning(changes, expected):
    own = an_evaluation("own")
    other = Evaluation("other", {**own.fields, **changes})
    (line,) = differences(own, other)
    assert expected in line
    assert line in page_of(own, other).text
    assert differences(own, dataclasses.replace(own, name="other")) == []
    assert "Not comparable" not in page_of(own, an_evaluation("other")).text


def test_different_images_of_the_same_number_have_a_warning():
    own = an_evaluation("own", lists={"queries": "1", "database": "2"})
    other = an_evaluation("other", lists={"queries": "1", "database": "3"})
    (line,) = differences(own, other)
    assert "other has different database images than own" in line
    assert differences(own, an_evaluation("other")) == []


def test_repeated_names_are_numbered():
    names = [one.name for one in renamed_apart([an_evaluation(n) for n in ("a", "a", "a", "b")])]
    assert names == ["a", "a (2)", "a (3)", "b"]
    assert len({one.name for one in renamed_apart([an_evaluation("a")] * 3)}) == 3


def test_more_evaluations_than_styles_have_different_classes():
    page = page_of(*(an_evaluation(f"e{n}") for n in range(10)))
    classes = {one["class"] for one in page.all("g") if one.get("data-name", "").startswith("e")}
    assert len(classes) == 10


def test_the_own_column_is_first_and_baselines_are_last():
    own, other = an_evaluation("c16"), an_evaluation("c8", 8)
    simple = dataclasses.replace(an_evaluation("x", 8), is_baseline=True)
    assert [one.name for one in in_column_order([own, simple, other])] == ["c16", "c8", "x"]


# The file


def test_page_is_self_contained():
    html = render_page(PageContent(an_evaluation(), [an_evaluation("b", 8)], examples_of()))
    page = Page(html)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not page.all("link")
    assert not page.all("iframe")
    assert "url(" not in html
    assert "@import" not in html
    addresses = set(re.findall(r"https?:[^\s\"'<]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a namespace, which is not fetched
    (policy,) = [meta for meta in page.all("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in policy["content"]
    assert len(html) < 400_000


def test_names_and_labels_are_escaped():
    queries = code_set(24, 16, 2, (HOSTILE, "dog", "owl"))
    database = code_set(150, 16, 3, (HOSTILE, "dog", "owl"))
    report = hashkit.evaluate(queries, database)
    examples = find_examples(queries, [database], report.average_precision, lambda *_: None)
    own = Evaluation(
        HOSTILE, report.to_dict(), title=HOSTILE, about={HOSTILE: HOSTILE}, lists={"queries": "1"}
    )
    other = dataclasses.replace(own, name="b" + HOSTILE, lists={"queries": "2"})
    html = render_page(PageContent(own, [other], examples))
    page = Page(html)
    assert len(page.all("script")) == 1
    assert html.count("</script") == 1
    assert page.all("img") == []
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert page.text.count(HOSTILE) > 10
    assert page.table("label")[1][0] in ("dog", "owl", HOSTILE)
    assert HOSTILE in [row[0] for row in page.table("label")]
    assert HOSTILE in [one.get("data-name") for one in page.all("g")]


def test_every_chart_has_a_description_and_a_table():
    html = render_page(PageContent(an_evaluation(), [an_evaluation("b", 8)]))
    page = Page(html)
    charts = [svg for svg in page.all("svg") if svg["class"] == "chart"]
    assert len(charts) >= 9
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)
    assert len(page.all("figure")) == len(page.all("details")) == len(charts)
    assert html.count('lang="en"') == 1


def test_page_is_written_atomically(tmp_path):
    path = tmp_path / "deep" / "page.html"
    save_page(PageContent(an_evaluation("bad \udc80 name")), path)
    assert "bad &#56448; name" in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(HashkitError, match="cannot be written"):
        save_page(PageContent(an_evaluation()), path.parent)
    with pytest.raises(HashkitError, match="cannot be written"):
        save_page(PageContent(an_evaluation()), path / "below")
