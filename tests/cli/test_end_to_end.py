"""The whole path, by the commands that a user types, on real images."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import oracles
import pytest
from cli_samples import (
    OWN_NETWORK,
    QUICK,
    break_image,
    cut_image,
    fail,
    succeed,
    write_class_folders,
    write_digit,
)
from PIL import Image
from small_models import linear_model

import hashkit
from hashkit.codes import binarize, from_hex
from hashkit.datasets.sets import open_image_set
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

pytestmark = pytest.mark.end_to_end

SMALL = f"{QUICK} {OWN_NETWORK}"
N_BITS = 24
HIT, MISS = (21, 128, 61), (200, 30, 30)


@contextlib.contextmanager
def folder(path: Path):
    """Work in a folder, as a user does."""
    before = Path.cwd()
    os.chdir(path)
    try:
        yield path
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which digits went through every command; read only."""
    with folder(tmp_path_factory.mktemp("digits")) as place:
        outcomes = {
            "train": succeed(
                f"train --steps 6 --bits {N_BITS} --batch-size 20 --training-per-class 8 --json"
            ),
            "export": succeed("export --onnx --json"),
            "encode": succeed("encode --json"),
            "evaluate": succeed("evaluate --json"),
        }
    return place, outcomes


@pytest.fixture
def work(finished, monkeypatch):
    """The finished folder as the current one."""
    place, _ = finished
    monkeypatch.chdir(place)
    return Run.newest(Path("runs"))


@pytest.fixture
def copy(finished, tmp_path, monkeypatch):
    """A copy of the finished folder, to be changed."""
    place, _ = finished
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Run.newest(Path("runs"))


def bit_strings(bank: hashkit.Bank) -> list[str]:
    return [oracles.bit_string(code, bank.n_bits) for code in bank.codes]


@pytest.fixture(scope="module")
def rankings(finished):
    """For each query, the database as (distance, is relevant), in (distance, row) order."""
    run = Run.newest(finished[0] / "runs")
    queries, database = hashkit.Bank.open(run.queries_path), hashkit.Bank.open(run.bank_path)
    codes, labels = bit_strings(database), database.labels.tolist()
    return [
        [(distance, labels[row] == label) for distance, row in oracles.ranking(code, codes)]
        for code, label in zip(bit_strings(queries), queries.labels.tolist(), strict=True)
    ]


# The JSON of each command


def test_train_says_what_it_made(finished, work):
    summary = finished[1]["train"].json
    assert summary["step"] == summary["n_steps"] == 6
    assert Path(summary["run"]) == work.path
    assert Path(summary["checkpoint"]) == work.checkpoint_path()
    assert json.loads(work.summary_path.read_text()) == summary


def test_export_says_what_it_verified(finished, work):
    report = finished[1]["export"].json
    assert Path(report["path"]) == work.model_path
    assert report["n_bytes"] == work.model_path.stat().st_size
    assert report["model_sha256"] == hashkit.Encoder.load(work.model_path, "cpu").model_sha256
    assert report["parity"]["n_images"] == 80


def test_encode_says_what_the_banks_hold(finished, work):
    banks = finished[1]["encode"].json["banks"]
    assert [Path(bank["path"]) for bank in banks] == [work.queries_path, work.bank_path]
    assert [bank["n_rows"] for bank in banks] == [200, 1597]
    assert not any(bank["was_complete"] for bank in banks)


def test_evaluate_has_the_fields_that_are_promised(finished):
    report = finished[1]["evaluate"].json
    promised = {
        *("bits", "n_queries", "n_database", "map", "map_best", "map_worst", "map_index"),
        *("map_at", "convention", "precision_at", "recall_at", "precision_radius_2"),
        *("empty_radius_2", "per_label", "pr_curve"),
    }
    assert promised <= report.keys()
    assert (report["bits"], report["n_queries"], report["n_database"]) == (N_BITS, 200, 1597)
    assert report["convention"] == "all-relevant"
    assert list(report["map_at"]) == ["1000"]
    assert list(report["per_label"]) == [str(digit) for digit in range(10)]
    assert [point["radius"] for point in report["pr_curve"]] == list(range(N_BITS + 1))


# The numbers


