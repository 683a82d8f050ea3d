"""Deletions by rows of the set reach the right shard, and the manifest follows."""

from __future__ import annotations

import numpy as np
import pytest
from set_samples import write_shards

import hashkit
from hashkit.bank_set.reader import BankSet
from hashkit.errors import BankError


def test_rows_are_deleted_and_restored_by_their_number_in_the_set(tmp_path):
    folder = write_shards(tmp_path / "set")
    banks = BankSet.open(folder)
    assert banks.offsets.tolist() == [0, 5, 5, 17]
    assert hashkit.delete_rows(banks, [0, 4, 5, 16]) == 4
    assert hashkit.delete_rows(folder, [4, 6]) == 1
    changed = BankSet.open(folder)
    assert np.flatnonzero(changed.joined().deleted).tolist() == [0, 4, 5, 6, 16]
    assert [shard.n_deleted for shard in changed.manifest.shards] == [2, 0, 3]
    assert hashkit.restore_rows(folder, [0, 5, 16]) == 3
    restored = changed.reload()
    assert np.flatnonzero(restored.joined().deleted).tolist() == [4, 6]
    assert (restored.n_deleted, restored.identity) == (2, banks.identity)
    assert list(restored.names) == [name for shard in restored for name in shard.names]
    found = hashkit.search(banks.joined().codes[4:5], restored, top_k=17)
    assert not {4, 6} & set(found.rows[0].tolist())


def test_rows_that_are_not_in_the_set_change_nothing(tmp_path):
    folder = write_shards(tmp_path / "set")
    with pytest.raises(BankError, match="expected rows from 0 to 16, found 17"):
        hashkit.delete_rows(folder, [1, 17])
    assert BankSet.open(folder).n_deleted == 0
    with pytest.raises(BankError, match=r"found a folder without bankset.json"):
        hashkit.delete_rows(tmp_path, [1])
    with pytest.raises(BankError, match=r"found a file; `Bank.open` opens a bank"):
        BankSet.open(folder / "shard-00000.h5")
    with pytest.raises(BankError, match=r"found a folder\); `BankSet.open` opens a bank set"):
        hashkit.Bank.open(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
