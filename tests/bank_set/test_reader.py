"""A bank set as a sequence of banks, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from bank_samples import make_header, make_source, rows_of
from looped import looped
from set_samples import SHARDS, write_shard, write_shards

import hashkit
from hashkit.bank import reader
from hashkit.bank.deletion import delete_rows
from hashkit.bank.writer import BankWriter
from hashkit.bank_set.finishing import finish
from hashkit.bank_set.opening import open_banks
from hashkit.bank_set.places import is_bank_set
from hashkit.bank_set.reader import BankSet
from hashkit.errors import BankError, BankMismatchError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "set"))


def add_rows(path, images):
    header = make_header(source=make_source("more", len(images)))
    with BankWriter.append(path, header, n_rows=len(images), n_name_bytes=99) as writer:
        writer.write(*rows_of(images), n_consumed=len(images))
        writer.complete()


def edit(folder, change):
    path = folder / "bankset.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    change(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


def test_the_shards_are_a_sequence_of_banks_with_global_rows(folder):
    with BankSet.open(folder) as banks:
        codes, names, labels = rows_of(range(20))
        assert [len(bank) for bank in banks] == [len(rows_of(one)[0]) for one in SHARDS]
        assert banks.n_rows == len(codes) == banks.offsets[-1]
        joined = banks.joined()
        np.testing.assert_array_equal(joined.codes, codes)
        np.testing.assert_array_equal(joined.labels, labels)
        assert list(joined.names) == names
        assert joined.names[-1] == names[-1]
        assert joined.names[2:9] == names[2:9]
        rest = joined.without(np.array([16, 0, 5]))
        assert np.flatnonzero(rest.deleted).tolist() == [0, 5, 16]
        assert joined.deleted is None
        found = hashkit.search(codes, banks, top_k=7)
        expected = hashkit.search(codes, codes, n_bits=20, top_k=7)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.distances, expected.distances)
    assert [bank.path.name for bank in open_banks(folder)][2] == "shard-00002.h5"


def test_queries_of_a_set_are_evaluated_as_those_of_one_bank(folder, tmp_path):
    for bank in open_banks(folder):  # queries need a label
        delete_rows(bank.path, np.flatnonzero(bank.labels < 0))
    banks = BankSet.open(folder)
    hashkit.save_codes(tmp_path / "one.h5", banks.joined())
    one = hashkit.Bank.open(tmp_path / "one.h5")
    for exclude_self in (False, True):
        report = hashkit.evaluate(banks, banks, exclude_self=exclude_self, cutoffs=[5])
        expected = hashkit.evaluate(one, one, exclude_self=exclude_self, cutoffs=[5])
        assert report.to_dict() == expected.to_dict()
    assert hashkit.evaluate(one, banks).to_dict() == hashkit.evaluate(one, one).to_dict()


def test_reload_gives_deletions_and_new_shards_and_otherwise_the_same_object(folder):
    banks = BankSet.open(folder)
    assert banks.reload() is banks
    delete_rows(folder / "shard-00002.h5", [1])
    changed = banks.reload()
    assert (banks.n_deleted, changed.n_deleted) == (0, 1)
    write_shard(folder, 3, range(20, 25))
    identity = banks.identity
    finish(folder)
    grown = changed.reload()
    assert (len(changed), len(grown)) == (3, 4)
    assert grown.identity == identity


def replaced(folder):
    (folder / "shard-00000.h5").unlink()
    write_shard(folder, 0, SHARDS[0])


def swapped(folder):
    first, last = folder / "shard-00000.h5", folder / "shard-00002.h5"
    first.rename(folder / "other")
    last.rename(first)
    (folder / "other").rename(last)


@looped(
    ("damage", "message"),
    [
        (lambda folder: (folder / "bankset.json").unlink(), "without bankset.json"),
        (lambda folder: (folder / "shard-00001.h5").unlink(), "shard-00001.h5: .* no such file"),
        (replaced, "shard-00000.h5: expected the shard of identity"),
        (swapped, "shard-00000.h5: expected the shard of identity"),
        (
            lambda folder: add_rows(folder / "shard-00002.h5", range(20, 22)),
            "shard-00002.h5: expected a shard of 12 rows, found 14.*encode --finish",
        ),
        (
            lambda folder: edit(folder, lambda m: m["shards"][2].update(digest="0" * 64)),
            "shard-00002.h5: expected rows of the digest 000000000000, found",
        ),
        (
            lambda folder: edit(folder, lambda m: m.update(format_version=2)),
            "expected format version 1, found 2",
        ),
        (
            lambda folder: edit(folder, lambda m: m.update(n_bits=21)),
            "shard-00000.h5: expected .*21",
        ),
        (lambda folder: edit(folder, lambda m: m.update(n_rows=3)), "expected 17 rows.* found 3"),
        (
            lambda folder: edit(folder, lambda m: m["shards"][2].update(first_row=4)),
            "expected 5 as the first row of shard-00002.h5, found 4",
        ),
        (
            lambda folder: edit(folder, lambda m: m["shards"][0].update(file="../a.h5")),
            "expected a file name without a path, found",
        ),
        (
            lambda folder: edit(folder, lambda m: m["shards"][0].update(file="x" * 300)),
            "expected a file name that is shorter, found",
        ),
        (
            lambda folder: edit(
                folder,
                lambda m: [
                    one.update(slice={"list": "a", "start": at, "stop": at + 6})
                    for at, one in enumerate(m["shards"])
                ],
            ),
            "expected slices that do not overlap, found images 1 to 6 in shard-00000.h5 and in",
        ),
        (
            lambda folder: (folder / "bankset.json").write_text("{", encoding="utf-8"),
            "bankset.json: expected JSON.*encode --finish",
        ),
    ],
)
def test_a_damaged_or_mixed_up_set_is_a_one_line_error(written, tmp_path, damage, message):
    folder = Path(shutil.copytree(written, tmp_path / "set"))
    damage(folder)
    with pytest.raises(BankError, match=message) as caught:
        BankSet.open(folder)
    assert "\n" not in str(caught.value)


def test_unknown_fields_are_ignored(folder):
    edit(folder, lambda m: (m.update(later=1), m["shards"][0].update(later=[])))
    assert BankSet.open(folder).n_rows == 17


def test_finish_checks_the_shards(folder, tmp_path):
    (folder / "bankset.json").unlink()
    assert not is_bank_set(folder)
    shutil.move(folder / "shard-00001.h5", tmp_path)
    with pytest.raises(BankError, match=r"expected 3 shards, found that shard-00001.h5 is missing"):
        finish(folder)
    write_shard(folder, 1, range(3), provider="CUDAExecutionProvider")
    with pytest.raises(BankMismatchError, match=r"one provider, found CPU.* and CUDA.*00001.h5"):
        finish(folder)
    manifest = finish(folder, allow_other_provider=True)
    (folder / "shard-00000.h5").rename(folder / "a.h5")
    (folder / "shard-00001.h5").rename(folder / "shard-00000.h5")
    (folder / "a.h5").rename(folder / "shard-00001.h5")
    with pytest.raises(BankMismatchError, match=r"found shard-00001.h5 as shard-00000.h5: rename"):
        finish(folder, allow_other_provider=True)
    (folder / "shard-00000.h5").unlink()
    (folder / "shard-00001.h5").rename(folder / "shard-00000.h5")
    assert manifest.provider == "CPUExecutionProvider, CUDAExecutionProvider"
    write_shard(folder, 1, range(3), model_sha256="cd" * 32)
    with pytest.raises(BankMismatchError, match=r"shard-00001.h5: expected codes of the model"):
        finish(folder)
    (folder / "shard-00001.h5").unlink()
    header = make_header(source=make_source())
    with BankWriter.create(folder / "shard-00001.h5", header, n_rows=9, n_name_bytes=99) as writer:
        writer.write(*rows_of(range(3)), n_consumed=3)
    with pytest.raises(BankError, match=r"shard-00001.h5: expected a complete shard"):
        finish(folder)


def test_finishing_a_folder_without_shards_is_a_one_line_error(tmp_path):
    with pytest.raises(BankError, match=r"expected shards, shard-00000.h5 and so on, found none"):
        finish(tmp_path)


def test_the_error_for_too_many_shards_names_the_limit_of_open_files(folder, monkeypatch):
    def full(path, **_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(reader, "open_file", full)
    with pytest.raises(BankError, match=r"shard-00000.h5: .*raise the limit of open files"):
        BankSet.open(folder)