def test_the_map_in_row_order_is_that_of_the_codes_in_the_banks(finished, rankings):
    report = finished[1]["evaluate"].json
    values = []
    for ranking in rankings:
        hits, total = 0, 0.0
        for rank, (_, is_relevant) in enumerate(ranking, start=1):
            if is_relevant:
                hits += 1
                total += hits / rank
        values.append(total / hits)
    assert report["map_index"] == pytest.approx(np.mean(values), abs=1e-9)
    assert report["map_worst"] <= report["map"] <= report["map_best"]
    # Six steps teach something: random codes have about 0.1, as there are ten digits.
    assert report["map"] > 0.15


def test_the_map_over_tie_orders_is_the_closed_form_of_the_banks(finished, rankings):
    values = []
    for ranking in rankings:
        n_before = hits_before = 0
        total = 0.0
        for distance in range(N_BITS + 1):
            tied = [is_relevant for d, is_relevant in ranking if d == distance]
            n, r = len(tied), sum(tied)
            for t in range(n_before + 1, n_before + n + 1):
                others = (t - n_before - 1) * (r - 1) / (n - 1) if n > 1 else 0
                total += r / n * (hits_before + 1 + others) / t
            n_before, hits_before = n_before + n, hits_before + r
        values.append(total / hits_before)
    assert finished[1]["evaluate"].json["map"] == pytest.approx(np.mean(values), abs=1e-9)


def test_the_codes_are_those_of_torch_and_of_the_encoder(work):
    import torch

    from hashkit.training.checkpoint import load_model

    bank = hashkit.Bank.open(work.bank_path)
    digits = open_image_set("digits")
    row_of = {name: row for row, name in enumerate(digits.names)}
    pixels = digits.pixels[[row_of[name] for name in bank.names]]
    assert np.array_equal(bank.codes, hashkit.Encoder.load(work.model_path, "cpu").encode(pixels))
    with torch.inference_mode():
        model = load_model(work.checkpoint_path()).model
        logits = torch.cat([model(part) for part in torch.from_numpy(pixels).split(400)]).numpy()
    sure = np.abs(logits) > 1e-3
    assert sure.mean() > 0.99
    torch_bits = np.unpackbits(binarize(logits), axis=1, count=N_BITS)
    bank_bits = np.unpackbits(bank.codes, axis=1, count=N_BITS)
    assert np.array_equal(torch_bits[sure], bank_bits[sure])


def test_queries_and_database_are_all_digits_and_share_none(work):
    queries, database = hashkit.Bank.open(work.queries_path), hashkit.Bank.open(work.bank_path)
    assert sorted([*queries.names, *database.names]) == list(open_image_set("digits").names)
    labels = open_image_set("digits").labels
    for bank in (queries, database):
        rows = [int(name.partition("/")[2]) for name in bank.names]
        assert np.array_equal(bank.labels, labels[rows])


# Search


@pytest.mark.parametrize("row", [5, 1234])
def test_an_image_file_finds_what_a_brute_force_ranking_finds(work, tmp_path, row):
    image = write_digit(row, tmp_path / "img.png")
    (found,) = succeed(f"search --query {image} --json --k 50").json["queries"]
    database = hashkit.Bank.open(work.bank_path)
    query = hashkit.Encoder.load(work.model_path, "cpu").encode(image)[0]
    assert found["query"] == str(image)
    assert np.array_equal(from_hex(found["code"], N_BITS), query)
    expected = oracles.ranking(oracles.bit_string(query, N_BITS), bit_strings(database))[:50]
    assert found["hits"] == [
        {
            "rank": rank,
            "row": row,
            "distance": distance,
            "name": database.names[row],
            "label": str(database.labels[row]),
        }
        for rank, (distance, row) in enumerate(expected, start=1)
    ]


def test_a_radius_finds_every_row_within_it(work):
    (found,) = succeed("search --query digits/0000 --radius 5 --json").json["queries"]
    codes = bit_strings(hashkit.Bank.open(work.bank_path))
    query = oracles.bit_string(from_hex(found["code"], N_BITS), N_BITS)
    near = [(d, row) for d, row in oracles.ranking(query, codes) if d <= 5]
    assert [(hit["distance"], hit["row"]) for hit in found["hits"]] == near
    assert near
    assert found["label"] == "0"


