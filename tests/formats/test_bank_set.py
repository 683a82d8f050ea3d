"""A bank cut into the shards of a set, and back."""

from __future__ import annotations

import numpy as np
import pytest
from bank_samples import rows_of
from set_samples import write_shards

import hashkit
from hashkit.bank.deletion import delete_rows
from hashkit.bank_set.plan_files import PLAN_NAME, SLICES_FOLDER
from hashkit.bank_set.reader import BankSet
from hashkit.errors import CodesError
from hashkit.formats.bank_set import write_bank_set


def columns(database):
    return (database.codes.tolist(), database.labels.tolist(), list(database.names))


def test_a_bank_becomes_a_set_and_a_set_a_bank_without_deleted_rows(tmp_path):
    shards = write_shards(tmp_path / "shards")
    delete_rows(shards / "shard-00002.h5", [0, 5])
    source = BankSet.open(shards).joined()
    for n_shards in (1, 4, 20):
        write_bank_set(tmp_path / "set", source, n_shards, overwrite=n_shards > 1)
        cut = BankSet.open(tmp_path / "set")
        sizes = [len(bank) for bank in cut]
        assert len(cut) == n_shards
        assert max(sizes) - min(sizes) <= 1
        hashkit.save_codes(tmp_path / "one.h5", cut.joined(), overwrite=True)
        one = hashkit.Bank.open(tmp_path / "one.h5")
        kept = np.flatnonzero(~source.deleted)
        codes, names, labels = rows_of(range(20))
        assert columns(one) == (
            codes[kept].tolist(),
            labels[kept].tolist(),
            [names[row] for row in kept],
        )
        assert columns(cut.joined()) == columns(one)
        assert one.header.model_sha256 == source.header.model_sha256
        assert one.sources == source.sources
    left = {path.name for path in (tmp_path / "set").iterdir()}
    assert left - {"bankset.json.lock"} == {"bankset.json", *(bank.path.name for bank in cut)}


def test_other_folders_are_never_replaced(tmp_path):
    shards = write_shards(tmp_path / "shards")
    source = BankSet.open(shards).joined()
    with pytest.raises(CodesError, match=r"exists already; replace it with `overwrite=True`"):
        write_bank_set(shards, source, 2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(CodesError, match="found a folder with other files"):
        write_bank_set(tmp_path / "photos", source, 2, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(CodesError, match="found a file"):
        write_bank_set(tmp_path / "file", source, 2)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_set_is_replaced_from_itself(tmp_path):
    shards = write_shards(tmp_path / "set")
    before = BankSet.open(shards)
    (shards / PLAN_NAME).touch()
    (shards / SLICES_FOLDER).mkdir()
    write_bank_set(shards, before.joined(), 2, overwrite=True)
    assert not (shards / PLAN_NAME).exists()
    assert not (shards / SLICES_FOLDER).exists()
    after = BankSet.open(shards)
    assert columns(after.joined()) == columns(before.joined())
    assert after.identity == before.identity
