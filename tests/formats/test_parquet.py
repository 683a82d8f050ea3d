"""Parquet files: reading hashkit's with pyarrow, and reading those of other programs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow
import pytest
from bank_samples import run_job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looped import looped
from pyarrow import parquet

from hashkit.bank.reader import Bank
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError
from hashkit.formats import open_codes, rows, save_codes
from hashkit.formats.parquet_columns import ParquetColumns
from hashkit.formats.parquet_reading import ParquetNames
from hashkit.inputs.parquet_footer import read_column_sizes

CODES = pack(np.random.default_rng(0).integers(0, 2, (50, 20)))


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 8)


def write(path, **columns: Any):
    parquet.write_table(pyarrow.table(columns), path, row_group_size=3)
    return path


def fixed(codes: np.ndarray) -> pyarrow.Array:
    return pyarrow.array([row.tobytes() for row in codes], pyarrow.binary(codes.shape[1]))


def test_files_have_typed_columns_and_the_metadata_of_the_bank(tmp_path, small_groups):
    run_job(tmp_path / "bank.h5")
    bank = Bank.open(tmp_path / "bank.h5")
    save_codes(tmp_path / "a.parquet", bank)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["code", "name", "label"]
    kinds = [pyarrow.binary(3), pyarrow.string(), pyarrow.int32()]
    assert [field.type for field in table.schema] == kinds
    assert table["code"].to_pylist() == [row.tobytes() for row in bank.codes]
    assert table["name"].to_pylist() == list(bank.names)
    assert table["label"].to_pylist() == [None if x < 0 else x for x in bank.labels.tolist()]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["hashkit.n_bits"] == "20"
    assert json.loads(metadata["hashkit.class_names"]) == ["ant", "bee", "cat"]
    assert json.loads(metadata["hashkit.manifest"])["network"] == "dnnh"
    assert metadata["hashkit.model_sha256"] == "ab" * 32


def test_codes_are_not_compressed_and_rows_come_in_groups(tmp_path, small_groups):
    names = [f"{row}.png" for row in range(50)]
    deleted = np.arange(50) % 7 == 0
    save_codes(tmp_path / "a.parquet", CodeSet(CODES, 20, np.arange(50), names, (), deleted))
    metadata = parquet.read_metadata(tmp_path / "a.parquet")
    assert metadata.num_row_groups == 7  # 50 rows in pieces of 8
    for group in range(7):
        columns = [metadata.row_group(group).column(i) for i in range(3)]
        assert [c.compression for c in columns] == ["UNCOMPRESSED", "ZSTD", "ZSTD"]
    found = open_codes(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.codes, CODES[~deleted])
    assert list(found.names) == [name for row, name in enumerate(names) if row % 7]


def test_multi_hot_labels_are_lists_of_class_numbers(tmp_path, small_groups):
    labels = np.random.default_rng(1).integers(0, 2, (50, 4)).astype(np.uint8)
    labels[3] = 0
    codes = CodeSet(CODES, 20, labels, (), ("a", "b", "c", "d"))
    save_codes(tmp_path / "a.parquet", codes)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["code", "labels"]
    assert table["labels"].to_pylist() == [np.flatnonzero(row).tolist() for row in labels]
    np.testing.assert_array_equal(open_codes(tmp_path / "a.parquet").labels, labels, strict=True)


def test_damaged_names_are_a_one_line_error(tmp_path):
    """Names are read on access, so what is wrong with them shows late."""
    path = tmp_path / "a.parquet"
    column = pyarrow.array([b"\xff\xfe", b"b"], pyarrow.binary()).view(pyarrow.string())
    codes = pyarrow.array([b"\1", b"\2"], pyarrow.binary(1))
    parquet.write_table(pyarrow.table({"code": codes, "name": column}), path)
    found = open_codes(path)
    with pytest.raises(CodesError, match=r"a\.parquet: cannot be read as a Parquet file") as caught:
        list(found.names)
    assert str(caught.value).isprintable()


@given(st.integers(-60, 60), st.integers(-60, 60), st.sampled_from([1, 2, -1, None]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_behave_like_a_list(tmp_path, start, stop, step):
    path = tmp_path / "names.parquet"
    expected = [f"{row}.png" for row in range(50)]
    if not path.exists():
        write(path, name=expected)
    names = ParquetNames(path, ParquetColumns(pyarrow, path))
    assert len(names) == 50
    assert names[start:stop:step] == expected[start:stop:step]
    assert list(names) == expected
    if -50 <= start < 50:
        assert names[start] == expected[start]
    else:
        with pytest.raises(IndexError):
            names[start]


# Files of other programs


@pytest.mark.parametrize("kind", ["fixed", "binary", "large"])
def test_a_binary_column_is_enough(tmp_path, kind):
    column = fixed(CODES)
    if kind != "fixed":
        column = column.cast(pyarrow.binary() if kind == "binary" else pyarrow.large_binary())
    path = write(tmp_path / "a.parquet", code=column)
    found = open_codes(path)
    assert (found.n_bits, found.labels, list(found.names)) == (24, None, [])
    np.testing.assert_array_equal(found.codes, CODES)
    assert open_codes(path, n_bits=20).n_bits == 20
    with pytest.raises(CodesError, match="zeros in the last 5 bits"):
        open_codes(path, n_bits=19)
    with pytest.raises(CodesError, match=r"of 30 bits must be uint8 \[n, 4\]"):
        open_codes(path, n_bits=30)


@looped(
    ("column", "labels", "class_names"),
    [
        (pyarrow.array([3, None, 0]), [3, -1, 0], ()),
        (pyarrow.array([3, 1, 0], pyarrow.uint8()), [3, 1, 0], ()),
        (pyarrow.array(["dog", None, "cat"]), [1, -1, 0], ("cat", "dog")),
        (pyarrow.array(["b", "a", "b"]).dictionary_encode(), [1, 0, 1], ("a", "b")),
    ],
)
def test_labels_are_numbers_or_names(tmp_path, column, labels, class_names):
    path = write(tmp_path / "a.parquet", code=fixed(CODES[:3]), label=column)
    found = open_codes(path)
    assert found.labels.tolist() == labels
    assert tuple(found.class_names) == class_names


def test_lists_of_classes_need_no_metadata(tmp_path):
    path = write(tmp_path / "a.parquet", code=fixed(CODES[:4]), labels=[[2], [], None, [0, 1]])
    assert open_codes(path).labels.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 1, 0]]


def test_rows_without_a_name_have_an_empty_name(tmp_path):
    path = write(tmp_path / "a.parquet", code=fixed(CODES[:3]), name=["a", None, "c"])
    assert list(open_codes(path).names) == ["a", "", "c"]


@looped(
    ("columns", "message"),
    [
        ({"hash": fixed(CODES)}, "expected a column named code, found hash"),
        ({"code": pyarrow.array([b"abc", b"ab"])}, "cannot be read as a Parquet file"),
        ({"code": pyarrow.array([b"abc", None])}, "a code in each row, found 1 null rows"),
        ({"code": pyarrow.array([1, 2])}, "expected the column code to be binary, found int64"),
        ({"code": fixed(CODES[:2]), "label": [0.5, 1.0]}, "integers or class names, found double"),
        ({"code": fixed(CODES[:2]), "labels": [[0.5], []]}, "lists of integers"),
        ({"code": fixed(CODES[:2]), "labels": [[-1], []]}, "class numbers from 0"),
        ({"code": fixed(CODES[:2]), "labels": [1, 2]}, "lists of integers, found int64"),
    ],
)
def test_invalid_columns_are_refused(tmp_path, columns, message):
    path = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(CodesError, match=message) as caught:
        open_codes(path)
    assert "\n" not in str(caught.value)


@looped("name", ["manifest", "source", "n_consumed", "is_complete", "n_bits"])
@looped("value", [b"nonsense", None])
def test_invalid_metadata_are_refused(tmp_path, name, value):
    save_codes(tmp_path / "a.parquet", CodeSet(CODES, 20))
    table = parquet.read_table(tmp_path / "a.parquet")
    metadata = dict(table.schema.metadata)
    metadata.pop(f"hashkit.{name}".encode())
    if value is not None:
        metadata[f"hashkit.{name}".encode()] = value
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "b.parquet")
    if (name, value) == ("n_bits", None):  # then it is a file of another program
        assert open_codes(tmp_path / "b.parquet").n_bits == 24
        return
    with pytest.raises(CodesError, match=r"b\.parquet: "):
        open_codes(tmp_path / "b.parquet")


def test_sizes_of_columns_are_those_that_pyarrow_reads(tmp_path, small_groups):
    labels = np.eye(3, dtype=np.uint8)[np.arange(50) % 3]
    save_codes(
        tmp_path / "a.parquet", CodeSet(CODES, 20, labels, list(map(str, range(50))), tuple("abc"))
    )
    metadata = parquet.read_metadata(tmp_path / "a.parquet")
    assert metadata.num_row_groups == 7
    expected = []
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(n) for n in range(metadata.num_columns)]
        expected.append(
            [
                (
                    one.path_in_schema.split(".")[0],
                    one.num_values,
                    one.total_uncompressed_size,
                    one.path_in_schema,
                )
                for one in columns
            ]
        )
    found = read_column_sizes(tmp_path / "a.parquet")
    assert [[dataclasses.astuple(one) for one in group] for group in found] == expected


@looped("n_kept", [0, 3, 7, 8, 40, 200, -9, -1])
def test_a_footer_that_is_cut_off_is_a_value_error(tmp_path, n_kept):
    save_codes(tmp_path / "a.parquet", CodeSet(CODES, 20))
    data = (tmp_path / "a.parquet").read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    for cut in (data[:n_kept], data[-8 - length : -8][:n_kept] + data[-8:]):
        (tmp_path / "b.parquet").write_bytes(b"PAR1" + cut)
        with pytest.raises(ValueError, match="footer"):
            read_column_sizes(tmp_path / "b.parquet")


@looped("footer", [b"\x19" * 100, b"\x1c" * 100, b"\x19\xf9" * 100, b"\x1b\xff" * 9])
def test_a_deep_footer_is_a_value_error(tmp_path, footer):
    end = len(footer).to_bytes(4, "little") + b"PAR1"
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + footer + end)
    with pytest.raises(ValueError, match="footer"):
        read_column_sizes(tmp_path / "a.parquet")


@pytest.mark.end_to_end
def test_damaged_metadata_of_a_column_do_not_end_the_process(tmp_path):
    """Pyarrow's own access to them does, so this runs in a process of its own."""
    labels = np.tile(np.array([[1, 0, 1], [0, 0, 0]], np.uint8), (3, 1))
    save_codes(tmp_path / "a.parquet", CodeSet(CODES[:6], 20, labels, (), tuple("abc")))
    data = (tmp_path / "a.parquet").read_bytes()
    # How often a list had each of three kinds of values: 3 empty lists, none with null, 6 values.
    histogram = b"\x36\x06\x00\x0c"
    assert data.count(histogram) >= 1
    length = int.from_bytes(data[-8:-4], "little") - data[:-8].count(histogram)
    changed = data[:-8].replace(histogram, b"\x26\x06\x00")
    (tmp_path / "a.parquet").write_bytes(changed + length.to_bytes(4, "little") + b"PAR1")
    script = (
        "from hashkit import HashkitError, open_codes\n"
        "try:\n    print(len(open_codes('a.parquet')))\n"
        "except HashkitError as error:\n    print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "a.parquet: cannot be read as a Parquet file" in ended.stdout
