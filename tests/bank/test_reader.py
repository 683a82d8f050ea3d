"""Reading banks: round trips, lazy reading and refused files."""

from __future__ import annotations

import dataclasses
import threading
import time
import tracemalloc

import h5py
import numpy as np
import pytest
from bank_samples import (
    CLASSES,
    N_BITS,
    assert_is_prefix,
    job_header,
    make_header,
    make_source,
    rows_of,
    run_job,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashkit.bank.commit import Commit
from hashkit.bank.layout import FORMAT_VERSION
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import code_size, pack
from hashkit.errors import BankError, BankMismatchError

names_without_nul = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bank.h5"


@pytest.fixture(scope="module")
def complete_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("complete") / "bank.h5"
    with BankWriter.create(path, make_header(), n_rows=4, n_name_bytes=60) as writer:
        writer.write(*rows_of([0, 1, 2, 4]), n_consumed=5)
        writer.complete()
    return path.read_bytes()


@pytest.fixture
def complete(path, complete_bytes):
    """A complete bank of 4 rows."""
    path.write_bytes(complete_bytes)
    return path


@st.composite
def banks(draw):
    n_bits, n_rows = draw(st.integers(1, 130)), draw(st.integers(0, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["none", "single", "multi"]))
    labels = {
        "none": None,
        "single": rng.integers(-1, 3, n_rows),
        "multi": rng.integers(0, 2, (n_rows, 3)),
    }[kind]
    names = draw(st.lists(names_without_nul, min_size=n_rows, max_size=n_rows))
    batch, room = draw(st.integers(1, 4)), draw(st.integers(0, 12))
    bits = rng.integers(0, 2, (n_rows, n_bits))
    return n_bits, kind, bits, names, labels, batch, room


@pytest.mark.end_to_end
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(banks())
def test_round_trip(path, sample):
    n_bits, kind, bits, names, labels, batch, room = sample
    codes = pack(bits) if len(bits) else np.zeros((0, code_size(n_bits)), dtype=np.uint8)
    header = make_header(n_bits, label_kind=kind)
    with BankWriter.create(path, header, n_rows=room, n_name_bytes=room, overwrite=True) as writer:
        for start in range(0, len(names), batch):
            rows = slice(start, start + batch)
            part = None if labels is None else labels[rows]
            writer.write(codes[rows], names[rows], part, n_consumed=min(start + batch, len(names)))
        writer.complete()
    with Bank.open(path) as bank:
        assert bank.is_complete
        assert bank.header == header
        assert bank.n_bits == n_bits
        assert len(bank) == len(bank.names) == bank.n_consumed == len(names)
        np.testing.assert_array_equal(bank.codes, codes, strict=True)
        assert list(bank.names) == bank.names[:] == [bank.names[row] for row in range(len(names))]
        assert list(bank.names) == names
        if labels is None:
            assert bank.labels is None
        else:
            np.testing.assert_array_equal(bank.labels, labels)
            assert bank.labels.dtype == ("<i4" if kind == "single" else np.uint8)
        bank.verify()


def test_codes_and_labels_are_read_only_mappings(complete):
    with Bank.open(complete) as bank:
        for values in (bank.codes, bank.labels):
            assert isinstance(values.base.base, np.memmap)
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 0


def test_names_behave_like_a_sequence(complete):
    with Bank.open(complete) as bank:
        names = list(bank.names)
        assert bank.names[-1] == names[-1]
        assert bank.names[1:3] == names[1:3]
        assert bank.names[::-1] == names[::-1]
        assert bank.names[3:1] == []
        assert bank.names[np.int64(2)] == names[2]
        assert names[2] in bank.names
        assert bank.names.index(names[2]) == 2
        with pytest.raises(IndexError):
            bank.names[4]
        with pytest.raises(IndexError):
            bank.names[-5]


def test_arrays_stay_valid_after_close(complete):
    bank = Bank.open(complete)
    codes, names = bank.codes, bank.names
    bank.close()
    np.testing.assert_array_equal(codes, rows_of([0, 1, 2, 4])[0])
    assert names[0] == "/0.png"
    with pytest.raises(BankError, match="closed"):
        _ = bank.codes


def test_a_bank_lists_all_its_sources(path):
    run_job(path)
    with Bank.open(path) as bank:
        assert bank.sources == (job_header("first").source, job_header("second").source)
        assert bank.header == job_header("second")
        assert_is_prefix(bank)


def test_long_class_names_fit(path):
    class_names = tuple(f"class number {label:06}" for label in range(10_000))
    header = make_header(class_names=class_names)
    BankWriter.create(path, header, n_rows=1, n_name_bytes=1).close()
    with Bank.open(path) as bank:
        assert bank.class_names == class_names


@pytest.mark.end_to_end
def test_a_bank_of_a_million_rows_opens_in_milliseconds(path):
    n_rows = 1_000_000
    codes = np.zeros((n_rows, 3), dtype=np.uint8)
    names = [str(row) for row in range(n_rows)]
    header = make_header(label_kind="none")
    with BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=5_888_890) as writer:
        writer.write(codes, names, n_consumed=n_rows)
    seconds = []
    tracemalloc.start()
    try:
        for _ in range(5):
            started = time.process_time()
            with Bank.open(path) as bank:
                assert bank.names[777_777] == "777777"
                assert bank.codes[n_rows - 1].sum() == 0
            seconds.append(time.process_time() - started)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert min(seconds) < 0.05
    assert peak < 1 << 20


