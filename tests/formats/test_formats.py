"""What each format stores, and that files are written atomically."""

from __future__ import annotations

import dataclasses
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_samples import content_of, run_job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit import errors
from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import BankError, CodesError, HashkitError, MissingExtraError
from hashkit.formats import FORMATS, format_named, format_of, open_codes, rows, save_codes
from hashkit.formats.origin import origin_of

LABELLED = sorted(suffix for suffix, kind in FORMATS.items() if kind.keeps_labels)


def make_codes(
    n_rows: int, n_bits: int, labels: str = "none", *, named: bool = True, n_deleted: int = 0
) -> CodeSet:
    rng = np.random.default_rng(n_rows * 1000 + n_bits)
    values: NDArray[Any] | None = None
    if labels == "single":
        values = rng.integers(-1, 4, n_rows)
    elif labels == "multi":
        values = rng.integers(0, 2, (n_rows, 4)).astype(np.uint8)
    deleted = np.zeros(n_rows, np.bool_)
    deleted[rng.permutation(n_rows)[:n_deleted]] = True
    return CodeSet(
        pack(rng.integers(0, 2, (n_rows, n_bits))),
        n_bits,
        values,
        [f"{'é' * (row % 3)}/{row}.png" for row in range(n_rows)] if named else (),
        ("ant", "bee", "cat", "dög") if labels != "none" else (),
        deleted if n_deleted else None,
    )


def check_same(found: Any, expected: CodeSet, suffix: str) -> None:
    """Compare the codes read from a file with the rows that were written."""
    kind = FORMATS[suffix]
    kept = np.ones(len(expected), np.bool_) if expected.deleted is None else ~expected.deleted
    assert found.n_bits == expected.n_bits
    assert found.deleted is None
    assert len(found) == np.count_nonzero(kept)
    np.testing.assert_array_equal(found.codes, expected.codes[kept], strict=True)
    if kind.keeps_names and len(expected.names) and len(found):
        names = [name for name, keep in zip(expected.names, kept, strict=True) if keep]
        assert list(found.names) == names
    else:
        assert not any(found.names)
    if kind.keeps_labels and expected.labels is not None:
        np.testing.assert_array_equal(found.labels, expected.labels[kept])
        assert tuple(found.class_names) == tuple(expected.class_names)
    else:
        assert found.labels is None


@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    n_rows=st.integers(1, 40),
    n_bits=st.integers(1, 70),
    labels=st.sampled_from(["none", "single", "multi"]),
    named=st.booleans(),
    share_deleted=st.sampled_from([0.0, 0.3, 0.9]),
)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_format_reads_back_what_it_stores(
    tmp_path, monkeypatch, suffix, n_rows, n_bits, labels, named, share_deleted
):
    n_deleted = int(share_deleted * n_rows)
    codes = make_codes(n_rows, n_bits, labels, named=named, n_deleted=n_deleted)
    path = tmp_path / f"codes{suffix}"
    monkeypatch.setattr(rows, "BLOCK_ROWS", 7)
    calls: list[tuple[int, int]] = []
    save_codes(path, codes, overwrite=True, progress=lambda *call: calls.append(call))
    check_same(open_codes(path, n_bits=n_bits), codes, suffix)
    assert all(done <= total for done, total in calls)
    assert calls[-1][0] == calls[-1][1]


@looped("suffix", [suffix for suffix in FORMATS if suffix != ".txt"])
@looped("labels", ["none", "single", "multi"])
def test_a_file_without_rows_can_be_read(tmp_path, suffix, labels):
    codes = make_codes(5, 16, labels, n_deleted=5)
    path = tmp_path / f"codes{suffix}"
    save_codes(path, codes)
    found = open_codes(path)
    assert (len(found), found.n_bits) == (0, 16)


@looped("other", LABELLED)
def test_every_format_converts_to_every_other(tmp_path, other):
    codes = make_codes(30, 24, "single")
    save_codes(tmp_path / f"a{other}", codes)
    for suffix in FORMATS:
        save_codes(tmp_path / f"b{suffix}", open_codes(tmp_path / f"a{other}"))
        check_same(open_codes(tmp_path / f"b{suffix}"), codes, suffix)


# Atomic writes


