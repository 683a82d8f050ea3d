"""The results page is what its scripts make of the runs, and they tell what the runs did."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from cli_samples import COMMANDS, ROOT, check_parses, succeed, write_class_folders
from report_samples import an_evaluation

from hashkit.cli.flags import parse_size
from hashkit.cli.train_options import read_settings
from hashkit.datasets.digits import open_digits
from hashkit.report.evaluations import save_evaluation
from hashkit.report.figures import share_text
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.training.checkpoint import load_model
from hashkit.workflow.settings import make_config

SCRIPTS = Path(__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(SCRIPTS))

import collect  # noqa: E402
import itq  # noqa: E402
import machine  # noqa: E402
import write  # noqa: E402
from figures import minutes_axis, slug_of  # noqa: E402
from records import Result, ablations, comparisons, entries_of, main_entries  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
EVALUATION = {
    "map": 0.5,
    "map_best": 0.55,
    "map_worst": 0.45,
    "map_interval": [0.48, 0.52],
    "interval": {"method": "bootstrap", "level": 0.95, "resamples": 100, "seed": 0},
    "map_at": {"1000": 0.6},
    "precision_at": {"100": 0.7},
    "convention": "all-relevant",
    "without_relevant": "zero",
    "n_queries": 1000,
    "n_database": 59000,
    "bits": 48,
}


def a_result(score=0.5, *, changes=None, data=None, minutes=10.0, held_out=(), **fields) -> Result:
    """A made-up run of 100 steps, CIFAR-10 and the recipe ``best`` unless said otherwise."""
    bits, changes = fields.pop("bits", 48), dict(changes or {})
    place = {"set": "cifar10", "copy": "JPEG", "protocol": "cifar10-59k"} | (data or {})
    run = {
        "format": 1,
        "group": "any",
        "name": f"run-{score}",
        "data": {"options": {}, "split_seed": 0, "is_of_triplets": False} | place,
        "recipe": "best",
        "network": changes.get("network", "compact"),
        "loss": changes.get("loss", "orthohash"),
        "bits": bits,
        "lengths": [bits],
        "epochs": 30.0,
        "steps": None,
        "seed": 0,
        "changes": changes,
        "command": "hashkit train --bits 48",
        "device": "cpu",
        "training": {"n_steps": 100, "seconds": 60 * minutes},
        "curve": [
            {"step": step, "held_out": value, "seconds": 0.6 * step * minutes}
            for step, value in held_out
        ],
        "evaluation": EVALUATION | {"map": score, "bits": bits},
        "baselines": [],
        "machine": None,
    }
    return Result(run | fields)


def baseline(name: str, score: float, accuracy: float | None = None) -> dict:
    return {"name": name, "accuracy": accuracy} | EVALUATION | {"map": score}


def rendered(folder: Path, *results: Result, notes: str = "") -> dict[str, str]:
    """The page of some runs, through files."""
    folder.mkdir()
    for number, one in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(one.fields))
    if notes:
        (folder / "notes.md").write_text(notes)
    return write.render(folder)


def tables(page: str) -> list[list[list[str]]]:
    """Cells of the tables of a page, heads first, without the rules below them."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in block.splitlines()
            if not set(line) <= set("|- ")
        ]
        for block in blocks
    ]


