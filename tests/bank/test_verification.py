"""Checks of every row of a bank: by checksum, and by values that no writer stores."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from bank_samples import CLASSES, make_header, rows_of

from hashkit.bank import layout
from hashkit.bank.deletion import delete_rows
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.reader import Bank
from hashkit.bank.verification import find_faults
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError

BLOCK = 65_536
N_ROWS = 2 * BLOCK + 100


@pytest.fixture(scope="module")
def large_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "bank.h5"
    rng = np.random.default_rng(0)
    header = make_header(16, manifest=None, has_files=True)
    files = ImageFiles(
        rng.integers(1, 99, N_ROWS).astype(np.uint64),
        rng.integers(1, 99, N_ROWS),
        rng.integers(0, 256, (N_ROWS, 16), dtype=np.uint8),
    )
    names = [f"{row}.png" for row in range(N_ROWS)]
    codes = rng.integers(0, 256, (N_ROWS, 2), dtype=np.uint8)
    with BankWriter.create(path, header, n_rows=N_ROWS, n_name_bytes=1) as writer:
        labels = np.arange(N_ROWS) % 3
        writer.write(codes, names, labels, files=files, n_consumed=N_ROWS)
        writer.complete()
    return path.read_bytes()


@pytest.fixture
def large(tmp_path, large_bytes):
    path = tmp_path / "bank.h5"
    path.write_bytes(large_bytes)
    return path


@pytest.fixture
def second_version(tmp_path, monkeypatch):
    """A complete bank of 4 rows in format version 2, which has no checksums."""
    monkeypatch.setattr(layout.create_file, "__defaults__", (2,))
    with BankWriter.create(tmp_path / "old.h5", make_header(), n_rows=4, n_name_bytes=60) as writer:
        writer.write(*rows_of([0, 1, 2, 4]), n_consumed=5)
        writer.complete()
    return tmp_path / "old.h5"


def flip(path, name, element, bit=0):
    """Flip a bit of one element of a dataset."""
    with h5py.File(path, "r+") as file:
        file[name][element] = file[name][element] ^ file[name].dtype.type(1 << bit)


def poke(path, name, element, value):
    with h5py.File(path, "r+") as file:
        file[name][element] = value


def faults_of(path) -> list[str]:
    with Bank.open(path) as bank:
        faults = [str(fault) for fault in find_faults(bank)]
        if faults:
            with pytest.raises(BankError, match=r"bank.h5: damaged: "):
                bank.verify()
        else:
            bank.verify()
    return faults


def test_a_whole_bank_has_no_faults(large):
    assert faults_of(large) == []


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("column", "element"),
    [
        ("codes", (70_000, 1)),
        ("labels", 70_000),
        ("file_size", 70_000),
        ("file_mtime_ns", 70_000),
        ("file_digest", (70_000, 15)),
        ("name_ends", 70_000),
    ],
)
def test_a_flipped_bit_is_found_in_every_column(large, column, element):
    flip(large, column, element)
    [fault] = faults_of(large)
    assert fault.startswith(f"{column}, block 1, rows 65536 to 131071: expected the checksum ")


@pytest.mark.parametrize(
    ("place", "rows"), [(3, "block 0, rows 0 to 65535"), (-2, "block 2, rows 131072 to 131171")]
)
def test_a_flipped_bit_of_a_name_is_found(large, place, rows):
    with h5py.File(large) as file:
        n_bytes = int(file["commit"][1])
    flip(large, "names", place % n_bytes)
    [fault] = faults_of(large)
    assert fault.startswith(f"names, {rows}: expected the checksum ")


def test_a_damaged_end_of_a_blocks_names_is_found(large):
    poke(large, "name_ends", BLOCK - 1, 2**60)
    assert [fault.split(":")[0] + fault[-20:] for fault in faults_of(large)] == [
        "name_ends, block 0, rows 0 to 65535" + faults_of(large)[0][-20:],
        "names, block 0, rows 0 to 65535name_ends is damaged",
        "names, block 1, rows 65536 to 131071name_ends is damaged",
    ]


def test_several_faults_are_listed_in_the_order_of_rows(large):
    flip(large, "codes", (N_ROWS - 1, 0))
    flip(large, "codes", (5, 0))
    flip(large, "labels", 6)
    assert [fault.split(":")[0] for fault in faults_of(large)] == [
        "codes, block 0, rows 0 to 65535",
        "labels, block 0, rows 0 to 65535",
        "codes, block 2, rows 131072 to 131171",
    ]


def test_a_damaged_checksum_is_found_too(large):
    flip(large, "checksums", (1, 0))
    flip(large, "tail_checksums", (1, 2))
    assert [fault.split(":")[0] for fault in faults_of(large)] == [
        "codes, block 1, rows 65536 to 131071",
        "labels, block 2, rows 131072 to 131171",
    ]


def test_progress_is_in_rows(large):
    seen = []
    with Bank.open(large) as bank:
        assert list(find_faults(bank, seen.append)) == []
    assert seen == [BLOCK, 2 * BLOCK, N_ROWS]


@pytest.mark.parametrize("name", ["class_names", "source", "manifest", "resampler", "identity"])
def test_a_changed_attribute_is_found_on_opening(large, name):
    with h5py.File(large, "r+") as file:
        text = file.attrs[name]
        file.attrs[name] = text + " " if name != "identity" else "0" * 32
    with pytest.raises(BankError, match="attributes do not match their checksum"):
        Bank.open(large)


def test_changed_marks_are_found_on_opening(large):
    delete_rows(large, [3, 5, 70_000])
    with h5py.File(large, "r+") as file:
        bitmap = file["deleted"][1]
        bitmap[0] = 0b00101000  # other rows, the same number
        file["deleted"][1] = bitmap
    with pytest.raises(BankError, match="marks of deleted rows do not match their checksum"):
        Bank.open(large)


# Values that no writer stores


def faults_without_checksums(path) -> list[str]:
    with Bank.open(path) as bank:
        faults = [str(fault) for fault in find_faults(bank)]
        with pytest.raises(BankError, match="damaged"):
            bank.verify()
    return faults


def test_names_that_are_not_utf8_are_found(second_version):
    poke(second_version, "names", 1, 0xFF)
    [fault] = faults_without_checksums(second_version)
    assert fault == "names, block 0, rows 0 to 3: a name of rows 0 to 3 is not UTF-8"


def test_name_ends_that_do_not_ascend_are_found(second_version):
    poke(second_version, "name_ends", 1, 2**60)
    [fault] = faults_without_checksums(second_version)
    assert "name_ends of rows 0 to 3 do not ascend" in fault


def test_padding_bits_that_are_set_are_found(second_version):
    poke(second_version, "codes", (2, 2), 1)
    [fault] = faults_without_checksums(second_version)
    assert fault.startswith("codes, block 0, rows 0 to 3")
    assert "last 4 bits" in fault


@pytest.mark.parametrize("label", [-2, len(CLASSES)])
def test_labels_out_of_range_are_found(second_version, label):
    poke(second_version, "labels", 1, label)
    [fault] = faults_without_checksums(second_version)
    assert "labels from -1 to 2, found" in fault


# Writers


def test_rows_are_not_added_behind_a_damaged_block(large):
    flip(large, "codes", (N_ROWS - 1, 0))
    before = large.read_bytes()
    header = make_header(16, manifest=None)
    message = f"checksum [0-9a-f]{{8}} of codes of rows 131072 to {N_ROWS - 1}.*hashkit verify"
    with pytest.raises(BankError, match=message):
        BankWriter.append(large, header, n_rows=1, n_name_bytes=1)
    assert large.read_bytes() == before
    flip(large, "codes", (N_ROWS - 1, 0))
    BankWriter.append(large, header, n_rows=1, n_name_bytes=1).close()  # the lock is free


def test_damage_before_the_last_block_stays_detectable(large):
    """A writer copies the checksums with the rows, so it never makes damage look right."""
    flip(large, "codes", (5, 0))
    with BankWriter.append(
        large, make_header(16, manifest=None), n_rows=9, n_name_bytes=9
    ) as writer:
        writer.write(np.zeros((5, 2), np.uint8), [""] * 5, np.zeros(5, np.int64), n_consumed=5)
        writer.complete()
    [fault] = faults_of(large)
    assert fault.startswith("codes, block 0, ")


def test_an_interrupted_write_does_not_spoil_the_checksums(tmp_path, monkeypatch):
    """Ctrl-C may come after the rows were written and before the writer counts them."""
    path = tmp_path / "bank.h5"
    with BankWriter.create(path, make_header(), n_rows=20, n_name_bytes=99) as writer:
        writer.write(*rows_of([0, 1]), n_consumed=2)
        before = writer._written
        writer.write(*rows_of([2, 4]), n_consumed=4)
        writer._written = before
        writer.flush()
        writer.write(*rows_of([5]), n_consumed=5)
    assert faults_of(path) == []
    with Bank.open(path) as bank:
        assert list(bank.names) == rows_of([0, 1, 5])[1]
