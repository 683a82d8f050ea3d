"""Banks, models and images that do not belong together are an error or a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import fail, succeed, write_class_folders, write_digit
from small_models import linear_model

pytestmark = pytest.mark.usefixtures("place")


def test_a_bank_of_another_model_is_not_searched(banks, other):
    write_digit(0, Path("img.png"))
    line = fail(f"search --query img.png --bank {banks.bank_path} --model {other}")
    assert "made by another model" in line
    assert "--model" in line


def test_a_query_by_name_is_not_compared_with_a_bank_of_another_model(banks, other):
    succeed(f"encode digits --model {other} --out other.h5")
    assert "made by another model" in fail("search --query digits/0000 --bank other.h5")


def test_a_bank_of_another_model_is_not_continued(banks, other):
    before = banks.bank_path.read_bytes()
    linear_model(banks.model_path, height=8, width=8, seed=1)
    assert "hashkit encode --overwrite --run runs/first" in fail("encode")
    assert banks.bank_path.read_bytes() == before
    for command in ("evaluate", "search --query digits/0000"):
        assert "hashkit encode --overwrite --run runs/first" in fail(command)
    succeed("encode --overwrite")
    succeed("evaluate")
    assert banks.bank_path.read_bytes() != before


def test_a_bank_of_other_bits_is_not_searched_or_evaluated(banks):
    few = linear_model(Path("few.onnx"), n_bits=8, height=8, width=8)
    succeed(f"encode digits --model {few} --out few.h5 --protocol per-class --part queries")
    assert "bits" in fail(f"evaluate few.h5 {banks.bank_path}")
    assert "another model" in fail("search --query digits/0000 --bank few.h5")


def test_banks_of_two_models_are_evaluated_with_a_warning(banks, other):
    succeed(f"encode digits --model {other} --out other.h5")
    outcome = succeed(f"evaluate {banks.queries_path} other.h5 --json")
    assert "were made by different models" in outcome.stderr
    assert outcome.json["n_database"] == 1797
    assert "warning" not in succeed("evaluate --json").stderr


def test_images_resized_by_two_versions_are_compared_with_a_warning(model, monkeypatch):
    write_class_folders(Path("photos"))
    succeed(f"encode photos --model {model} --labels folders --out new.h5")
    monkeypatch.setattr("PIL.__version__", "9.9.9")
    succeed(f"encode photos --model {model} --labels folders --out old.h5")
    warned = succeed("evaluate new.h5 old.h5").stderr
    assert "resized by different versions" in warned
    assert "old.h5: Pillow 9.9.9" in warned
    assert "different versions" not in succeed("evaluate old.h5 old.h5").stderr
    name = next(Path("photos").rglob("*.*"))
    search = f"search --query {name} --query {name} --model {model} --bank"
    assert succeed(f"{search} new.h5").stderr.count("different versions") == 1
    assert "different versions" not in succeed(f"{search} old.h5").stderr


def test_a_bank_of_other_images_is_not_continued(model):
    write_class_folders(Path("first"))
    write_class_folders(Path("second"), per_class=2)
    succeed("encode first --out a.h5")
    assert "a.h5" in fail("encode second --out a.h5")


def test_labels_that_are_missing():
    for name in ("q", "d"):
        Path(f"{name}.txt").write_text("0101\n1100\n")
    assert "label" in fail("evaluate q.txt d.txt")
    Path("l.txt").write_text("1\n")
    assert "expected 2 labels in l.txt" in fail("evaluate q.txt d.txt --query-labels l.txt")