def svg_of(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - made by the scripts


def column(table: list[list[str]], name: str) -> list[str]:
    return [row[table[0].index(name)] for row in table[1:]]


# The page that lies in docs.


def test_the_page_is_what_the_script_makes_of_the_results():
    files = write.render(DOCS / "results")
    assert (DOCS / "results.md").read_text(encoding="utf-8") == files.pop("results.md")
    there = {f"images/{path.name}" for path in (DOCS / "images").glob("results-*.svg")}
    assert there == files.keys()
    for name, content in files.items():
        assert (DOCS / name).read_text(encoding="utf-8") == content, name


def test_no_result_names_a_place_on_a_machine():
    for path in (DOCS / "results").glob("*.json"):
        assert not re.search(r'[" =]/\w', path.read_text(encoding="utf-8")), path


def test_the_command_writes_the_page_and_removes_pictures_of_no_use(tmp_path):
    results = tmp_path / "results"
    rendered(results, a_result(0.4, bits=24), a_result(0.5))
    (tmp_path / "images").mkdir()
    for name in ("results-old.svg", "other.svg"):
        (tmp_path / "images" / name).write_text("<svg/>")
    subprocess.run([sys.executable, SCRIPTS / "write.py", "--docs", tmp_path], check=True)
    files = write.render(results)
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == files.pop("results.md")
    left = {f"images/{path.name}" for path in (tmp_path / "images").iterdir()}
    assert left == {"images/other.svg", *files}
    assert len(files) == 1


def test_without_runs_the_page_says_so(tmp_path):
    assert write.render(tmp_path / "nothing").keys() == {"results.md"}
    assert "There are no runs yet" in write.render(tmp_path / "nothing")["results.md"]
    page = rendered(tmp_path / "results", a_result())["results.md"]
    assert "There are no runs yet" not in page


# What it tells of runs.


def test_runs_that_differ_in_seeds_are_one_row_with_mean_and_deviation(tmp_path):
    scores = [0.51, 0.54, 0.48]
    runs = [a_result(score, seed=seed, minutes=5 + seed) for seed, score in enumerate(scores)]
    page = rendered(tmp_path / "results", *runs, a_result(0.3, epochs=15.0))["results.md"]
    table = tables(page)[0]
    rows = [row for row in table[1:] if row[1] == "best"]
    assert [row[4] for row in rows] == ["1", "3"]  # by mAP
    # By hand: the mean of 51, 54 and 48 is 51; squares of 0, 3 and -3 are 18; over 2, its root.
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


def test_a_run_that_was_made_twice_counts_once(tmp_path):
    twice = [a_result(0.5, group="methods"), a_result(0.7, group="again"), a_result(0.6, seed=1)]
    table = tables(rendered(tmp_path / "results", *twice)["results.md"])[0]
    (row,) = (row for row in table[1:] if row[1] == "best")
    assert row[4:6] == ["2", "**0.5500** ± 0.0707"]


def test_lines_over_bits_are_of_one_method_and_budget(tmp_path):
    long = [a_result(0.4, bits=24), a_result(0.5)]
    short = [a_result(0.1, bits=24, epochs=3.0), a_result(0.2, epochs=3.0)]
    page = rendered(tmp_path / "results", *long, *short)["results.md"]
    (said,) = re.findall(r"!\[mAP over bits. (.*?)\]", page)
    assert said == (
        "best: compact, orthohash, 30 epochs: 24 bits 0.4000, 48 bits 0.5000; "
        "best: compact, orthohash, 3 epochs: 24 bits 0.1000, 48 bits 0.2000"
    )


def test_numbers_of_a_row_are_those_of_the_run(tmp_path):
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
        "classifier: mAP (accuracy)": "0.5500 (0.812)",
        "best other baseline": "0.1412, ITQ on 32x32 pixels",
        "epochs": "30",
        "minutes": "12.3",
    }


def test_published_figures_stand_in_the_table_of_their_protocol_alone(tmp_path):
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
    (name,) = (name for name in files if "methods" in name)
    bars = [one for one in svg_of(files[name]).iter(f"{SVG}rect") if one.get("class") == "outer"]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[1] / widths[0] == pytest.approx(5 / 6, abs=1e-3)
    assert widths[2] / widths[0] == pytest.approx(4 / 6, abs=1e-3)