def test_several_queries_search_several_banks_with_consecutive_rows(work, tmp_path):
    image = write_digit(5, tmp_path / "img.png")
    bank, queries = work.bank_path, work.queries_path
    command = f"search --query {image} --query digits/0000 --bank {bank} --bank {queries} --json"
    found = succeed(f"{command} --k 1797").json["queries"]
    assert [one["query"] for one in found] == [str(image), "digits/0000"]
    # The query is a row of the second bank, so it is found there at distance 0.
    row = 1597 + list(hashkit.Bank.open(queries).names).index("digits/0000")
    (itself,) = [hit for hit in found[1]["hits"] if hit["name"] == "digits/0000"]
    assert (itself["row"], itself["distance"]) == (row, 0)
    assert sorted(hit["row"] for hit in found[0]["hits"]) == list(range(1797))


def test_the_table_names_hits_and_misses(work):
    succeeded = succeed("search --query digits/0000 --k 40")
    (found,) = succeed("search --query digits/0000 --k 40 --json").json["queries"]
    rows = [line for line in succeeded.stdout.splitlines() if "digits/" in line][1:]
    assert len(rows) == 40
    for line, hit in zip(rows, found["hits"], strict=True):
        assert hit["name"] in line
        assert ("hit" in line, "miss" in line) == (hit["label"] == "0", hit["label"] != "0")


def test_a_picture_shows_queries_beside_hits_and_misses(work, tmp_path):
    path = tmp_path / "pictures" / "search.png"
    first, *_, last = hashkit.Bank.open(work.queries_path).names
    command = f"search --query {first} --query {last} --k 8 --json --save-picture {path}"
    found = succeed(command).json["queries"]
    with Image.open(path) as opened:
        picture = np.asarray(opened.convert("RGB"))
    height, width = picture.shape[:2]
    one_row = 10 + 112 + 4 + 2 * 17 + 10
    assert (height, width) == (one_row * 2 - 10, 20 + 112 + 26 + 8 * 122 - 10)
    marks = {mark: np.argwhere((picture == mark).all(axis=2)) for mark in (HIT, MISS)}
    is_hit = [hit["label"] == one["label"] for one in found for hit in one["hits"]]
    assert 0 < sum(is_hit) < len(is_hit)
    # A frame of 4 pixels, and a corner of 22 x 22, some of it under the white mark.
    frame, corner = 4 * 4 * (112 - 4), 18 * 18
    for mark, n_tiles in ((HIT, sum(is_hit)), (MISS, len(is_hit) - sum(is_hit))):
        n_pixels, rest = divmod(len(marks[mark]), n_tiles)
        assert rest == 0
        assert frame < n_pixels < frame + corner


def test_the_picture_of_an_image_file_has_no_marks(work, tmp_path):
    image = write_digit(5, tmp_path / "img.png")
    succeed(f"search --query {image} --k 3 --save-picture {tmp_path}/out.png")
    with Image.open(tmp_path / "out.png") as opened:
        colours = set(opened.convert("RGB").get_flattened_data())
    assert len(colours) > 20
    assert not {HIT, MISS} & colours


# Going on


def test_a_second_encode_changes_nothing(work):
    files = [work.queries_path, work.bank_path]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    again = succeed("encode --json")
    assert all(bank["was_complete"] for bank in again.json["banks"])
    assert again.stderr.count("is already complete") == 2
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_search_alone_encodes_the_missing_database(copy, tmp_path):
    codes = np.array(hashkit.Bank.open(copy.bank_path).codes)
    copy.bank_path.unlink()
    image = write_digit(5, tmp_path / "img.png")
    outcome = succeed(f"search --query {image} --json")
    assert "encoding bank.h5" in outcome.stderr
    assert len(outcome.json["queries"][0]["hits"]) == 10
    assert np.array_equal(hashkit.Bank.open(copy.bank_path).codes, codes)


def test_evaluate_alone_encodes_what_is_missing(copy, finished):
    copy.bank_path.unlink()
    copy.queries_path.unlink()
    assert succeed("evaluate --json").json == finished[1]["evaluate"].json


def test_evaluate_takes_the_banks_as_files(work, finished):
    named = succeed(f"evaluate {work.queries_path} {work.bank_path} --json")
    assert named.json == finished[1]["evaluate"].json
    assert "newest run" not in named.stderr


