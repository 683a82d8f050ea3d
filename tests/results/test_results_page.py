"""The results page shows the numbers and commands of the runs in docs/results."""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path

import pytest
import write
from cli_samples import check_parses
from records import ablations, comparisons, entries_of, main_entries
from result_samples import (
    EVALUATION,
    a_result,
    baseline,
    column,
    rendered,
    settings_of_command,
    tables,
)

DOCS = Path(__file__).parents[2] / "docs"

# The page in docs


def test_the_page_and_its_pictures_match_the_results():
    files = write.render(DOCS / "results")
    assert (DOCS / "results.md").read_text(encoding="utf-8") == files.pop("results.md")
    there = {f"images/{path.name}" for path in (DOCS / "images").glob("results-*.svg")}
    assert there == files.keys()
    for name, content in files.items():
        assert (DOCS / name).read_text(encoding="utf-8") == content, name


def test_no_result_contains_a_path_of_a_machine():
    for path in (DOCS / "results").glob("*.json"):
        assert not re.search(r'[" =]/\w', path.read_text(encoding="utf-8")), path


def test_all_results_have_the_conventions_that_the_page_states():
    page = " ".join((DOCS / "results.md").read_text(encoding="utf-8").split())
    assert "over the whole ranking, averaged over all orders of ties, and divided by" in page
    assert "Confidence intervals (95%)" in page
    assert "[metrics.md](metrics.md)" in page
    for fields in documents():
        evaluation = fields["evaluation"]
        assert (evaluation["convention"], evaluation["without_relevant"]) == (
            "all-relevant",
            "zero",
        )
        assert evaluation["interval"]["level"] == 0.95


def test_every_command_on_the_page_gives_the_settings_of_its_run():
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for fields in documents():
        line = fields["command"].partition(" --seed ")[0]
        assert line in page
        check_parses(fields["command"])
        config = settings_of_command(fields["command"], (32, 32)).to_dict()
        for name in ("recipe", "network", "loss", "lengths", "epochs", "steps", "seed"):
            assert config[name] == fields[name], (fields["name"], name)
        assert fields["changes"].items() <= config.items()


def documents() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*.json"))]


def test_a_page_without_runs_says_that_there_are_none(tmp_path):
    assert write.render(tmp_path / "nothing").keys() == {"results.md"}
    assert "There are no runs yet" in write.render(tmp_path / "nothing")["results.md"]
    page = rendered(tmp_path / "results", a_result())["results.md"]
    assert "There are no runs yet" not in page


# Content of the page


def test_runs_that_differ_in_seeds_are_one_row_with_mean_and_deviation(tmp_path):
    scores = [0.51, 0.54, 0.48]
    runs = [a_result(score, seed=seed, minutes=5 + seed) for seed, score in enumerate(scores)]
    page = rendered(tmp_path / "results", *runs, a_result(0.3, epochs=15.0))["results.md"]
    table = tables(page)[0]
    rows = [row for row in table[1:] if row[1] == "best"]
    assert [row[4] for row in rows] == ["1", "3"]  # by mAP
    # By hand: the mean of 51, 54 and 48 is 51, and the deviation is sqrt((0 + 9 + 9) / 2) = 3.
    assert rows[1][5] == "**0.5100** ± 0.0300"
    assert math.isclose(statistics.stdev(scores), 0.03)
    assert rows[0][5] == "**0.3000**"
    assert [row[-1] for row in rows] == ["10.0", "6.0"]


def test_baselines_are_means_over_the_runs_that_have_them(tmp_path):
    def measured(seed, *baselines):
        return a_result(seed=seed, data={"protocol": "unseen-classes"}, baselines=list(baselines))

    runs = [
        measured(0, baseline("class of a linear classifier on x", 0.4, 0.7), baseline("LSH", 0.1)),
        measured(1),
        measured(2, baseline("class of a linear classifier on x", 0.6, 0.8)),
    ]
    (entry,) = entries_of(runs)
    found = {name: tuple(one) for name, one in entry.baselines().items()}
    assert found == {
        "class of a linear classifier on x": (pytest.approx(0.5), pytest.approx(0.75), 2),
        "LSH": (0.1, None, 1),
    }
    (table,) = tables(rendered(tmp_path / "results", *runs)["results.md"])
    splits = [row[table[0].index("splits")] for row in table[1:]]
    assert splits == ["3", "2", "1"]


def test_a_repeated_run_counts_once(tmp_path):
    twice = [a_result(0.5, group="methods"), a_result(0.7, group="again"), a_result(0.6, seed=1)]
    table = tables(rendered(tmp_path / "results", *twice)["results.md"])[0]
    (row,) = (row for row in table[1:] if row[1] == "best")
    assert row[4:6] == ["2", "**0.5500** ± 0.0707"]


