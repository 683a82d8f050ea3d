"""`--rerank --oversample` of search and evaluate, and `evaluate --exclude-self`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, succeed, write_class_folders
from linear_models import linear_model

from hashkit.bank.reader import Bank
from hashkit.formats import save_codes
from hashkit.retrieval.search import search
from hashkit.runtimes.encoder import Encoder

MEASURES = "--at 5,20 --k 3 --json"


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A model and two banks, whose images are in place; read only."""
    folder = tmp_path_factory.mktemp("album")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_class_folders(Path("photos"), per_class=8, suffix=".png")
        write_class_folders(Path("more"), per_class=4, suffix=".png")
        linear_model(Path("model.onnx"), n_bits=16, height=8, width=8)
        linear_model(Path("other.onnx"), n_bits=16, height=8, width=8, seed=1)
        succeed("encode photos --model model.onnx --labels folders --out bank.h5")
        succeed("encode more --model model.onnx --labels folders --out queries.h5")
        save_codes("codes.npz", Bank.open("bank.h5"))
    return folder


@pytest.fixture
def place(album, monkeypatch):
    monkeypatch.chdir(album)
    return album


def test_search_orders_a_longer_list_by_the_logits(place):
    image = Path("more", Bank.open("queries.h5").names[5])
    encoder, bank = Encoder.load("model.onnx"), Bank.open("bank.h5")
    expected = search(
        encoder.encode(image), bank, top_k=4, logits=encoder.logits(image), oversample=3
    )
    command = f"search --query {image} --model model.onnx --bank bank.h5 --k 4 --rerank"
    (found,) = succeed(f"{command} --oversample 3 --json").json["queries"]
    hits = found["hits"]
    assert [hit["row"] for hit in hits] == expected.rows[0].tolist()
    assert [hit["distance"] for hit in hits] == expected.distances[0].tolist()
    shown = [np.float32(hit["asymmetric_distance"]) for hit in hits]
    assert shown == expected.asymmetric_distances[0].tolist()
    assert list(hits[0]) == ["rank", "row", "distance", "asymmetric_distance", "name", "label"]
    (plain,) = succeed(f"{command} --json").json["queries"]
    assert list(plain["hits"][0]) == ["rank", "row", "distance", "name", "label"]
    table = succeed(f"{command} --oversample 3").stdout
    assert "asymmetric" in table
    assert f"{shown[-1]:.4g}" in table
    assert "asymmetric" not in succeed(command).stdout


def test_a_search_in_which_oversampling_has_no_effect_is_refused(place):
    command = "search --query more/none.png --model model.onnx --bank bank.h5"
    assert "--oversample needs --rerank" in fail(f"{command} --oversample 3")
    line = fail(f"{command} --rerank --oversample 3 --radius 2")
    assert "--oversample cannot be combined with --radius" in line


def test_evaluate_measures_rescored_rankings(place):
    command = f"evaluate queries.h5 bank.h5 {MEASURES}"
    shown = succeed(f"{command} --rerank --oversample 2 --model model.onnx").json
    found = shown.pop("rescored")
    assert shown == succeed(command).json
    queries, bank = Bank.open("queries.h5"), Bank.open("bank.h5")
    logits = Encoder.load("model.onnx").logits([Path("more", name) for name in queries.names])
    for oversample, metrics in ((2, found), (None, found["hamming"])):
        ranking = search(
            np.asarray(queries.codes),
            bank,
            top_k=3,
            logits=None if oversample is None else logits,
            oversample=oversample,
        )
        is_hit = bank.labels[ranking.rows] == queries.labels[:, None]
        assert metrics["precision_at"] == {"3": pytest.approx(is_hit.mean())}
        assert metrics["recall_at"] == {"3": pytest.approx(is_hit.sum(axis=1).mean() / 8)}
        assert list(metrics["map_at"]) == ["5", "20"]
    assert found["oversample"] == 2


def test_tables_page_and_file_have_the_rescored_metrics(place, tmp_path):
    page, file = tmp_path / "page.html", tmp_path / "evaluation.json"
    command = "evaluate queries.h5 bank.h5 --at 5 --k 3 --rerank --oversample 2 --model model.onnx"
    table = succeed(f"{command} --report {page}").stdout
    found = succeed(f"{command} --json").json
    for text in ("mAP@5 (all-relevant), 2 x k by logits", "precision@3, by distance and row"):
        assert text in table
        assert text in page.read_text(encoding="utf-8")
    assert f"{found['rescored']['map_at']['5']:.4f}" in table
    file.write_text(json.dumps(found))
    beside = succeed(f"evaluate queries.h5 bank.h5 --at 5 --k 3 --beside {file}").stdout
    assert "2 x k by logits" in beside


