"""`hashkit.encode`: banks of folders, of sets and of parts of splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import break_image, succeed, write_class_folders
from kept_reporter import Kept
from linear_models import linear_model

import hashkit
from hashkit.datasets.digits import open_digits
from hashkit.errors import (
    BankError,
    BankMismatchError,
    ConfigError,
    ImageError,
)
from hashkit.runtimes.faults import read_faults
from hashkit.workflow.encode import encode


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model of 8 bits in the current folder."""
    monkeypatch.chdir(tmp_path)
    return linear_model(tmp_path / "model.onnx", n_bits=8, height=8, width=8)


def test_encoding_gives_the_open_bank(model):
    write_class_folders(Path("photos"), suffix=".png")
    kept = Kept()
    bank = encode("photos", model, "photos.h5", device="cpu", reporter=kept)
    assert (len(bank), bank.n_bits, bank.is_complete) == (18, 8, True)
    assert kept.titles == ["encoding photos.h5"]
    ranking = hashkit.search(bank.codes, bank, top_k=1)
    assert (ranking.distances == 0).all()
    succeed(f"encode photos --model {model} --out typed.h5 --device cpu")
    assert (hashkit.Bank.open("typed.h5").codes == bank.codes).all()


def test_images_may_be_an_open_set_and_the_model_an_encoder(model):
    encoder = hashkit.Encoder.load(model, "cpu")
    images = open_digits().subset(range(20))
    bank = encode(images, encoder, "few.h5")
    assert list(bank.names) == list(images.names)
    for arguments in ({"part": "queries"}, {"protocol": "per-class"}, {"data_root": "."}):
        with pytest.raises(ConfigError, match="need images given by name or path"):
            encode(images, encoder, "few.h5", **arguments)


@pytest.mark.parametrize(
    "given", [{"device": "cuda"}, {"runtime": "openvino"}, {"profile": "fast"}]
)
def test_an_encoder_keeps_its_device_runtime_and_profile(model, tmp_path, given):
    encoder = hashkit.Encoder.load(model, "cpu")
    with pytest.raises(ConfigError, match="are those of the encoder: leave them out"):
        encode("digits", encoder, tmp_path / "bank.h5", **given)
    assert not (tmp_path / "bank.h5").exists()


def test_a_part_of_a_split_is_encoded(model):
    bank = encode("digits", model, "q.h5", protocol="per-class", part="queries")
    assert 0 < len(bank) < len(open_digits())
    with pytest.raises(ConfigError, match=r'`part="queries"` is a part of a split'):
        encode("digits", model, "q.h5", part="queries")


def test_images_that_cannot_be_used_are_listed(model):
    names = write_class_folders(Path("photos"), suffix=".png")
    break_image(Path("photos") / names[0])
    kept = Kept()
    assert len(encode("photos", model, "a.h5", device="cpu", reporter=kept)) == 17
    assert [(fault.name, fault.reason) for fault in read_faults("a.h5")] == [(names[0], "broken")]
    assert "1 image could not be used" in kept.notes[-1]
    with pytest.raises(ImageError):
        encode("photos", model, "b.h5", device="cpu", strict=True)


def test_a_bank_is_continued_added_to_or_replaced(model):
    for folder, suffix in (("one", ".png"), ("two", ".jpg")):
        write_class_folders(Path(folder), suffix=suffix)
    assert len(encode("one", model, "a.h5", device="cpu")) == 18
    assert len(encode("one", model, "a.h5", device="cpu")) == 18
    with pytest.raises(BankMismatchError, match=r"replace this one with `overwrite=True`"):
        encode("two", model, "a.h5", device="cpu")
    assert len(encode("two", model, "a.h5", device="cpu", append=True)) == 36
    assert len(encode("two", model, "a.h5", device="cpu", overwrite=True)) == 18
    with pytest.raises(ConfigError, match=r"`append=True` keeps .* `overwrite=True` does not"):
        encode("two", model, "a.h5", append=True, overwrite=True)
    assert issubclass(BankMismatchError, BankError)
