"""What format version 3 has beyond version 2: golden files and specification, value by value."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from bank_samples import make_header, make_source, rows_of, run_job

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codesets import CodeSet
from hashkit.formats import open_codes, save_codes
from hashkit.rows_digest import codes_digest

BLOCK = 65_536
GOLDEN = Path(__file__).parents[1] / "golden"
FULL, BARE = GOLDEN / "bank-v3.h5", GOLDEN / "bank-v3-codes.h5"
COLUMNS = ["codes", "name_ends", "labels", "file_size", "file_mtime_ns", "file_digest", "names"]
ATTRIBUTES = {
    "checksum_columns",
    "class_names",
    "columns",
    "format",
    "format_version",
    "identity",
    "label_kind",
    "manifest",
    "model_sha256",
    "n_bits",
    "precision",
    "provider",
    "resampler",
    "runtime",
    "source",
}


def bytes_of(file: h5py.File, column: str, first: int, stop: int) -> bytes:
    """Bytes of a column's rows ``first`` to ``stop``, as the specification says."""
    if column != "names":
        return file[column][first:stop].tobytes()
    ends = [0, *file["name_ends"][:stop].tolist()]
    return file["names"][ends[first] : ends[stop]].tobytes()


def check_checksums(file: h5py.File) -> None:
    """Compute every checksum of a bank again, in the plainest way."""
    n_rows, row_generation = int(file["commit"][0]), int(file["commit"][6])
    columns = json.loads(file.attrs["checksum_columns"])
    capacity = len(file["codes"])
    assert file["checksums"].shape == (-(-capacity // BLOCK), len(columns))
    assert file["tail_checksums"].shape == (2, len(columns))
    for number, column in enumerate(columns):
        for block in range(n_rows // BLOCK):
            expected = zlib.crc32(bytes_of(file, column, block * BLOCK, (block + 1) * BLOCK))
            assert file["checksums"][block, number] == expected
        tail = zlib.crc32(bytes_of(file, column, n_rows - n_rows % BLOCK, n_rows))
        assert file["tail_checksums"][row_generation % 2, number] == tail
    if file["commit"][4]:
        slot = int(file["commit"][5]) % 2
        assert file["deleted_checksums"][slot] == zlib.crc32(file["deleted"][slot].tobytes())
    text = b"".join(f"{name}\0{file.attrs[name]}\0".encode() for name in sorted(ATTRIBUTES))
    assert file.attrs["header_check"] == zlib.crc32(text)
    assert set(file.attrs) == ATTRIBUTES | {"header_check", "created_by"}
    record = file["commit"][...].tobytes()
    assert struct.unpack("<8Q", record)[7] == zlib.crc32(record[:56])
    assert file["commit"].id.get_offset() % 64 == 0
    assert len(record) == 64


def test_the_golden_bank_with_every_column_matches_the_specification():
    with h5py.File(FULL) as file:
        check_checksums(file)
        assert file["commit"][:7].tolist() == [5, 46, 4, 1, 2, 3, 1]
        assert json.loads(file.attrs["columns"]) == ["codes", "names", "labels", "files"]
        assert json.loads(file.attrs["checksum_columns"]) == COLUMNS
        assert file.attrs["format_version"] == 3
        assert re.fullmatch("[0-9a-f]{32}", file.attrs["identity"])
        assert file.attrs["resampler"] == "Pillow 12.1.0, Pillow 13.0.0"
        assert [source["n_images"] for source in json.loads(file.attrs["source"])] == [3, 4, None]
        assert file["deleted"][...].tolist() == [[0b00010000], [0b00011000]]
        assert file["file_size"].dtype == "<u8"
        assert file["file_size"][...].tolist() == [1_234, 0, 2**40, 17, 2**63]
        assert file["file_mtime_ns"].dtype == "<i8"
        mtimes = [1_700_000_000_123_456_789, 0, -1, 2**62, 1]
        assert file["file_mtime_ns"][...].tolist() == mtimes
        assert file["file_digest"][...].tolist() == np.arange(80).reshape(5, 16).tolist()
        for dataset in file.values():
            assert dataset.chunks is None
            assert dataset.id.get_offset() % 64 == 0


def test_the_golden_bank_of_bare_codes_costs_its_codes():
    with h5py.File(BARE) as file:
        check_checksums(file)
        assert file["commit"][:7].tolist() == [5, 0, 5, 1, 0, 0, 1]
        assert json.loads(file.attrs["columns"]) == ["codes"]
        assert json.loads(file.attrs["checksum_columns"]) == ["codes"]
        assert set(file) == {
            *("commit", "codes", "deleted", "deleted_checksums"),
            *("checksums", "tail_checksums"),
        }
    with Bank.open(BARE) as bank:
        assert list(bank.names) == bank.names[:] == [""] * 5
        assert bank.names[4] == ""
        assert (bank.labels, bank.files, bank.header.source) == (None, None, None)
        bank.verify()


def test_the_digest_of_rows_is_as_documented():
    with Bank.open(FULL) as bank:
        for n_rows in range(6):
            text = struct.pack("<QQI", 11, n_rows, zlib.crc32(bank.codes[:n_rows].tobytes()))
            assert bank.rows_digest(n_rows) == hashlib.sha256(text).hexdigest()
        assert bank.rows_digest() == bank.rows_digest(5) == codes_digest(bank.codes, 11)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A bank of two and a half blocks, written in pieces that straddle the blocks, which grew."""
    path = tmp_path_factory.mktemp("large") / "bank.h5"
    n_rows = 2 * BLOCK + BLOCK // 2
    codes = np.random.default_rng(0).integers(0, 256, (n_rows, 2), dtype=np.uint8)
    header = make_header(16, manifest=None, source=make_source(n_images=n_rows))
    with BankWriter.create(path, header, n_rows=10, n_name_bytes=10, commit_seconds=0) as writer:
        for first in range(0, n_rows, 50_000):
            stop = min(first + 50_000, n_rows)
            names = [f"{row}" * (row % 3) for row in range(first, stop)]
            labels = np.arange(first, stop) % 3
            writer.write(codes[first:stop], names, labels, n_consumed=stop)
        writer.complete()
    return path


def test_checksums_of_several_blocks_are_as_documented(large):
    with h5py.File(large) as file:
        check_checksums(file)
        assert len(file["checksums"]) == 3
    with Bank.open(large) as bank:
        bank.verify()
        for n_rows in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len(bank)):
            assert bank.rows_digest(n_rows) == codes_digest(bank.codes[:n_rows], 16)


def test_every_state_of_a_growing_bank_has_its_checksums(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=make_source(n_images=30))
    generations = []
    with BankWriter.create(path, header, n_rows=3, n_name_bytes=1, commit_seconds=0) as writer:
        for image in range(30):
            writer.write(*rows_of([image]), n_consumed=image + 1)
            with h5py.File(path, "r", locking=False) as file:
                check_checksums(file)
                generations.append(int(file["commit"][6]))
        writer.complete()
    # An image that gives no row changes no rows.
    assert generations == [
        1,
        2,
        3,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        9,
        *range(10, 16),
        15,
        *range(16, 22),
        21,
        *range(22, 27),
    ]
    delete_rows(path, [3, 5])
    with h5py.File(path) as file:
        check_checksums(file)
        assert file["commit"][4:7].tolist() == [2, 1, 26]


def test_the_identity_stays_until_a_bank_is_made_again(tmp_path):
    path = tmp_path / "bank.h5"
    BankWriter.create(path, make_header(), n_rows=1, n_name_bytes=1).close()
    with Bank.open(path) as bank:
        first = bank.identity
    with BankWriter.resume(path, make_header(), commit_seconds=0) as writer:
        writer.write(*rows_of(range(9)), n_consumed=9)
        writer.complete()
    with BankWriter.append(path, make_header(), n_rows=9, n_name_bytes=90) as writer:
        writer.write(*rows_of(range(9)), n_consumed=9)
        writer.complete()
    delete_rows(path, [1])
    with Bank.open(path) as bank:
        assert bank.identity == first
    save_codes(tmp_path / "copy.h5", open_codes(path))
    BankWriter.create(path, make_header(), n_rows=1, n_name_bytes=1, overwrite=True).close()
    for other in (path, tmp_path / "copy.h5"):
        with Bank.open(other) as bank:
            assert re.fullmatch("[0-9a-f]{32}", bank.identity)
            assert bank.identity != first


def test_files_are_stored_for_the_rows_that_have_them(tmp_path):
    from hashkit.bank.image_files import ImageFiles

    path = tmp_path / "bank.h5"
    codes, names, labels = rows_of([0, 1, 2, 4])
    known = ImageFiles(
        np.array([5, 7], np.uint64), np.array([-3, 9]), np.full((2, 16), 200, np.uint8)
    )
    header = make_header(has_files=True)
    with BankWriter.create(path, header, n_rows=1, n_name_bytes=1) as writer:
        writer.write(codes[:2], names[:2], labels[:2], files=known, n_consumed=2)
        writer.write(codes[2:], names[2:], labels[2:], n_consumed=4)
        writer.complete()
    with Bank.open(path) as bank:
        assert bank.files is not None
        assert bank.files.sizes.tolist() == [5, 7, 0, 0]
        assert bank.files.mtimes_ns.tolist() == [-3, 9, 0, 0]
        assert bank.files.digests.sum(axis=1).tolist() == [3200, 3200, 0, 0]
    delete_rows(path, [0])
    save_codes(tmp_path / "copy.h5", open_codes(path))
    with Bank.open(tmp_path / "copy.h5") as bank:
        assert bank.files.sizes.tolist() == [7, 0, 0]
        bank.verify()


def test_names_are_refused_where_there_is_no_column_for_them(tmp_path):
    header = make_header(has_names=False, label_kind="none")
    codes, names, _ = rows_of([0, 1])
    path = tmp_path / "bank.h5"
    with BankWriter.create(path, header, n_rows=1, n_name_bytes=0) as writer:
        with pytest.raises(Exception, match="expected no names, because the bank has none"):
            writer.write(codes, names, n_consumed=2)
        writer.write(codes, n_consumed=2)
        writer.complete()
    with Bank.open(path) as bank:
        assert list(bank.names) == ["", ""]


def test_a_bank_of_nameless_codes_has_no_names(tmp_path):
    codes = np.zeros((3, 1), np.uint8)
    for names in ((), ["", "", ""], ["", "a", ""]):
        save_codes(tmp_path / "bank.h5", CodeSet(codes, 8, names=names), overwrite=True)
        with Bank.open(tmp_path / "bank.h5") as bank:
            assert bank.header.has_names == ("a" in names)
            assert list(bank.names) == (list(names) or [""] * 3)


def test_a_list_that_grows_can_be_continued(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=make_source(n_images=None, names_sha256="", root="/uploads"))
    for n_images in (3, 9):
        start = BankWriter.resume if path.exists() else BankWriter.create
        sizes = {} if path.exists() else {"n_rows": 1, "n_name_bytes": 1}
        with start(path, header, **sizes) as writer:
            images = range(writer.n_consumed, n_images)
            writer.write(*rows_of(images), n_consumed=n_images)
    with Bank.open(path) as bank:
        assert bank.sources[0].n_images is None
        assert len(bank) == len(rows_of(range(9))[1])


def test_a_job_of_two_lists_has_its_checksums(tmp_path):
    run_job(tmp_path / "bank.h5")
    with h5py.File(tmp_path / "bank.h5") as file:
        check_checksums(file)