def test_runs_that_differ_in_bookkeeping_are_one_row_and_others_are_not():
    kept = {"snapshot_steps": 7, "display_steps": 3, "validate_epochs": 2, "keep_snapshots": 0}
    runs = [a_result(0.5), a_result(0.7, seed=1, changes=kept)]
    assert len(entries_of(runs)) == 1
    for change in ({"precision": "bf16"}, {"cutout": 0.5}):
        assert len(entries_of([*runs, a_result(0.6, seed=2, changes=change)])) == 2


def test_lines_over_bits_have_one_method_and_budget(tmp_path):
    long = [a_result(0.4, bits=24), a_result(0.5)]
    short = [a_result(0.1, bits=24, epochs=3.0), a_result(0.2, epochs=3.0)]
    page = rendered(tmp_path / "results", *long, *short)["results.md"]
    (text,) = re.findall(r"!\[mAP over bits. (.*?)\]", page)
    assert text == (
        "best: compact, orthohash, 30 epochs: 24 bits 0.4000, 48 bits 0.5000; "
        "best: compact, orthohash, 3 epochs: 24 bits 0.1000, 48 bits 0.2000"
    )


def test_a_row_has_the_numbers_of_its_run(tmp_path):
    run = a_result(
        0.6123,
        baselines=[
            baseline("class of a linear classifier on the network's outputs", 0.55, 0.812),
            baseline("LSH on 32x32 pixels", 0.13),
            baseline("ITQ on 32x32 pixels", 0.1412),
        ],
        minutes=12.34,
    )
    table = tables(rendered(tmp_path / "results", run)["results.md"])[0]
    (row,) = (row for row in table[1:] if row[1] == "best")
    assert dict(zip(table[0], row, strict=True)) == {
        "bits": "48",
        "recipe": "best",
        "network": "compact",
        "loss": "orthohash",
        "seeds": "1",
        "mAP": "**0.6123**",
        "95% interval": "0.4800 to 0.5200",
        "P@100": "0.7000",
        "R@1000": "—",
        "classifier: mAP (accuracy)": "0.5500 (0.812)",
        "best other baseline": "0.1412, ITQ on 32x32 pixels",
        "epochs": "30",
        "minutes": "12.3",
    }


def test_published_results_are_only_in_the_table_of_their_protocol(tmp_path):
    other = {"protocol": "cifar10-54k"}
    ours = [a_result(0.5), a_result(0.5, data=other), a_result(0.5, data={"set": "digits"})]
    page = rendered(tmp_path / "results", *ours)["results.md"]
    published = ["published" in json.dumps(table) for table in tables(page)]
    assert sorted(published) == [False, False, True]
    table = tables(page)[published.index(True)]
    marked = [row for row in table[1:] if "(published)" in row[5]]
    assert ["48", "*DNNH, the paper*", "0.581 (published)"] in [
        [*row[:2], row[5]] for row in marked
    ]
    assert len(marked) == 4 + 4 + 3
    assert "arXiv 1504.03410" in page


def test_losses_are_compared_on_one_network_and_budget_and_sorted(tmp_path):
    runs = [
        a_result(0.4, changes={"loss": "triplet"}),
        a_result(0.6),
        a_result(0.5, changes={"loss": "csq", "quantisation": 0.1}),
        a_result(0.9, changes={"loss": "dpn", "epochs": 60}, epochs=60.0),  # another budget
        a_result(0.8, changes={"loss": "dpn", "network": "dnnh"}),  # another network
        a_result(0.7, changes={"loss": "dpn"}, bits=24),
    ]
    files = rendered(tmp_path / "results", *runs)
    (group,) = comparisons(entries_of(runs))
    assert [one.first["loss"] for one in group.entries] == ["orthohash", "csq", "triplet"]
    (table,) = (one for one in tables(files["results.md"]) if one[0][0] == "loss")
    assert column(table, "mAP") == ["**0.6000**", "**0.5000**", "**0.4000**"]
    assert column(table, "settings") == ["—", "quantisation 0.1", "—"]


def test_ablations_show_their_difference_from_the_recipe(tmp_path):
    runs = [
        a_result(0.52),
        a_result(0.54, seed=1),
        a_result(0.5, changes={"standardise": False}),
        a_result(0.55, changes={"augmentation": "none"}),
        a_result(0.1, changes={"loss": "triplet"}),
        a_result(0.2, changes={"standardise": False}, bits=24),  # without an entry of the recipe
    ]
    page = rendered(tmp_path / "results", *runs)["results.md"]
    (table,) = (one for one in tables(page) if one[0][0] == "change")
    assert [[row[0], row[3]] for row in table[1:]] == [
        ["none: the recipe", "—"],
        ["`augmentation none`", "+0.0200"],
        ["`standardise off`", "-0.0300"],
    ]
    (group,) = ablations(entries_of(runs))
    assert group.reference is not None
    assert len(group.reference.runs) == 2
    elsewhere = [entry.first["evaluation"]["map"] for entry in main_entries(entries_of(runs))]
    assert elsewhere == [0.52, 0.2]


