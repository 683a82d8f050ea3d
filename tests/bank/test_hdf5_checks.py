"""Damaged texts of a bank's attributes, which HDF5 would read for ever."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from bank_samples import make_header

from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("bank-v*.h5"))


def sizes_in_heaps(data: bytes) -> list[int]:
    """Places of the sizes of the first collection and of all objects in it."""
    start = data.index(b"GCOL")
    (size,) = struct.unpack_from("<Q", data, start + 8)
    places, place = [start + 8], start + 16
    while start + size - place >= 16:
        index, length = struct.unpack_from("<H6xQ", data, place)
        places.append(place + 8)
        place += length if index == 0 else 16 + length + -length % 8
    return places


@pytest.mark.end_to_end
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_wrong_size_in_a_heap_is_an_error(tmp_path, path):
    """One of these kept HDF5 busy for ever."""
    data = path.read_bytes()
    places = sizes_in_heaps(data)
    assert len(places) > 10
    for place in places:
        for byte, bit in ((0, 8), (0, 64), (1, 1), (1, 2), (7, 128)):
            damaged = bytearray(data)
            damaged[place + byte] ^= bit
            (tmp_path / "bank.h5").write_bytes(damaged)
            with pytest.raises(BankError):
                Bank.open(tmp_path / "bank.h5")


def test_a_name_may_look_like_the_signature_of_a_heap(tmp_path):
    names = ("GCOL", *(" " * blanks + "GCOL" * 9 for blanks in range(16)))
    header = make_header(class_names=names)
    path = tmp_path / "bank.h5"
    with BankWriter.create(path, header, n_rows=40, n_name_bytes=900) as writer:
        codes = np.frombuffer(b"GCO", np.uint8).reshape(1, 3).repeat(40, axis=0) & 0xF0
        writer.write(codes, ["GCOL" * 5] * 40, np.zeros(40, np.int64), n_consumed=40)
    with Bank.open(path) as bank:
        assert bank.class_names == names
        assert bank.names[3] == "GCOL" * 5


def test_attributes_that_were_written_again_are_read(tmp_path):
    path = tmp_path / "bank.h5"
    path.write_bytes(GOLDEN[1].read_bytes())
    for text in ("a", "b" * 5_000, "c"):
        with h5py.File(path, "r+") as file:
            file.attrs["provider"] = text
        with Bank.open(path) as bank:
            assert bank.header.provider == text
