"""The results page shows the numbers and commands of the runs in docs/results."""

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

import numpy as np
import pytest
import torch
from cli_samples import COMMANDS, ROOT, check_parses
from report_samples import an_evaluation
from training_samples import TinyNetwork

from hashkit.cli.flags import parse_size
from hashkit.cli.train_options import read_settings
from hashkit.datasets.digits import open_digits
from hashkit.manifest import Manifest
from hashkit.report.evaluations import save_evaluation
from hashkit.report.figures import share_text
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run, write_json
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.training.checkpoint import TrainedModel
from hashkit.training.model import HashModel
from hashkit.workflow.settings import make_config

SCRIPTS = Path(__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(SCRIPTS))

import collect  # noqa: E402
import itq  # noqa: E402
import machine  # noqa: E402
import write  # noqa: E402
from records import Result, ablations, comparisons, entries_of, main_entries  # noqa: E402

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
    """An invented run; by default 100 steps with the recipe ``best`` on CIFAR-10."""
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
    """The page of some runs, written to and read from files."""
    folder.mkdir()
    for number, one in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(one.fields))
    if notes:
        (folder / "notes.md").write_text(notes)
    return write.render(folder)


def tables(page: str) -> list[list[list[str]]]:
    """Cells of the tables of a page, header first, without separator lines."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in block.splitlines()
            if not set(line) <= set("|- ")
        ]
        for block in blocks
    ]


def column(table: list[list[str]], name: str) -> list[str]:
    return [row[table[0].index(name)] for row in table[1:]]


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


def test_a_run_that_learned_from_unlabelled_images_has_a_protocol_of_its_own(runs):
    saved = Run.open(runs / "one").read_config().to_dict()
    assert collect.protocol_of(saved) == "per-class"
    saved["training"]["unlabelled_ratio"] = 3
    assert collect.protocol_of(saved) == "per-class with unlabelled images"
    saved["data"]["protocol"] = "cifar10-59k-unlabelled"
    assert collect.protocol_of(saved) == "cifar10-59k-unlabelled"


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


# Collecting runs


@pytest.fixture
def runs(tmp_path):
    """A folder with a finished run, and a training of two lengths of which one is evaluated."""
    folder = tmp_path / "some"
    one = finished(folder, "one", lengths=(16,), seed=3)
    save_evaluation(an_evaluation("one", 16), one.path / "evaluation.json")
    (one.path / "machine.json").write_text(json.dumps(machine.describe()))
    measured = {"name": "class of a linear classifier on x (accuracy 0.812)", **EVALUATION}
    (one.path / "baselines.json").write_text(json.dumps({"baselines": [measured]}))
    finished(folder, "both", lengths=(8, 12))
    for n_bits in (8, 12):
        finished(
            folder, f"both-{n_bits}bits", lengths=(n_bits,), shared=SharedTraining("both", (8, 12))
        )
    save_evaluation(an_evaluation("both", 12), folder / "both-12bits" / "evaluation.json")
    return folder


def finished(folder: Path, name: str, shared: SharedTraining | None = None, **changes) -> Run:
    """The run folder of a finished training, without its model."""
    training = TrainConfig(
        loss="triplet", margin=1.5, height=8, width=8, holdout=0, steps=2, **changes
    )
    config = RunConfig(DataSpec(data="scans"), training, device="cpu", shared=shared)
    run = Run.create(folder, name, config)
    write_json(
        run.summary_path, {"run": "runs/x", "checkpoint": "best", "n_steps": 2, "seconds": 6.0}
    )
    return run


def collected(run: Path) -> dict:
    return collect.collect(Run.open(run), {"scans": "digits as JPEG"})


def test_a_run_is_collected_with_the_numbers_of_its_evaluation(runs):
    result = collected(runs / "one")
    evaluation = json.loads((runs / "one" / "evaluation.json").read_text())
    assert result["evaluation"] == {name: evaluation[name] for name in collect.NUMBERS}
    place = {"set": "scans", "copy": "digits as JPEG", "protocol": "per-class"}
    assert result["data"] | place == result["data"]
    assert (result["group"], result["name"], result["bits"]) == ("some", "one", 16)
    assert (result["seed"], result["training"]) == (3, {"n_steps": 2, "seconds": 6.0})
    assert result["machine"]["n_cores"] == os.cpu_count()
    (baseline,) = result["baselines"]
    assert baseline["name"] == "class of a linear classifier on x"
    assert (baseline["accuracy"], baseline["map"]) == (0.812, EVALUATION["map"])
    assert "/" not in json.dumps(result)


@pytest.mark.end_to_end
def test_runs_that_are_not_ready_are_left_out_with_a_reason(runs, tmp_path):
    command = [sys.executable, SCRIPTS / "collect.py", runs, "--to", tmp_path / "to"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    left_out = dict(line.rsplit(": left out, ", 1) for line in done.stderr.splitlines())
    assert {Path(path).name: reason for path, reason in left_out.items()} == {
        "both": "its code lengths have their own runs",
        "both-8bits": "it was not evaluated",
    }
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "some-both-12bits.json",
        "some-one.json",
    ]
    page = write.render(tmp_path / "to")["results.md"]
    for name in ("both-12bits", "one"):
        assert share_text(collected(runs / name)["evaluation"]["map"]) in page


def test_the_command_of_a_run_gives_its_settings(runs):
    for name, lengths in (("one", (16,)), ("both-12bits", (8, 12))):
        saved = Run.open(runs / name).read_config().training.to_dict()
        assert settings_of_command(collected(runs / name)["command"], None) == (
            TrainConfig.from_dict({**saved, "lengths": lengths})
        )


def test_features_for_itq_are_the_input_of_the_head():
    torch.manual_seed(0)
    model = HashModel(
        TinyNetwork(0.0),
        lengths=(6,),
        size=(8, 8),
        mean=torch.full((3, 1, 1), 127.0),
        std=torch.full((3, 1, 1), 64.0),
        standardise=True,
        mirror=True,
    ).eval()
    features = itq.NetworkFeatures(open_digits(), TrainedModel(model, Manifest(6, 8, 8)))
    ((rows, values),) = features.blocks(np.arange(5))
    assert rows.tolist() == list(range(5))
    assert values.shape == (5, features.n_dimensions)
    # The head is linear, so it maps mean features to the mean logits of image and mirror image.
    pixels = torch.from_numpy(open_digits().pixels[:5])
    with torch.inference_mode():
        torch.testing.assert_close(model.logits(torch.from_numpy(values)), model(pixels))


def settings_of_command(line: str, size: tuple[int, int] | None = (8, 8)) -> TrainConfig:
    """The settings of a command line, for images of a size (None: any size)."""
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
        "--bits 12,24 --no-standardise --size 16 --epochs 2.5",
        "--bits 48 --recipe paper --epsilon 0.3 --schedule multistep --milestones 0.2,0.9",
        "--bits 48 --network dnnh --loss triplet --margin 3 --lr 1e-05 --no-nesterov",
    ],
)
def test_a_command_contains_exactly_the_given_settings(flags):
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
    expected = shlex.split(f"hashkit train {flags}")
    assert len(shlex.split(line)) == len(expected)  # no defaults


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


def test_a_thinned_curve_keeps_all_validations_and_the_last_line():
    lines = [
        {"step": step, "epoch": 1, "loss": 1 / 3, "active": 1.0, "images_per_second": 1e6 / 7}
        for step in range(1000)
    ]
    validations = [
        {"step": step, "held_out": 0.123456789, "seconds": 2.0} for step in range(0, 1000, 10)
    ]
    thinned = collect.thinned([*lines, *validations])
    assert [line for line in thinned if "held_out" in line] == validations
    steps = [line["step"] for line in thinned if "loss" in line]
    assert steps == sorted(set(steps))
    assert (len(steps), steps[-1]) == (collect.MOST_LOSS_POINTS, 999)


# Commands that create the runs


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


@pytest.mark.end_to_end
def test_every_command_of_the_runs_parses_and_names_are_unique(tmp_path):
    lines = commands(run_script(tmp_path, "all", DRY_RUN="1"))
    for line in lines:
        check_parses(line)
    trained = [line for line in lines if line.startswith("hashkit train")]
    places = [tuple(re.findall(r"--(?:runs|name) (\S+)", line)) for line in trained]
    assert len(set(places)) == len(trained) > 20
    assert {Path(runs).name for runs, _ in places} == {
        *("paper", "best", "full", "pretrained", "fashion", "unseen", "methods", "ablations"),
        *("seeds", "semi", "small"),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_small_runs_can_be_made_and_shown(tmp_path):
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