def test_curves_compare_recipes_at_the_same_number_of_bits(tmp_path):
    scores = [(25, 0.2), (50, 0.35), (100, 0.45)]
    runs = [
        a_result(minutes=8, held_out=scores),
        a_result(minutes=20, held_out=[(50, 0.15), (100, 0.31)], recipe="paper", loss="triplet"),
        a_result(minutes=30, held_out=scores, bits=64),
        a_result(minutes=15, held_out=[(50, 0.3), (100, 0.4)], epochs=60.0),  # longer, and worse
        a_result(held_out=scores, changes={"standardise": False}),
        a_result(held_out=scores, changes={"holdout": 0.5}, recipe="pretrained", minutes=40),
    ]
    assert runs[0].held_out() == [(2.0, 0.2), (4.0, 0.35), (8.0, 0.45)]
    files = rendered(tmp_path / "results", *runs)
    (table,) = (one for one in tables(files["results.md"]) if one[0][0].startswith("minutes"))
    assert table == [
        ["minutes to a held-out mAP of", "0.1", "0.2", "0.3", "0.4"],
        ["best", "2.0", "2.0", "4.0", "8.0"],
        ["paper", "10.0", "20.0", "20.0", "—"],
    ]


def test_unseen_classes_have_their_own_table_with_baselines(tmp_path):
    unseen = {"protocol": "unseen-classes", "options": {"unseen_fraction": 0.3}}
    runs = [
        a_result(
            0.3 + 0.1 * seed,
            data={**unseen, "split_seed": seed},
            baselines=[
                baseline("random codes", 0.1),
                baseline("ITQ on features", 0.2 + 0.1 * seed),
            ],
        )
        for seed in (0, 1)
    ]
    page = rendered(tmp_path / "results", *runs)["results.md"]
    (table,) = tables(page)
    assert [[row[1], row[3]] for row in table[1:]] == [
        ["best: compact, orthohash", "**0.3500** ± 0.0707"],
        ["baseline: ITQ on features", "0.2500"],
        ["baseline: random codes", "0.1000"],
    ]
    assert "unseen_fraction 0.3" in page
    assert "# also with --split-seed 1" in page


def test_notes_are_on_the_page(tmp_path):
    page = rendered(tmp_path / "with", a_result(), notes="A **note**.\n")["results.md"]
    assert page.endswith("## Further experiments and limits\n\nA **note**.\n")
    assert "Further experiments" not in rendered(tmp_path / "without", a_result())["results.md"]


def test_minutes_name_their_machine_if_there_are_several(tmp_path):
    here = {"processor": "P", "gpu": None, "n_usable_cores": 2, "n_threads": 1, "versions": {}}
    there = {**here, "processor": "Q", "n_threads": 2, "versions": {"torch": "2.0"}}
    one, two = a_result(0.5, machine=here), a_result(0.4, machine=there, epochs=9.0)
    page = rendered(tmp_path / "both", one, two)["results.md"]
    assert "P, 2 cores, 1 thread per run (A); Q, 2 cores" in page
    assert "torch 2.0" in page
    rows = [row for row in tables(page)[0][1:] if row[1] == "best"]
    assert [row[-1] for row in rows] == ["10.0 B", "10.0 A"]
    assert "10.0 A" not in rendered(tmp_path / "single", one)["results.md"]


def test_recall_is_read_or_follows_from_precision_where_all_queries_have_as_many_relevant_images():
    known = EVALUATION | {"precision_at": {"100": 0.7, "1000": 0.59}}
    unseen = {"protocol": "unseen-classes", "options": {"unseen_fraction": 0.3}}
    of_unseen = known | {"n_database": 17700}
    for result, expected in (
        (a_result(evaluation=known), 1000 * 0.59 / 5900),
        (a_result(evaluation=of_unseen, data=unseen), 1000 * 0.59 / 5900),
        (a_result(evaluation=known | {"recall_at": {"1000": 0.4}}), 0.4),
        (a_result(evaluation=known, data={"set": "mnist"}), None),
        (a_result(evaluation=known, data={"protocol": "random"}), None),
        (a_result(), None),
    ):
        assert result.recall_at(1000) == (None if expected is None else pytest.approx(expected))