def test_evaluate_takes_codes_made_elsewhere(work, finished, tmp_path):
    for name in ("queries", "bank"):
        bank = hashkit.Bank.open(work.path / f"{name}.h5")
        (tmp_path / f"{name}.txt").write_text("\n".join(bit_strings(bank)) + "\n")
        (tmp_path / f"{name}-labels.txt").write_text("\n".join(map(str, bank.labels)) + "\n")
        bits = np.array([list(code) for code in bit_strings(bank)]).astype(int)
        np.savez(tmp_path / f"{name}.npz", codes=2 * bits - 1, labels=bank.labels)
    text = succeed(
        f"evaluate {tmp_path}/queries.txt {tmp_path}/bank.txt --json "
        f"--query-labels {tmp_path}/queries-labels.txt "
        f"--database-labels {tmp_path}/bank-labels.txt"
    )
    archive = succeed(f"evaluate {tmp_path}/queries.npz {tmp_path}/bank.npz --json")
    assert text.json == archive.json == finished[1]["evaluate"].json


def test_a_finished_run_is_not_trained_again(copy):
    before = copy.summary_path.read_text()
    outcome = succeed("train --resume --json")
    assert "trained already" in outcome.stderr
    assert outcome.json == json.loads(before)
    assert copy.summary_path.read_text() == before


def test_the_newest_run_is_used_and_named(copy):
    later = Run.create(Path("runs"), "later", RunConfig(data=DataSpec()))
    linear_model(later.model_path, n_bits=8, height=8, width=8)
    outcome = succeed("evaluate --json")
    assert "using the newest run, runs/later" in outcome.stderr
    assert outcome.json["bits"] == 8
    # The older one is still there by its name.
    assert succeed(f"evaluate --run {copy.path} --json").json["bits"] == N_BITS


# Other kinds of images


def test_a_folder_of_class_folders_with_a_broken_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "photos", per_class=12)
    break_image(tmp_path / "photos" / names[0])
    cut_image(tmp_path / "photos" / names[1])
    trained = succeed(f"train --data photos {SMALL} --queries-per-class 2 --json")
    run = Run.open(Path(trained.json["run"]))
    succeed(f"export --onnx {OWN_NETWORK}")
    banks = succeed("encode --json").json["banks"]
    queries, whole = banks  # the second one holds all images
    assert queries["n_rows"] + queries["n_skipped"] == 6
    assert whole["n_skipped"] == 2
    assert whole["n_rows"] == len(names) - 2
    listed = [
        json.loads(line)
        for bank in banks
        if bank["faults_path"]
        for line in Path(bank["faults_path"]).read_text().splitlines()
    ]
    assert {fault["name"]: fault["reason"] for fault in listed} == {
        names[0]: "broken",
        names[1]: "truncated",
    }
    in_training = {
        json.loads(line)["name"] for line in (run.path / "faults.jsonl").read_text().splitlines()
    }
    assert in_training <= set(names[:2])
    assert in_training
    assert succeed("evaluate --json").json["n_database"] == 30 - len(in_training)
    query = list(hashkit.Bank.open(run.queries_path).names)[-1]
    by_path = succeed(f"search --query photos/{query} --k 40 --json").json["queries"][0]
    by_name = succeed(f"search --query {query} --k 40 --json").json["queries"][0]
    assert by_path["hits"] == by_name["hits"]
    assert by_path["code"] == by_name["code"]
    assert by_name["label"] == "two"
    assert {hit["label"] for hit in by_name["hits"]} == {"nought", "one", "two"}


def test_strict_stops_at_a_broken_image(finished, tmp_path, monkeypatch):
    model = Run.newest(finished[0] / "runs").model_path
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "photos")
    break_image(tmp_path / "photos" / names[7])
    assert names[7] in fail(f"train --data photos {QUICK} --strict")
    assert not Path("runs").exists()
    assert names[7] in fail(f"encode photos --model {model} --out bank.h5 --strict --batch-size 2")
    # What came before it is kept, and without --strict the same command continues.
    assert len(hashkit.Bank.open("bank.h5")) == 7
    (bank,) = succeed(f"encode photos --model {model} --out bank.h5 --json").json["banks"]
    assert (bank["n_resumed"], bank["n_rows"], bank["n_skipped"]) == (7, 17, 1)


