"""The index beside a bank, and what narrows a search: classes, deletions, order within ties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, succeed, write_class_folders
from small_models import linear_model

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.multi_index.index import MultiIndex, index_path
from hashkit.retrieval.reranking import asymmetric_distances
from hashkit.runtimes.encoder import Encoder

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Digits 0, 1 and 2 in folders, a model, and the bank of the three classes."""
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(Path("photos"), per_class=10)
    linear_model(Path("model.onnx"), n_bits=16, height=8, width=8)
    succeed("encode photos --model model.onnx --labels folders --out bank.h5")
    return f"photos/{names[0]}"


def hits(query: str, options: str = "") -> list[dict]:
    command = f"search --query {query} --model model.onnx --bank bank.h5 --json {options}"
    (found,) = succeed(command).json["queries"]
    return found["hits"]


def test_an_index_is_built_once_and_used(album):
    first = succeed("index bank.h5 --json")
    (built,) = first.json["indexes"]
    assert (built["was_built"], built["n_rows"], built["n_bits"]) == (True, 30, 16)
    assert sum(built["substring_lengths"]) == 16
    assert built["index"] == str(index_path("bank.h5"))
    assert "30 rows" in first.stderr
    (again,) = succeed("index bank.h5 --json").json["indexes"]
    assert not again["was_built"]
    (rebuilt,) = succeed("index bank.h5 --overwrite --json").json["indexes"]
    assert rebuilt["was_built"]
    for options in ("--k 7", "--radius 5", "--radius 16"):
        by_index = hits(album, f"{options} --engine index")
        assert by_index == hits(album, f"{options} --engine scan") == hits(album, options)
        assert by_index


def test_an_index_of_other_rows_is_not_used(album):
    other = np.random.default_rng(0).integers(0, 256, (30, 2), dtype=np.uint8)
    MultiIndex.build(other, 16).save(index_path("bank.h5"))
    command = f"search --query {album} --model model.onnx --bank bank.h5"
    assert "every row is compared" in succeed(f"{command} --k 3").stderr
    assert "needs an index of the database" in fail(f"{command} --engine index")
    (rebuilt,) = succeed("index bank.h5 --json").json["indexes"]
    assert rebuilt["was_built"]
    assert "every row is compared" not in succeed(f"{command} --k 3").stderr


def test_search_within_classes(album):
    classes = sorted({hit["label"] for hit in hits(album, "--k 30")})
    assert len(classes) == 3
    everything = hits(album, "--k 30")
    for options, wanted in (
        (f"--label {classes[0]}", classes[:1]),
        (f"--label {classes[1]} --label {classes[2]}", classes[1:]),
    ):
        expected = [hit["row"] for hit in everything if hit["label"] in wanted]
        assert [hit["row"] for hit in hits(album, f"--k 30 {options}")] == expected
    command = f"search --query {album} --model model.onnx --bank bank.h5 --label cat"
    assert f"--label cat: no such class; known: {', '.join(classes)}" in fail(command)


def test_deleted_images_are_not_found(album):
    nearest = hits(album, "--k 30")
    succeed("index bank.h5")
    gone = [nearest[0]["row"], nearest[4]["row"]]
    delete_rows("bank.h5", sorted(gone))
    left = [hit["row"] for hit in nearest if hit["row"] not in gone]
    for engine in ("auto", "scan", "index"):
        found = hits(album, f"--k 30 --engine {engine}")
        assert [hit["row"] for hit in found] == left


def test_images_at_equal_distance_are_ordered_by_the_logits(album):
    bank = Bank.open("bank.h5")
    encoder = Encoder.load("model.onnx")
    code, logits = encoder.encode(album)[0], encoder.logits([album])[0]
    asymmetric = asymmetric_distances(code, logits, np.asarray(bank.codes))
    distances = np.bitwise_count(bank.codes ^ code).sum(axis=1)
    expected = np.lexsort((np.arange(30), asymmetric, distances))
    found = hits(album, "--k 30 --rerank")
    assert [hit["row"] for hit in found] == expected.tolist()
    assert [hit["distance"] for hit in found] == distances[expected].tolist()
    assert [hit["row"] for hit in found] != [hit["row"] for hit in hits(album, "--k 30")]


def test_an_engine_that_is_not_known_is_named(album):
    command = f"search --query {album} --model model.onnx --bank bank.h5 --engine fast"
    assert "--engine must be one of auto, scan, index, not 'fast'" in fail(command)


def test_an_index_follows_the_changes_of_its_bank(album):
    """Deleting and adding rows keep it; making the bank again does not, and commands say so."""
    succeed("index bank.h5")
    assert "index" not in succeed("delete bank.h5 --rows 3").stderr
    everything = hits(album, "--radius 16 --engine index")
    assert len(everything) == 29
    assert hits(album, "--radius 16 --engine scan") == everything

    write_class_folders(Path("more"), per_class=2, suffix=".png")
    said = succeed("encode more --model model.onnx --out bank.h5 --append").stderr
    assert "bank.h5.mih: covers the first 30 of 36 rows" in said
    assert "`hashkit index bank.h5` includes them" in said
    for options in ("--k 7", "--radius 5", "--radius 16"):
        assert hits(album, f"{options} --engine index") == hits(album, f"{options} --engine scan")

    said = succeed("convert bank.h5 bank.h5 --overwrite").stderr
    assert "warning: the index is out of date: bank.h5.mih: it was built for other codes" in said
    assert "out of date" in succeed("info bank.h5").stdout
    succeed("index bank.h5")
    assert "out of date" not in succeed("info bank.h5").stdout
    said = succeed(
        "encode photos --model model.onnx --labels folders --out bank.h5 --overwrite"
    ).stderr
    assert "built for 35 codes, but there are 30: the bank was made again since" in said