def refusal(path, error=BankError):
    with pytest.raises(error) as caught:
        Bank.open(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_missing_file_is_refused(path):
    assert "no such bank" in refusal(path)


def test_a_folder_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5_000])
def test_a_file_that_is_not_hdf5_is_refused(path, content):
    path.write_bytes(content)
    assert "not HDF5" in refusal(path)


def test_hdf5_that_is_not_a_bank_is_refused(path):
    h5py.File(path, "w").close()
    assert "not a code bank" in refusal(path)


def test_a_later_format_version_is_refused(complete):
    with h5py.File(complete, "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1
    message = refusal(complete, BankMismatchError)
    assert f"version {FORMAT_VERSION} or less" in message
    assert f"found {FORMAT_VERSION + 1}" in message


def test_a_truncated_file_is_refused(complete):
    content = complete.read_bytes()
    for size in range(0, len(content), 97):
        complete.write_bytes(content[:size])
        refusal(complete)
    complete.write_bytes(content[:-1])
    assert "cut off" in refusal(complete)


@pytest.mark.parametrize(
    "name", ["n_bits", "manifest", "class_names", "source", "label_kind", "format_version"]
)
def test_a_missing_attribute_is_refused(complete, name):
    with h5py.File(complete, "r+") as file:
        del file.attrs[name]
    refusal(complete)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_bits", 0),
        ("n_bits", 21),
        ("manifest", "{}"),
        ("manifest", "not JSON"),
        ("manifest", "[]"),
        ("source", '[{"dataset": 1}]'),
        ("class_names", "1"),
        ("label_kind", "many"),
        ("format_version", "one"),
    ],
)
def test_an_invalid_attribute_is_refused(complete, name, value):
    with h5py.File(complete, "r+") as file:
        file.attrs[name] = value
    refusal(complete)


@pytest.mark.parametrize("name", ["commit", "codes", "names", "name_ends", "labels", "deleted"])
def test_a_missing_or_rewritten_dataset_is_refused(complete, name):
    with h5py.File(complete, "r+") as file:
        values = file[name][...]
        del file[name]
    refusal(complete)
    with h5py.File(complete, "r+") as file:
        file.create_dataset(name, data=values, chunks=values.shape)
    assert "to be stored contiguously" in refusal(complete)
    with h5py.File(complete, "r+") as file:
        del file[name]
        file.create_dataset(name, data=values.astype(">i2"))
    assert f"expected {name} to be" in refusal(complete)


def poke(path, name, element, value):
    """Overwrite one element of a dataset."""
    with h5py.File(path, "r+") as file:
        file[name][element] = value