@pytest.mark.slow
def test_a_list_file_with_several_labels_per_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "images", per_class=14)
    hot = {"nought": "1 0 1", "one": "0 1 0", "two": "0 1 1"}
    lines = [f"images/{name} {hot[name.partition('/')[0]]}\n" for name in names]
    Path("list.txt").write_text("".join(lines))
    succeed(f"train --data list.txt {SMALL} --name multi")
    succeed(f"export --onnx {OWN_NETWORK}")
    succeed("encode")
    report = succeed("evaluate --json").json
    queries, database = (hashkit.Bank.open(f"runs/multi/{name}.h5") for name in ("queries", "bank"))
    assert (report["n_queries"], report["n_database"]) == (len(queries), len(database))
    values = []
    for code, labels in zip(bit_strings(queries), queries.labels, strict=True):
        order = [row for _, row in oracles.ranking(code, bit_strings(database))]
        relevant = [bool((database.labels[row] & labels).any()) for row in order]
        values.append(oracles.ap_all_relevant(relevant, len(relevant)))
    assert report["map_index"] == pytest.approx(float(sum(values) / len(values)))
    (found,) = succeed(f"search --query {queries.names[0]} --json --k 100").json["queries"]
    shown = {hit["name"]: hit["label"] for hit in found["hits"]}
    for name, label in shown.items():
        expected = [str(n) for n, on in enumerate(hot[name.split("/")[1]].split()) if on == "1"]
        assert label == (expected if len(expected) > 1 else expected[0])


def test_a_triplet_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "images", per_class=8, suffix=".png")
    by_class = [names[start : start + 8] for start in (0, 8, 16)]
    lines = [
        f"images/{a} images/{b} images/{other}\n"
        for at, mine in enumerate(by_class)
        for a, b, other in zip(mine, mine[1:], by_class[(at + 1) % 3], strict=False)
    ]
    Path("triplets.txt").write_text("".join(lines))
    succeed(f"train --triplets triplets.txt {SMALL} --name triplets")
    succeed(f"export --onnx {OWN_NETWORK}")
    assert "learned from a triplet list" in fail("encode")
    assert "learned from a triplet list" in fail("search --query images/two/0002.png")
    (bank,) = succeed("encode images --out photos.h5 --json").json["banks"]
    assert bank["n_rows"] == 24
    query = f"images/{names[-1]}"
    (found,) = succeed(f"search --query {query} --bank photos.h5 --k 24 --json").json["queries"]
    assert {"name": names[-1], "distance": 0} in [
        {"name": hit["name"], "distance": hit["distance"]} for hit in found["hits"]
    ]
    codes = bit_strings(hashkit.Bank.open("photos.h5"))
    code = oracles.bit_string(from_hex(found["code"], 12), 12)
    expected = [row for _, row in oracles.ranking(code, codes)]
    assert [hit["row"] for hit in found["hits"]] == expected


def test_appending_a_second_folder_adds_its_rows(finished, tmp_path, monkeypatch):
    model = Run.newest(finished[0] / "runs").model_path
    monkeypatch.chdir(tmp_path)
    first = write_class_folders(tmp_path / "first", per_class=2)
    second = write_class_folders(tmp_path / "second", per_class=3)
    command = f"--model {model} --out both.h5 --json"
    succeed(f"encode first {command}")
    (bank,) = succeed(f"encode second {command} --append").json["banks"]
    assert (bank["n_rows"], bank["n_encoded"]) == (15, 9)
    assert list(hashkit.Bank.open("both.h5").names) == first + second


def test_a_part_of_a_split_is_encoded_alone(work, tmp_path):
    out = tmp_path / "part.h5"
    succeed(f"encode digits --protocol per-class --part queries --out {out}")
    part, queries = hashkit.Bank.open(out), hashkit.Bank.open(work.queries_path)
    assert list(part.names) == list(queries.names)
    assert np.array_equal(part.codes, queries.codes)


def test_names_are_printed_as_they_are(finished, tmp_path, monkeypatch):
    model = Run.newest(finished[0] / "runs").model_path
    monkeypatch.chdir(tmp_path)
    name = "a[red]b[/bold] :cat: δ.png"
    write_digit(3, tmp_path / "odd[blue]" / name.replace("/", "-"))
    (odd,) = (tmp_path / "odd[blue]").iterdir()
    succeed(f"encode 'odd[blue]' --model {model} --out odd.h5")
    shown = succeed(f"search --query '{odd}' --bank odd.h5 --model {model}")
    assert shown.stdout.count(odd.name) == 2
    assert (
        succeed(f"search --query '{odd}' --bank odd.h5 --model {model} --json").json["queries"][0][
            "hits"
        ][0]["name"]
        == odd.name
    )