class Failing(Sequence[str]):
    """Names that raise an error from some row on."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) and index.start:
            raise OSError(5, "Input/output error")
        return ["a"] * 10 if isinstance(index, slice) else "a"


@looped("suffix", FORMATS)
def test_an_existing_file_is_not_overwritten_silently(tmp_path, suffix):
    path = tmp_path / f"codes{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(HashkitError, match=r"exists already; replace it with `overwrite=True`"):
        save_codes(path, make_codes(3, 8))
    assert path.read_bytes() == b"precious"
    with path.open("rb") as opened_before:
        save_codes(path, make_codes(3, 8), overwrite=True)
        if sys.platform != "win32":  # another file replaced it
            assert opened_before.read() == b"precious"
    assert len(open_codes(path)) == 3


@looped("suffix", [suffix for suffix in FORMATS if FORMATS[suffix].keeps_names])
def test_a_failure_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 10)
    codes = dataclasses.replace(make_codes(30, 8), names=Failing())
    path = tmp_path / f"codes{suffix}"
    with pytest.raises((HashkitError, OSError), match="Input/output error"):
        save_codes(path, codes)
    assert {file.name for file in tmp_path.iterdir()} <= {f"{path.name}.lock"}
    path.write_bytes(b"precious")
    with pytest.raises((HashkitError, OSError), match="Input/output error"):
        save_codes(path, codes, overwrite=True)
    assert path.read_bytes() == b"precious"
    assert {file.name for file in tmp_path.iterdir()} <= {path.name, f"{path.name}.lock"}


@pytest.mark.parametrize("suffix", [".h5", ".parquet", ".npz"])
def test_a_file_can_be_replaced_by_codes_read_from_it(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 4)
    codes, path = make_codes(30, 20, "multi"), tmp_path / f"codes{suffix}"
    save_codes(path, codes)
    save_codes(path, open_codes(path), overwrite=True)
    check_same(open_codes(path), codes, suffix)


def test_a_bank_is_compacted_in_place(tmp_path):
    path = tmp_path / "bank.h5"
    run_job(path)
    with Bank.open(path) as before:
        names, origin = list(before.names), origin_of(before)
    delete_rows(path, [0, 5, 33])
    save_codes(path, open_codes(path), overwrite=True)
    with Bank.open(path) as after:
        kept = [row for row in range(34) if row not in (0, 5, 33)]
        assert list(after.names) == [names[row] for row in kept]
        np.testing.assert_array_equal(after.codes, before_codes(tmp_path)[kept])
        assert after.deleted is None
        assert origin_of(after) == origin
        after.verify()


def before_codes(folder: Path) -> NDArray[np.uint8]:
    run_job(folder / "again.h5")
    return Bank.open(folder / "again.h5").codes


def test_a_link_stays_a_link(tmp_path):
    for suffix in FORMATS:
        there = tmp_path / f"there{suffix}"
        save_codes(there, make_codes(3, 8))
        link = tmp_path / f"link{suffix}"
        link.symlink_to(there)
        save_codes(link, make_codes(5, 8), overwrite=True)
        assert link.is_symlink()
        assert len(open_codes(there)) == 5


# Where codes come from


def test_a_bank_keeps_its_origin_through_parquet(tmp_path):
    path = tmp_path / "bank.h5"
    run_job(path)
    for source, target in (("bank.h5", "a.parquet"), ("a.parquet", "b.h5")):
        save_codes(tmp_path / target, open_codes(tmp_path / source))
    assert content_of(tmp_path / "b.h5") == content_of(path)


def test_an_incomplete_bank_stays_incomplete(tmp_path):
    from bank_samples import job_header, rows_of

    from hashkit.bank.writer import BankWriter

    path, copy = tmp_path / "bank.h5", tmp_path / "copy.h5"
    with BankWriter.create(path, job_header("first"), n_rows=24, n_name_bytes=300) as writer:
        writer.write(*rows_of(range(8)), n_consumed=8)
    save_codes(tmp_path / "a.parquet", open_codes(path))
    save_codes(copy, open_codes(tmp_path / "a.parquet"))
    with BankWriter.resume(copy, job_header("first")) as writer:
        assert (writer.n_consumed, writer.is_complete) == (8, False)
        writer.write(*rows_of(range(8, 24)), n_consumed=24)
        writer.complete()
    assert list(Bank.open(copy).names) == rows_of(range(24))[1]


def test_codes_of_unknown_origin_have_empty_metadata(tmp_path):
    labels = np.array([[0, 1], [1, 1]], dtype=np.uint8)
    codes = CodeSet(pack(np.eye(2, 9, dtype=np.uint8)), 9, labels)
    save_codes(tmp_path / "bank.h5", codes)
    with Bank.open(tmp_path / "bank.h5") as bank:
        header = bank.header
        assert header.manifest is None
        made_by = (header.model_sha256, header.runtime, header.provider, header.precision)
        assert made_by == ("", "", "", "")
        assert (bank.sources, bank.is_complete) == ((), True)
        assert bank.class_names == ("0", "1")
        assert list(bank.names) == ["", ""]
        bank.verify()


def test_labels_that_a_bank_cannot_store_are_refused(tmp_path):
    codes = make_codes(3, 8)
    for labels, names, message in (
        (np.array([0, 1, 9]), ("a", "b"), "labels from -1 to 1, found 0 to 9"),
        (np.eye(3, dtype=np.uint8), ("a", "b"), "3 class names, one per column, found 2"),
    ):
        bad = dataclasses.replace(codes, labels=labels, class_names=names)
        with pytest.raises((BankError, CodesError), match=message):
            save_codes(tmp_path / "bank.h5", bad)
        assert not (tmp_path / "bank.h5").exists()
    negative = dataclasses.replace(codes, labels=np.array([-7, 0, 1]))
    save_codes(tmp_path / "bank.h5", negative)
    assert Bank.open(tmp_path / "bank.h5").labels.tolist() == [-1, 0, 1]


@looped("suffix", FORMATS)
def test_labels_of_a_separate_file_are_written_too(tmp_path, suffix):
    codes = make_codes(4, 8, n_deleted=0)
    path = tmp_path / f"codes{suffix}"
    save_codes(path, codes)
    (tmp_path / "labels").write_text("cat\nant\ncat\nbee\n")
    found = open_codes(path, tmp_path / "labels")
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0, 2, 1]
    save_codes(tmp_path / "labelled.h5", found)
    assert Bank.open(tmp_path / "labelled.h5").class_names == ("ant", "bee", "cat")
    (tmp_path / "labels").write_text("1\n2\n")
    with pytest.raises(CodesError, match=r"expected 4 labels in .*labels, .*found 2"):
        open_codes(path, tmp_path / "labels")


def test_a_bank_with_a_labels_file_keeps_its_model_and_its_deleted_rows(tmp_path):
    run_job(tmp_path / "bank.h5")
    save_codes(tmp_path / "bare.h5", _unlabelled(tmp_path / "bank.h5"))
    delete_rows(tmp_path / "bare.h5", [1])
    (tmp_path / "labels").write_text("\n".join(["7"] * 34))
    found = open_codes(tmp_path / "bare.h5", tmp_path / "labels")
    assert found.deleted is not None
    assert np.flatnonzero(found.deleted).tolist() == [1]
    save_codes(tmp_path / "labelled.h5", found)
    with Bank.open(tmp_path / "labelled.h5") as bank:
        assert bank.header.model_sha256 == "ab" * 32
        assert bank.labels.tolist() == [7] * 33


def _unlabelled(path: Path) -> CodeSet:
    from hashkit.formats.origin import StoredCodes

    bank = Bank.open(path)
    return StoredCodes(bank.codes, bank.n_bits, names=bank.names, origin=origin_of(bank))


# Which format


def test_the_error_for_an_unknown_suffix_lists_the_known_ones(tmp_path):
    for name in ("codes.csv", "codes"):
        with pytest.raises(CodesError, match=r"unknown suffix .* known: \.h5, .*\.parquet"):
            save_codes(tmp_path / name, make_codes(3, 8))
    (tmp_path / "codes.csv").write_text("name,code\n")
    with pytest.raises(CodesError, match=r"unknown suffix '\.csv' for codes; known: \.h5, "):
        open_codes(tmp_path / "codes.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "codes.csv"]


def test_the_content_determines_the_format(tmp_path):
    codes = make_codes(9, 16, "single")
    for suffix in (".h5", ".npz", ".parquet"):
        save_codes(tmp_path / f"codes{suffix}", codes)
        for name in ("codes", "codes.txt"):
            (tmp_path / name).write_bytes((tmp_path / f"codes{suffix}").read_bytes())
            assert format_of(tmp_path / name) is FORMATS[suffix]
            check_same(open_codes(tmp_path / name), codes, suffix)
    (tmp_path / "lines").write_text("0101\n1111\n")
    assert open_codes(tmp_path / "lines").n_bits == 4
    assert format_named("x.index") is FORMATS[".faiss"]


@looped("suffix", FORMATS)
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(HashkitError, match=f"none\\{suffix}.*(there is no such|cannot be read)"):
        open_codes(tmp_path / f"none{suffix}")


@looped("suffix", FORMATS)
def test_a_damaged_file_gives_an_error_of_one_line(tmp_path, suffix):
    path = tmp_path / f"codes{suffix}"
    for content in (b"", b"01", b"\x89HDF\r\n\x1a\n", b"PAR1", b"PK\x03\x04", b"IB"):
        path.write_bytes(content * 3)
        if suffix == ".txt" and content == b"01":
            assert open_codes(path).n_bits == 6
            continue
        with pytest.raises((errors.CodesError, errors.BankError)) as caught:
            open_codes(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@looped("suffix", [".h5", ".npz", ".parquet", ".txt", ".faiss"])
def test_bits_that_contradict_the_file_are_refused(tmp_path, suffix):
    path = tmp_path / f"codes{suffix}"
    save_codes(path, make_codes(5, 20))
    with pytest.raises(CodesError, match=r"codes.*expected .*40.*found"):
        open_codes(path, n_bits=40)


@pytest.mark.parametrize(
    ("suffix", "package", "extra"),
    [(".parquet", "pyarrow", "parquet"), (".faiss", "faiss", "faiss")],
)
def test_the_error_for_a_missing_extra_tells_how_to_install_it(
    tmp_path, monkeypatch, suffix, package, extra
):
    path = tmp_path / f"codes{suffix}"
    save_codes(path, make_codes(5, 8))
    monkeypatch.setitem(sys.modules, package, None)
    attempts = [lambda: save_codes(path, make_codes(5, 8))]
    if suffix == ".faiss":
        assert len(open_codes(path)) == 5, "an index is read without Faiss"
    else:
        attempts.append(lambda: open_codes(path))
    for attempt in attempts:
        with pytest.raises(MissingExtraError, match=rf"'\.\[{extra}\]'"):
            attempt()


def test_reading_a_format_that_is_only_written_is_refused_with_a_remedy(tmp_path, monkeypatch):
    with pytest.raises(CodesError, match="a Lance dataset, which it can only write; give the bank"):
        open_codes(tmp_path / "codes.lance")
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[lance\]'"):
        save_codes(tmp_path / "codes.lance", make_codes(5, 8))


# Archives


def test_numpy_reads_an_archive(tmp_path):
    codes = make_codes(50, 13, "single", n_deleted=10)
    save_codes(tmp_path / "codes.npz", codes)
    kept = ~codes.deleted
    with np.load(tmp_path / "codes.npz") as archive:
        assert set(archive.files) == {"codes", "bits", "labels", "names", "class_names"}
        np.testing.assert_array_equal(archive["codes"], codes.codes[kept], strict=True)
        assert archive["bits"] == 13
        assert archive["names"].dtype.kind == "U"
        assert archive["names"].tolist() == np.array(codes.names)[kept].tolist()
        assert archive["labels"].tolist() == codes.labels[kept].tolist()
        assert archive["class_names"].tolist() == list(codes.class_names)
    with zipfile.ZipFile(tmp_path / "codes.npz") as archive:
        kinds = {entry.filename: entry.compress_type for entry in archive.infolist()}
    assert kinds["codes.npy"] == zipfile.ZIP_STORED
    assert kinds["names.npy"] == zipfile.ZIP_DEFLATED


def test_text_has_one_line_of_digits_per_code(tmp_path):
    save_codes(tmp_path / "codes.txt", CodeSet(pack(np.eye(3, 5, dtype=np.uint8)), 5))
    assert (tmp_path / "codes.txt").read_text() == "10000\n01000\n00100\n"