def test_a_damaged_commit_record_is_refused(complete):
    poke(complete, "commit", 0, 3)
    assert "commit record is damaged" in refusal(complete)


@pytest.mark.parametrize("field", ["n_consumed", "deletion_generation", "row_generation"])
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_counts_that_cannot_grow_are_refused(complete, field, value):
    with h5py.File(complete, "r+") as file:
        now = Commit(*map(int, file["commit"][:-1]))
        record = dataclasses.replace(now, **{field: value}).to_bytes(FORMAT_VERSION)
        file["commit"][...] = np.frombuffer(record, "<u8")
    assert f"damaged: the commit record has a count of {value}" in refusal(complete)


def test_a_commit_record_that_is_being_written_is_read_again(complete):
    with Bank.open(complete) as bank:
        offset = bank._layout.offsets["commit"]
    whole = complete.read_bytes()[offset : offset + 64]

    def put(record):
        with complete.open("r+b") as file:
            file.seek(offset)
            file.write(record)

    put(whole[:4] + b"torn" + whole[8:])
    timer = threading.Timer(0.01, put, [whole])
    timer.start()
    with Bank.open(complete) as bank:
        assert len(bank) == 4
    timer.join()


def test_more_committed_rows_than_capacity_is_refused(complete):
    record = Commit(5, 20).to_bytes(FORMAT_VERSION)
    poke(complete, "commit", slice(None), np.frombuffer(record, "<u8"))
    assert "there is room for 4" in refusal(complete)


def test_a_wrong_end_of_the_last_name_is_refused(complete):
    poke(complete, "name_ends", 3, 1)
    assert "name_ends says 1" in refusal(complete)


def test_name_ends_that_do_not_ascend_are_refused(complete):
    poke(complete, "name_ends", 1, 2**60)
    with Bank.open(complete) as bank:
        for broken in (lambda: bank.names[1], lambda: bank.names[2], lambda: list(bank.names)):
            with pytest.raises(BankError, match="do not ascend"):
                broken()
        assert bank.names[0] == "/0.png"


def test_contradictory_headers_are_refused():
    with pytest.raises(BankError, match="20 bits, found 24"):
        make_header(n_bits=24, manifest=make_header().manifest)
    with pytest.raises(BankError, match="known: none, single, multi"):
        make_header(label_kind="many")
    with pytest.raises(BankError, match="multi-hot labels need class names"):
        make_header(label_kind="multi", class_names=())


def test_the_hash_of_names_depends_on_names_order_and_labels():
    labels = np.array([0, 1])
    hashes = [
        hash_names(["a", "b"], None),
        hash_names(["b", "a"], None),
        hash_names(["ab"], None),
        hash_names(["a", "b"], labels),
        hash_names(["a", "b"], labels[::-1]),
        hash_names(["a", "b"], labels[:, None]),
        hash_names(["a", "b"], labels[None, :]),
        hash_names([], None),
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_names(("a", "b"), labels.astype(np.uint8)) == hash_names(["a", "b"], labels)


def test_the_hash_of_names_is_fixed():
    # printf 'x/1.png\0x/2.png\0\0none' | sha256sum
    expected = "1296fb35d0d88f84c8c9987fba64fa2eb11cae2b60b2f0b27744d150fd218731"
    assert hash_names(["x/1.png", "x/2.png"], None) == expected


def test_a_source_is_identified_by_its_list():
    source = make_source()
    assert source.is_same_list(make_source(protocol="cifar10-59k", part="query"))
    assert not source.is_same_list(make_source(root="/elsewhere"))
    assert not source.is_same_list(make_source(n_images=6))
    assert not source.is_same_list(None)
    in_memory = make_source(root=None)
    assert not in_memory.is_same_list(make_source(root=None, dataset="digits"))


def test_a_bank_shows_the_bits_and_classes_of_its_header(complete):
    with Bank.open(complete) as bank:
        assert (bank.n_bits, bank.class_names) == (N_BITS, CLASSES)
        assert repr(bank) == f"<Bank {complete}: 4 codes of 20 bits, complete>"
