from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bank_samples import make_header, make_source

from hashkit.bank.interruption import end_last_list
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError, BankLockedError

SOURCE = make_source(n_images=10)
DONE = dataclasses.replace(SOURCE, n_images=4, names_sha256="0" * 64)


@pytest.fixture
def half(tmp_path):
    """A bank of 3 rows that was interrupted after 4 of 10 images."""
    path = tmp_path / "half.h5"
    header = make_header(source=SOURCE)
    codes = np.zeros((3, (header.n_bits + 7) // 8), np.uint8)
    with BankWriter.create(path, header, n_rows=10, n_name_bytes=100) as writer:
        labels = None if header.label_kind == "none" else np.zeros(3, np.int64)
        writer.write(codes, ["a", "b", "c"], labels, n_consumed=4)
    return path


def test_the_rows_stay_and_the_bank_is_complete(half):
    end_last_list(half, DONE)
    with Bank.open(half) as bank:
        assert bank.is_complete
        assert list(bank.names) == ["a", "b", "c"]
        assert bank.sources == (DONE,)
        bank.verify()
    more = make_source(n_images=1, names_sha256="1" * 64)
    header = make_header(source=more)
    with BankWriter.append(half, header, n_rows=1, n_name_bytes=1) as writer:
        assert writer.sources == (DONE, more)


def test_only_an_interrupted_bank_and_its_own_number_of_images_are_accepted(half):
    with pytest.raises(BankError, match="interrupted after 5 images, found 4 images"):
        end_last_list(half, dataclasses.replace(DONE, n_images=5))
    end_last_list(half, DONE)
    with pytest.raises(BankError, match="found a complete one"):
        end_last_list(half, DONE)


def test_a_bank_that_is_being_written_is_locked(half):
    header = make_header(source=SOURCE)
    with BankWriter.resume(half, header), pytest.raises(BankLockedError):
        end_last_list(half, DONE)
