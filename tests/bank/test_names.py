"""Rows found by their names."""

from __future__ import annotations

import numpy as np
import pytest
from looped import looped

from hashkit.bank import names as stored
from hashkit.bank.names import Names, encode_names, rows_named
from hashkit.bank_set.joined import _JoinedNames
from hashkit.errors import BankError

LISTED = ["a/1.png", "b/1.png", "", "a/1.png", "é.png", "1.png", "\U0001f431", "", "a/1.pn"] * 5


def names_of(listed: list[str]) -> Names:
    text, ends = encode_names(listed)
    return Names(np.frombuffer(text, np.uint8), ends, "bank.h5")


@looped("block", [4, 65_536])
@looped("few", [0, 32])
def test_rows_named_finds_every_row_of_every_name(monkeypatch, block, few):
    monkeypatch.setattr(stored, "_BLOCK", block)
    monkeypatch.setattr(stored, "_FEW", few)
    wanted = [*set(LISTED), "none", "1.pn", "\udcff"]
    expected = {name: [row for row, own in enumerate(LISTED) if own == name] for name in wanted}
    assert rows_named(names_of(LISTED), wanted) == expected
    assert rows_named(LISTED, wanted) == expected
    parts = [names_of(LISTED[:7]), names_of([]), LISTED[7:]]
    assert rows_named(_JoinedNames(parts), wanted) == expected
    assert rows_named(names_of(LISTED), []) == {}


@pytest.mark.parametrize("end", [0, 10**6, 2**64 - 1])
def test_damaged_name_ends_are_found_by_a_search_too(end):
    text, ends = encode_names(LISTED)
    ends[3] = end
    names = Names(np.frombuffer(text, np.uint8), ends, "bank.h5")
    with pytest.raises(BankError, match=r"bank\.h5: damaged: name_ends of rows 0 to 44 do not"):
        rows_named(names, ["1.png"])
    with pytest.raises(BankError, match=r"bank\.h5: damaged: name_ends of rows 3 to 3 do not"):
        names[3]


def test_no_name_wanted_reads_no_names():
    class Unread(list[str]):
        def __iter__(self):
            raise AssertionError("names were read")

    assert rows_named(Unread(["a"]), []) == {}