def test_rescoring_needs_both_flags_a_model_and_images(place, tmp_path, monkeypatch):
    command = "evaluate queries.h5 bank.h5"
    for flags in ("--rerank", "--oversample 2", "--model model.onnx", "--rerank --model m.onnx"):
        line = fail(f"{command} {flags}")
        assert "expected --rerank and --oversample together, found" in line
    full = "--rerank --oversample 2"
    for name in ("queries.h5", "bank.h5"):
        shutil.copy(name, tmp_path)
    line = fail(f"evaluate {tmp_path}/queries.h5 {tmp_path}/bank.h5 {full}")
    assert "needs the model that made" in line
    assert "using model.onnx, which made queries.h5" in succeed(f"{command} {full}").stderr
    line = fail(f"{command} {full} --model other.onnx")
    assert "was made by another model" in line
    for codes in ("codes.npz", "names.txt"):
        if codes == "names.txt":
            bank = Bank.open("bank.h5")
            bits = np.unpackbits(bank.codes, axis=1)
            (tmp_path / codes).write_text("\n".join("".join(map(str, one)) for one in bits))
            np.savetxt(tmp_path / "labels.txt", bank.labels, fmt="%d")
            codes = f"{tmp_path / codes} --query-labels {tmp_path / 'labels.txt'}"
        line = fail(f"evaluate {codes} bank.h5 {full} --model model.onnx")
        assert "--rerank expects the queries' images, to encode them again, found" in line
    moved = Path("more", Bank.open("queries.h5").names[0])
    hidden = moved.rename(moved.with_suffix(".hidden"))
    try:
        line = fail(f"{command} {full} --model model.onnx")
        assert f"found none for 1 of 12 (such as {moved.relative_to('more')})" in line
    finally:
        hidden.rename(moved)


def test_changed_images_give_a_warning_or_are_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(Path("more"), per_class=4, suffix=".png")
    model = place / "model.onnx"
    succeed(f"encode more --model {model} --labels folders --out queries.h5")
    command = f"evaluate queries.h5 {place}/bank.h5 --rerank --oversample 2 --model {model}"
    shutil.copyfile(f"more/{names[-1]}", f"more/{names[0]}")
    said = succeed(command).stderr
    assert "warning: 1 of 12 queries have a different code than before" in said
    for name in names[:-1]:
        shutil.copyfile(f"more/{names[-1]}", f"more/{name}")
    assert "found other codes for" in fail(command)


def test_a_bank_is_evaluated_against_itself(place, tmp_path):
    shown = succeed(f"evaluate bank.h5 ./bank.h5 --exclude-self {MEASURES}").json
    assert shown["exclude_self"] is True
    assert sum(shown["distances"]["relevant"]) == 24 * 7
    npz = succeed(f"evaluate codes.npz ./codes.npz --exclude-self {MEASURES}").json
    assert npz["map_at"] == shown["map_at"]
    plain = succeed(f"evaluate bank.h5 bank.h5 {MEASURES}").json
    assert plain["exclude_self"] is False
    assert plain["map"] > shown["map"]
    page = tmp_path / "page.html"
    command = "evaluate bank.h5 bank.h5 --exclude-self --rerank --oversample 2 --model model.onnx"
    assert "without each query's own row" in succeed(f"{command} --report {page}").stdout
    text = page.read_text(encoding="utf-8")
    assert "left out of their rankings" in text
    file = tmp_path / "plain.json"
    file.write_text(json.dumps(plain))
    said = succeed(f"evaluate bank.h5 bank.h5 --exclude-self --beside {file}").stderr
    assert "not comparable: only bank.h5 in bank.h5 leaves out each query's own row" in said


def test_different_banks_have_no_own_rows(place):
    line = fail("evaluate queries.h5 bank.h5 --exclude-self")
    assert "--exclude-self expects one bank both as queries and as database" in line
    assert "queries.h5 (12 rows) is not among them, found bank.h5 (24 rows)" in line