def test_ablations_say_their_difference_from_the_recipe(tmp_path):
    runs = [
        a_result(0.52),
        a_result(0.54, seed=1),
        a_result(0.5, changes={"standardise": False}),
        a_result(0.55, changes={"augmentation": "none"}),
        a_result(0.1, changes={"loss": "triplet"}),
        a_result(0.2, changes={"standardise": False}, bits=24),  # no recipe beside it
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
    told = [entry.first["evaluation"]["map"] for entry in main_entries(entries_of(runs))]
    assert told == [0.52, 0.2]


def test_names_of_folders_decide_nothing(tmp_path):
    runs = [a_result(0.6), a_result(0.4, changes={"loss": "triplet"})]
    renamed = [
        Result({**run.fields, "group": "ablations", "name": f"x{number}"})
        for number, run in enumerate(runs)
    ]
    assert rendered(tmp_path / "one", *runs) == rendered(tmp_path / "two", *renamed)


def test_curves_are_of_recipes_at_the_same_bits_over_minutes(tmp_path):
    looks = [(25, 0.2), (50, 0.35), (100, 0.45)]
    runs = [
        a_result(minutes=8, held_out=looks),
        a_result(minutes=20, held_out=[(50, 0.15), (100, 0.31)], recipe="paper", loss="triplet"),
        a_result(minutes=30, held_out=looks, bits=64),
        a_result(minutes=15, held_out=[(50, 0.3), (100, 0.4)], epochs=60.0),  # longer, and worse
        a_result(held_out=looks, changes={"standardise": False}),
        a_result(held_out=looks, changes={"holdout": 0.5}, recipe="pretrained", minutes=40),
    ]
    assert runs[0].held_out() == [(2.0, 0.2), (4.0, 0.35), (8.0, 0.45)]
    files = rendered(tmp_path / "results", *runs)
    (table,) = (one for one in tables(files["results.md"]) if one[0][0].startswith("minutes"))
    assert table == [
        ["minutes to a held-out mAP of", "0.1", "0.2", "0.3", "0.4"],
        ["best", "2.0", "2.0", "4.0", "8.0"],
        ["paper", "10.0", "20.0", "20.0", "—"],
    ]
    (name,) = (name for name in files if "curves" in name)
    lines = [one for one in svg_of(files[name]).iter(f"{SVG}path") if one.get("class") == "line"]
    assert len(lines) == 2


@pytest.mark.parametrize("longest", [0.4, 1, 7.9, 8.1, 79.9, 80, 93.8, 99.9, 100, 1000])
def test_an_axis_of_minutes_has_a_few_ticks(longest):
    ticks = minutes_axis(longest).ticks
    assert 4 <= len(ticks) <= 9
    assert ticks[0] == 0
    assert ticks[-1] <= longest


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
    assert "# and with --split-seed 1" in page


def test_notes_stand_on_the_page(tmp_path):
    page = rendered(tmp_path / "with", a_result(), notes="Not reached: **all**.\n")["results.md"]
    assert page.endswith("## What was tried, and what is not reached\n\nNot reached: **all**.\n")
    assert "not reached" not in rendered(tmp_path / "without", a_result())["results.md"]


def test_minutes_say_their_machine_where_there_are_several(tmp_path):
    here = {"processor": "P", "gpu": None, "n_usable_cores": 2, "n_threads": 1, "versions": {}}
    there = {**here, "processor": "Q", "n_threads": 2, "versions": {"torch": "2.0"}}
    one, two = a_result(0.5, machine=here), a_result(0.4, machine=there, epochs=9.0)
    page = rendered(tmp_path / "both", one, two)["results.md"]
    assert "P, 2 cores, of which a run had 1 thread (A); Q, 2 cores" in page
    assert "torch 2.0" in page
    rows = [row for row in tables(page)[0][1:] if row[1] == "best"]
    assert [row[-1] for row in rows] == ["10.0 B", "10.0 A"]
    assert "10.0 A" not in rendered(tmp_path / "single", one)["results.md"]


def test_pictures_are_for_everyone(tmp_path):
    looks = [(50, 0.2), (100, 0.4)]
    runs = [
        a_result(0.5, held_out=looks),
        a_result(0.4, bits=24),
        a_result(0.4, held_out=looks, recipe="paper", loss="triplet"),
        a_result(0.3, changes={"loss": "triplet"}),
    ]
    files = rendered(tmp_path / "results", *runs)
    page = files.pop("results.md")
    assert [slug_of(name)[:14] for name in sorted(files)] == [
        "images-results",
        "images-results",
        "images-results",
    ]
    for name, text in files.items():
        svg = svg_of(text)
        assert [one.tag for one in svg[:3]] == [f"{SVG}title", f"{SVG}desc", f"{SVG}style"]
        assert svg.attrib["aria-labelledby"].split() == [svg[0].get("id"), svg[1].get("id")]
        assert svg[0].text
        assert re.search(r"0\.\d+", svg[1].text or "")
        style = svg[2].text or ""
        assert "prefers-color-scheme: dark" in style
        for rule in (".s0 {", ".chart text {", ".series .outer {", ".ground {"):
            assert rule in style
        (alternative,) = re.findall(rf"!\[([^\]]+)\]\({re.escape(name)}\)", page)
        assert re.search(r"0\.\d+", alternative)


# What is collected of a run.


@pytest.fixture(scope="module")
def tiny_runs(tmp_path_factory):
    """A training of two lengths, of which one is evaluated, and a run with baselines."""
    place = tmp_path_factory.mktemp("tiny")
    folder = place / "some"
    write_class_folders(place / "scans", per_class=12)
    split = f"--data {place / 'scans'} --queries-per-class 2 --size 8"
    base = f"train {split} --runs {folder} --loss triplet --steps 2 --batch-size 12 --holdout 0"
    succeed(f"{base} --bits 8,12 --name both --margin 1.5")
    succeed(f"{base} --bits 16 --name one --seed 3")
    save_evaluation(an_evaluation("both-12bits", 12), folder / "both-12bits" / "evaluation.json")
    succeed(f"export --onnx --run {folder / 'one'}")
    outcome = succeed(f"evaluate --run {folder / 'one'} --baselines --json")
    (folder / "one" / "baselines.json").write_text(outcome.stdout)
    (folder / "one" / "machine.json").write_text(json.dumps(machine.describe()))
    return folder


def collected(run: Path) -> dict:
    return collect.collect(Run.open(run), {"scans": "digits as JPEG"})


def test_a_run_is_collected_with_its_numbers(tiny_runs):
    run = tiny_runs / "one"
    result = collected(run)
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert result["evaluation"] == {name: evaluation[name] for name in collect.NUMBERS}
    assert result["evaluation"]["n_queries"] > 0
    assert (
        result["data"] | {"set": "scans", "copy": "digits as JPEG", "protocol": "per-class"}
        == (result["data"])
    )
    assert (result["group"], result["name"], result["bits"]) == ("some", "one", 16)
    assert (result["seed"], result["training"]["n_steps"]) == (3, 2)
    assert result["machine"]["n_cores"] == os.cpu_count()
    assert str(tiny_runs.parent) not in json.dumps(result)


def test_baselines_are_collected_with_the_accuracy_apart(tiny_runs):
    printed = json.loads((tiny_runs / "one" / "baselines.json").read_text())["baselines"]
    result = collected(tiny_runs / "one")
    assert [one["map"] for one in result["baselines"]] == [one["map"] for one in printed]
    assert len(printed) >= 4
    (classifier,) = (one for one in result["baselines"] if one["name"].startswith("class of"))
    assert classifier["name"] in printed[0]["name"]
    assert "accuracy" not in classifier["name"]
    assert f"accuracy {classifier['accuracy']:.3f}" in printed[0]["name"]


def test_itq_on_the_features_of_the_network_is_a_baseline_too(tiny_runs, capsys, monkeypatch):
    run = tiny_runs / "one"
    monkeypatch.setattr(sys, "argv", ["itq.py", str(run)])
    itq.main()
    (run / "feature-baselines.json").write_text(capsys.readouterr().out)
    names = [one["name"] for one in collected(run)["baselines"]]
    assert names[-1] == "ITQ on the same features"
    loaded = load_model(Run.open(run).checkpoint_path())
    features = itq.NetworkFeatures(open_digits(), loaded)
    ((rows, values),) = features.blocks(np.arange(5))
    assert rows.tolist() == list(range(5))
    assert values.shape == (5, features.n_dimensions)
    # The head sees nothing but these features, so it makes the run's logits of them.
    model, pixels = loaded.model.eval(), torch.from_numpy(open_digits().pixels[:5])
    with torch.inference_mode():
        torch.testing.assert_close(model.logits(torch.from_numpy(values)), model(pixels))


def test_what_is_not_ready_is_left_out_with_the_reason(tiny_runs, tmp_path):
    command = [sys.executable, SCRIPTS / "collect.py", tiny_runs, "--to", tmp_path / "to"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "some-both-12bits.json",
        "some-one.json",
    ]
    said = dict(line.rsplit(": left out, ", 1) for line in done.stderr.splitlines())
    assert {Path(path).name: why for path, why in said.items()} == {
        "both": "it is told of by the runs of its code lengths",
        "both-8bits": "it was not evaluated",
    }
    page = write.render(tmp_path / "to")["results.md"]
    for name in ("both-12bits", "one"):
        assert share_text(collected(tiny_runs / name)["evaluation"]["map"]) in page


def test_the_command_of_a_run_makes_the_same_settings(tiny_runs):
    for name, lengths in (("one", (16,)), ("both-12bits", (8, 12))):
        result = collected(tiny_runs / name)
        saved = Run.open(tiny_runs / name).read_config().training.to_dict()
        assert settings_of_command(result["command"], None) == TrainConfig.from_dict(
            {**saved, "lengths": lengths}
        )


def settings_of_command(line: str, size: tuple[int, int] | None = (8, 8)) -> TrainConfig:
    """The settings that a command line stands for, of images of a size (None: of any)."""
    command = COMMANDS["train"]
    context = command.make_context("train", shlex.split(line)[2:], parent=ROOT.context_class(ROOT))
    with context:
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        given = {k: v for k, v in context.params.items() if k in names}
        asked = context.params["size"]
        return make_config(read_settings(given), parse_size(asked) if asked else None, size)


@pytest.mark.parametrize(
    "flags",
    [
        "--bits 12",
        "--bits 12,24 --no-standardise --size 16 --epochs 2.5",
        "--bits 48 --recipe paper --epsilon 0.3 --schedule multistep --milestones 0.2,0.9",
        "--bits 48 --network dnnh --loss triplet --margin 3 --lr 1e-05 --no-nesterov",
        "--bits 48 --recipe paper --network compact --no-channels-last --seed 7",
    ],
)
def test_changed_settings_are_those_that_were_given(flags):
    config = settings_of_command(f"hashkit train {flags}")
    data = {"data": "digits", "protocol": "", "seed": 0, "options": {}}
    saved = {
        "training": config.to_dict(),
        "triplets": None,
        "data": {**data, "query_list": None, "training_list": None},
    }
    changes = collect.changed_settings(saved["training"], "digits")
    line = collect.command(saved, config.lengths, changes)
    assert settings_of_command(line) == config
    unsaid = shlex.split(f"hashkit train {flags}")
    assert len(shlex.split(line)) == len(unsaid)  # nothing that goes without saying


def test_a_changed_split_is_in_the_command():
    saved = {
        "training": settings_of_command("hashkit train --bits 12").to_dict(),
        "triplets": None,
        "data": {
            "data": "/somewhere/photos",
            "root": None,
            "protocol": "unseen-classes",
            "seed": 2,
            "options": {"unseen_classes": ["a cat", "dog"], "training_in_database": False},
            "query_list": None,
            "training_list": None,
        },
    }
    line = collect.command(saved, (12,), {})
    check_parses(line)
    assert line == (
        "hashkit train --data photos --protocol unseen-classes --split-seed 2 "
        "--unseen-classes 'a cat,dog' --no-training-in-database --bits 12"
    )


@pytest.mark.parametrize("n_lines", [0, 1, 60, 61, 1000])
def test_a_thinned_curve_keeps_all_looks_and_the_end(n_lines):
    lines = [
        {"step": step, "epoch": 1, "loss": 1 / 3, "active": 1.0, "images_per_second": 1e6 / 7}
        for step in range(n_lines)
    ]
    looks = [
        {"step": step, "held_out": 0.123456789, "seconds": 2.0} for step in range(0, n_lines, 10)
    ]
    thinned = collect.thinned([*lines, *looks])
    losses = [line for line in thinned if "loss" in line]
    assert [line for line in thinned if "held_out" in line] == looks
    assert len(losses) == min(n_lines, collect.MOST_LOSS_POINTS)
    steps = [line["step"] for line in losses]
    assert steps == sorted(set(steps))
    assert steps[-1:] == [line["step"] for line in lines][-1:]
    assert all(line["loss"] == 0.33333 for line in losses)


# The commands that make the runs.


def run_script(folder: Path, *groups: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", SCRIPTS / "runs.sh", folder, "cifar", *groups],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("$ ") for line in done.stderr.splitlines()]
    return [line.partition(" > ")[0] for line in lines if line.startswith("hashkit ")]


def test_every_command_of_the_runs_parses_and_no_name_comes_twice(tmp_path):
    lines = commands(run_script(tmp_path, "all", DRY_RUN="1"))
    for line in lines:
        check_parses(line)
    trained = [line for line in lines if line.startswith("hashkit train")]
    places = [tuple(re.findall(r"--(?:runs|name) (\S+)", line)) for line in trained]
    assert len(set(places)) == len(trained) > 20
    assert {Path(runs).name for runs, _ in places} == {
        *("paper", "best", "full", "pretrained", "fashion", "unseen", "methods", "ablations"),
        *("seeds", "small"),
    }


def test_what_is_done_is_skipped_and_what_was_cut_off_is_resumed(tmp_path):
    fresh = commands(run_script(tmp_path, "small", DRY_RUN="1"))
    assert sum("--resume" in line for line in fresh) == 0
    for line in fresh:
        if "evaluate" in line:
            run = Path(line.split("--run ")[1].split()[0])
            run.mkdir(parents=True, exist_ok=True)
            kept = "baselines.json" if "--baselines" in line else "evaluation.json"
            (run / kept).write_text("{}")
    assert commands(run_script(tmp_path, "small", DRY_RUN="1")) == []
    (run / "evaluation.json").unlink()
    training = Path(str(run).rpartition("-")[0])
    training.mkdir()
    (training / "config.json").write_text("{}")
    again = commands(run_script(tmp_path, "small", DRY_RUN="1"))
    assert again[0] == f"hashkit train --resume --run {training}"
    assert again[-1] == f"hashkit evaluate --run {run}"


def test_an_unknown_group_is_refused(tmp_path):
    done = run_script(tmp_path, "nonsense", DRY_RUN="1")
    assert (done.returncode, done.stderr) == (2, "there is no group nonsense\n")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_small_runs_end_on_the_page(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = {"PATH": path, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    assert commands(run_script(tmp_path / "runs", "small", **made))
    assert commands(run_script(tmp_path / "runs", "small", **made)) == []
    for run in collect.find_runs([tmp_path / "runs"]):
        if not collect.not_ready(run):
            result = collect.collect(run, {})
            (tmp_path / f"{result['name']}.json").write_text(json.dumps(result))
            assert result["evaluation"]["map"] > 0.3  # chance is 0.1
            assert result["machine"]["n_threads"] == 1
    page = write.render(tmp_path)["results.md"]
    assert [row[0] for row in tables(page)[0][1:]] == ["12†", "24†"]
