"""Example queries with their nearest images, and how images are found."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import oracles
from cli_samples import succeed, write_class_folders
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_samples import an_evaluation, code_set, evaluated, examples_of, page_of
from small_models import linear_model

import hashkit
from hashkit.datasets.digits import open_digits
from hashkit.report.examples import choose_queries, find_examples
from hashkit.workflow.row_images import RowImages


def test_chosen_queries_are_the_best_the_median_and_the_worst():
    scores = np.linspace(0.01, 0.99, 99)
    chosen = choose_queries(scores, np.arange(99), 3)
    assert chosen == {"best": [98, 97, 96], "median": [49, 50, 48], "worst": [0, 1, 2]}


def test_chosen_queries_have_different_labels_if_possible():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0])
    labels = np.array([0, 0, 1, 0, 1, 1, 2, 2, 2])
    chosen = choose_queries(scores, labels, 2)
    assert chosen["best"] == [0, 2]
    assert chosen["worst"] == [7, 5]  # the last has no relevant image, 6 has the label of 7
    assert len({row for rows in chosen.values() for row in rows}) == 6
    multi = np.eye(3, dtype=np.uint8)[labels]
    assert choose_queries(scores, multi, 2) == chosen


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), max_size=12),
    st.integers(1, 4),
)
def test_no_query_is_chosen_twice_or_with_score_0(values, n_wanted):
    scores = np.array(values)
    chosen = choose_queries(scores, np.arange(len(values)) % 2, n_wanted)
    rows = [row for group in chosen.values() for row in group]
    assert len(set(rows)) == len(rows) == min(3 * n_wanted, int((scores > 0).sum()))
    assert all(scores[row] > 0 for row in rows)
    assert all(len(group) <= n_wanted for group in chosen.values())


def test_nearest_images_match_a_brute_force_ranking():
    queries, database, report = evaluated()
    codes = [oracles.bit_string(code, 16) for code in database.codes]
    groups = examples_of()
    assert [group.title for group in groups] == ["Best", "Median", "Worst"]
    assert [len(group.examples) for group in groups] == [3, 3, 3]
    for example in (one for group in groups for one in group.examples):
        row = list(queries.names).index(example.query.name)
        assert example.average_precision == report.average_precision[row]
        ranking = oracles.ranking(oracles.bit_string(queries.codes[row], 16), codes)[:10]
        assert [(hit.distance, hit.name) for hit in example.nearest] == [
            (distance, database.names[hit]) for distance, hit in ranking
        ]
        assert [hit.is_relevant for hit in example.nearest] == [
            database.labels[hit] == queries.labels[row] for _, hit in ranking
        ]
        assert example.query.labels == (("cat", "dog", "owl")[queries.labels[row]],)
    assert {hit.is_relevant for one in groups[2].examples for hit in one.nearest} == {True, False}


def test_a_query_is_not_shown_among_its_own_nearest_images():
    _, database, _ = evaluated()
    report = hashkit.evaluate(database, database, exclude_self=True)
    codes = [oracles.bit_string(code, 16) for code in database.codes]
    groups = find_examples(
        database, [database], report.average_precision, lambda *_: None, exclude_self=True
    )
    for example in (one for group in groups for one in group.examples):
        row = list(database.names).index(example.query.name)
        ranking = oracles.ranking(codes[row], codes)
        expected = [database.names[hit] for _, hit in ranking if hit != row][:10]
        assert [hit.name for hit in example.nearest] == expected


def test_labels_are_matched_by_name_and_by_number():
    queries, database, report = evaluated()
    other_order = dataclasses.replace(
        database, labels=(database.labels + 1) % 3, class_names=("owl", "cat", "dog")
    )
    # The position of a name is not its number.
    numbered = dataclasses.replace(
        database, labels=np.array([1, 2, 0])[database.labels], class_names=("2", "0", "1")
    )
    numbers = dataclasses.replace(queries, class_names=())
    multi = dataclasses.replace(database, labels=np.eye(3, dtype=np.uint8)[database.labels])
    marks = []
    for one in (database, other_order, numbered, multi):
        own = numbers if one is numbered else queries
        groups = find_examples(own, [one], report.average_precision, lambda *_: None)
        marks.append(
            [hit.is_relevant for group in groups for e in group.examples for hit in e.nearest]
        )
    assert marks[0] == marks[1] == marks[2] == marks[3]


def test_deleted_queries_are_not_chosen():
    queries, database, _ = evaluated()
    deleted = np.arange(len(queries)) < 6
    left = dataclasses.replace(queries, deleted=deleted)
    report = hashkit.evaluate(left, database)
    groups = find_examples(left, [database], report.average_precision, lambda *_: None)
    for example in (one for group in groups for one in group.examples):
        row = list(queries.names).index(example.query.name)
        assert row >= 6
        assert example.average_precision == report.average_precision[row - 6]


def test_images_are_embedded_in_the_page():
    pixels = {}

    def find(codes, row):
        image = np.random.default_rng(row).integers(0, 255, (8, 8, 3), np.uint8)
        pixels[codes.names[row]] = image
        return image

    example = examples_of(find)[0].examples[0]
    kind, _, data = example.query.data.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert np.array_equal(np.asarray(image), pixels[example.query.name])
    page = page_of(an_evaluation(), examples=examples_of(find))
    assert example.query.data in [image["src"] for image in page.all("img")]
    assert len(page.all("img")) == 9 * 11
    assert "not found" not in page.text


def test_large_images_are_scaled_down():
    large = np.random.default_rng(0).integers(0, 255, (400, 800, 3), np.uint8)
    _, _, data = examples_of(lambda *_: large)[0].examples[0].query.data.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (112, 56)
    assert len(data) < 20_000


def test_hits_and_misses_have_marks():
    groups = examples_of()
    n_hits = sum(hit.is_relevant for group in groups for e in group.examples for hit in e.nearest)
    page = page_of(an_evaluation(), examples=groups)
    assert 0 < n_hits < 90
    assert page.text.count("✓") == n_hits + 1  # and once in the key
    assert page.text.count("✗") == 90 - n_hits + 1


def test_missing_images_are_noted_and_shown_by_name(tmp_path):
    broken = tmp_path / "a.png"
    broken.write_bytes(b"no image")
    for source in (None, broken, tmp_path / "none.png"):
        groups = examples_of(lambda *_, source=source: source)
        page = page_of(an_evaluation(), examples=groups)
        assert "The images were not found" in page.text
        assert groups[0].examples[0].nearest[0].name in page.text
        assert page.all("img") == []
    some = examples_of(lambda _, row: np.zeros((8, 8, 3), np.uint8) if row % 2 else None)
    assert re.search(
        r"\d+ of 99 images were not found", page_of(an_evaluation(), examples=some).text
    )


def test_codes_without_names_are_named_by_row():
    queries, database, report = evaluated()
    nameless = dataclasses.replace(database, names=())
    groups = find_examples(queries, [nameless], report.average_precision, RowImages())
    assert re.fullmatch(r"row \d+", groups[0].examples[0].nearest[0].name)


# Finding images


def test_names_of_a_code_set_may_be_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cat").mkdir()
    Path("cat/000.png").write_bytes(b"x")
    queries = code_set(6, 16, 0)
    assert RowImages()(queries, 0) == Path("cat/000.png")
    assert RowImages()(queries, 1) is None


def test_images_of_a_bank_are_found_in_its_image_set_or_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_model(Path("model.onnx"), height=8, width=8)
    names = write_class_folders(tmp_path / "photos", per_class=2, suffix=".png")
    succeed("encode photos --model model.onnx --out photos.h5")
    succeed("encode digits --model model.onnx --out digits.h5")
    photos, digits = hashkit.Bank.open("photos.h5"), hashkit.Bank.open("digits.h5")
    find = RowImages()
    assert [find(photos, row) for row in range(6)] == [tmp_path / "photos" / name for name in names]
    (tmp_path / "photos" / names[3]).unlink()
    assert find(photos, 3) is None
    pixels = open_digits().pixels
    for row in (0, 5, 1796):
        assert np.array_equal(find(digits, row), pixels[row])
