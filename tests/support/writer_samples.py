"""Banks of a few rows, as a writer makes them: of six images, or of three of them."""

from __future__ import annotations

import numpy as np
from bank_samples import make_header, make_source, rows_of

from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter

SOURCE = make_source("first", 6)
OTHER = make_source("second", 3)


def create(path, header=None, n_rows=8, n_name_bytes=80, **options):
    header = header or make_header(source=SOURCE)
    return BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=n_name_bytes, **options)


def append(path, header=None, **options):
    header = header or make_header(source=OTHER)
    return BankWriter.append(path, header, n_rows=3, n_name_bytes=20, **options)


def write(writer, images, n_consumed):
    writer.write(*rows_of(images), n_consumed=n_consumed)


def assert_holds(path, images, *, is_complete):
    codes, names, labels = rows_of(images)
    with Bank.open(path) as bank:
        np.testing.assert_array_equal(bank.codes, codes)
        assert list(bank.names) == names
        np.testing.assert_array_equal(bank.labels, labels)
        assert bank.is_complete == is_complete
        bank.verify()
