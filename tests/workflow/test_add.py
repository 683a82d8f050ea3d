"""`hashkit.add`: rows in a bank by one line, of codes or of images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bank_samples import make_header
from linear_models import linear_model

import hashkit
from hashkit import BankWriter, Encoder
from hashkit.bank.editor import BankEditor
from hashkit.errors import BankError, BankMismatchError, CodesError, ConfigError
from hashkit.workflow.add import ADDED

RNG = np.random.default_rng(3)
CODES = RNG.integers(0, 256, (6, 3), np.uint8)
IMAGES = RNG.integers(0, 256, (5, 8, 8, 3), np.uint8)


@pytest.fixture
def path(tmp_path):
    hashkit.save_codes(tmp_path / "bank.h5", hashkit.CodeSet(CODES, 24, names=list("abcdef")))
    return tmp_path / "bank.h5"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return linear_model(tmp_path_factory.mktemp("model") / "model.onnx", height=8, width=8)


@pytest.fixture
def pictures(tmp_path, model):
    """A bank of one picture, with single labels."""
    encoder = Encoder.load(model, "cpu")
    from hashkit.runtimes.pipeline import header_of_codes

    header = header_of_codes(encoder, make_header(encoder.n_bits, manifest=None))
    path = tmp_path / "pictures.h5"
    with BankWriter.create(path, header, n_rows=1, n_name_bytes=1) as writer:
        writer.write(encoder.encode(IMAGES[0]), ["0"], np.array([2]), n_consumed=1)
        writer.complete()
    return path


def test_codes_are_added_to_one_list_however_often(path):
    bank = hashkit.Bank.open(path)
    for row in range(6, 10):
        assert hashkit.add(bank, CODES[:1], [f"{row}.png"]) == [row]
    bank = bank.reload()
    assert bank.sources == (ADDED,)
    assert list(bank.names[6:]) == [f"{row}.png" for row in range(6, 10)]
    found = hashkit.search(CODES[:1], bank, top_k=5)
    assert sorted(found.rows[0].tolist()) == [0, 6, 7, 8, 9]
    bank.verify()


def test_names_and_rows_that_come_twice_and_a_file_that_is_gone(path):
    bank = hashkit.Bank.open(path)
    n_before = len(bank)
    codes = np.zeros((2, bank.codes.shape[1]), np.uint8)
    hashkit.add(bank, codes, ["twice", "twice"])
    hashkit.add(bank, codes[:1], ["twice"])
    bank = bank.reload()
    assert list(bank.names)[n_before:] == ["twice"] * 3

    assert hashkit.delete_rows(path, [n_before]) == 1
    assert hashkit.delete_rows(path, [n_before, n_before + 1]) == 1
    with pytest.raises(BankError, match="row"):
        hashkit.delete_rows(path, [0, len(bank)])
    assert hashkit.restore_rows(path, [0, n_before]) == 1

    bank = bank.reload()
    away = path.with_name("away.h5")
    path.rename(away)
    with pytest.raises(BankError, match="no such bank"):
        bank.reload()
    assert len(hashkit.search(codes[:1], bank, top_k=1).rows) == 1
    away.rename(path)
    assert bank.reload() is bank


def test_images_are_encoded_by_the_banks_model(pictures, model):
    encoder = Encoder.load(model, "cpu")
    assert hashkit.add(pictures, IMAGES[1:3], ["1", "2"], model=model) == [1, 2]
    assert hashkit.add(str(pictures), IMAGES[3], ["3"], labels=[1], model=encoder) == [3]
    with hashkit.Bank.open(pictures) as bank:
        np.testing.assert_array_equal(bank.codes, encoder.encode(IMAGES[:4]))
        assert bank.labels.tolist() == [2, -1, -1, 1]
        assert list(bank.names) == ["0", "1", "2", "3"]


def test_codes_of_another_model_are_refused_before_anything_is_encoded(path, pictures, model):
    before = path.read_bytes()
    with pytest.raises(BankMismatchError, match=r"12, found 24: give the model that made the bank"):
        hashkit.add(path, ["there/is/no/such.png"], ["a"], model=model)
    assert path.read_bytes() == before
    other = linear_model(pictures.with_name("other.onnx"), height=8, width=8, seed=9)
    with pytest.raises(BankMismatchError, match="codes of the model"):
        hashkit.add(pictures, IMAGES[1], ["1"], model=other)


@pytest.mark.parametrize(
    ("codes", "names", "error", "message"),
    [
        (CODES, "abcdef", ConfigError, "not the text 'abcdef'"),
        (CODES[:2], ["a"], BankError, "one name per row, 2, found 1"),
        (CODES[:, :2], ["a"] * 6, CodesError, r"uint8 \[n, 3\]"),
        (["a.png"], ["a"], ConfigError, "give the `model` that made the bank"),
        (IMAGES[0], ["a"], ConfigError, "give the `model` that made the bank"),
    ],
)
def test_what_cannot_be_added_changes_nothing(path, codes, names, error, message):
    before = path.read_bytes()
    with pytest.raises(error, match=message) as caught:
        hashkit.add(path, codes, names)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_bank_whose_list_grows_gets_no_other_one(path):
    folder = dataclasses.replace(ADDED, dataset="photos", root="/photos")
    with BankEditor.open(path) as editor:
        editor.set_source(folder)
    inode = path.stat().st_ino
    hashkit.add(path, CODES[:1], ["a"])
    assert path.stat().st_ino == inode  # it was not copied
    assert hashkit.Bank.open(path).sources == (folder,)
