from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.evaluation import passes
from hashkit.evaluation.passes import Passes
from hashkit.evaluation.relevance import match_labels


def code_set(
    seed: int, n_rows: int, n_bits: int, n_classes: int = 3, multi_hot: bool = False
) -> CodeSet:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, n_classes, n_rows)
    if multi_hot:
        labels = (rng.random((n_rows, n_classes)) < 0.3).astype(np.uint8)
    return CodeSet(pack(rng.integers(0, 2, (n_rows, n_bits))), n_bits, labels)


def queries(seed: int, n_rows: int, n_bits: int, n_classes: int = 3, multi_hot: bool = False):
    made = code_set(seed, n_rows, n_bits, n_classes, multi_hot)
    assert made.labels is not None
    labels = made.labels.copy()
    if multi_hot:
        labels[np.arange(n_rows), np.arange(n_rows) % n_classes] = 1
    return dataclasses.replace(made, labels=labels if multi_hot else np.maximum(labels, 0))


def label_set(labels: NDArray[Any], row: int) -> set[int]:
    if labels.ndim == 2:
        return set(np.flatnonzero(labels[row]).tolist())
    return {int(labels[row])} - {-1}


def oracle(
    query: CodeSet, databases: list[CodeSet]
) -> tuple[list[list[tuple[int, int]]], NDArray[np.float64]]:
    """(distance, grade) in each query's ranking by (distance, row), and its precision sum."""
    rankings, sums = [], []
    for q, code in enumerate(query.codes):
        rows = [(one, row) for one in databases for row in range(len(one))]
        rows = [(one, row) for one, row in rows if one.deleted is None or not one.deleted[row]]
        own = oracles.bit_string(code, query.n_bits)
        codes = [oracles.bit_string(one.codes[row], query.n_bits) for one, row in rows]
        wanted = label_set(query.labels, q)  # type: ignore[arg-type]
        grades = [len(wanted & label_set(one.labels, row)) for one, row in rows]  # type: ignore[arg-type]
        ranking = [(d, grades[row]) for d, row in oracles.ranking(own, codes)]
        rankings.append(ranking)
        sums.append(float(oracles.precision_sum([grade > 0 for _, grade in ranking], len(rows))))
    return rankings, np.array(sums)


def check(query: CodeSet, *databases: CodeSet) -> None:
    labels = match_labels(query, databases)
    made = Passes(query.codes, query.n_bits, databases, labels)
    everything = slice(0, len(query))
    found = made.histograms(everything, lambda _: None)
    rankings, sums = oracle(query, list(databases))
    expected = np.zeros((len(query), labels.n_grades, query.n_bits + 1), np.int64)
    for q, ranking in enumerate(rankings):
        for distance, grade in ranking:
            expected[q, grade, distance] += 1
    np.testing.assert_array_equal(found, expected)
    order = made.row_order_sums(everything, found, lambda _: None)
    np.testing.assert_allclose(order, sums, rtol=1e-12, atol=0)


LENGTHS = [*range(1, 73), 100, 127, 128, 129, 192, 255, 256, 257, 511, 512, 1000, 1023, 1024]


def test_codes_of_every_length() -> None:
    for n_bits in LENGTHS:
        check(queries(n_bits, 2, n_bits), code_set(n_bits + 1, 11, n_bits))


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(0, 30), st.integers(1, 80),
    st.booleans(),
)  # fmt: skip
def test_label_numbers_and_label_matrices(
    seed: int, n_bits: int, n_rows: int, n_classes: int, multi_hot: bool
) -> None:
    query = queries(seed, 3, n_bits, n_classes, multi_hot)
    database = code_set(seed + 1, n_rows + 1, n_bits, n_classes, multi_hot)
    check(query, database)


@looped("multi_hot", [False, True])
@looped("n_queries", [1, 40])
def test_segments_databases_and_deleted_rows(
    monkeypatch: pytest.MonkeyPatch, n_queries: int, multi_hot: bool
) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 7)
    rng = np.random.default_rng(4)
    query = queries(0, n_queries, 9, multi_hot=multi_hot)
    databases = []
    for seed, n_rows in ((1, 20), (2, 1), (3, 33)):
        deleted = rng.random(n_rows) < 0.4
        if seed == 3:
            deleted[7:14] = True  # a whole segment
        one = code_set(seed, n_rows, 9, multi_hot=multi_hot)
        databases.append(dataclasses.replace(one, deleted=deleted if seed != 2 else None))
    check(query, *databases)


def test_several_tiles_of_rows() -> None:
    rng = np.random.default_rng(5)
    n_rows, n_bits = 5000, 12  # more than two tiles, the last one partly filled
    bits = rng.integers(0, 2, (n_rows, n_bits))
    labels = rng.integers(0, 3, n_rows)
    database = CodeSet(pack(bits), n_bits, labels)
    query = CodeSet(pack(np.zeros((1, n_bits), np.uint8)), n_bits, np.array([2]))
    matched = match_labels(query, [database])
    made = Passes(query.codes, n_bits, [database], matched)
    found = made.histograms(slice(0, 1), lambda _: None)
    distances = bits.sum(axis=1)
    for grade in (0, 1):
        expected = np.bincount(distances[(labels == 2) == grade], minlength=n_bits + 1)
        np.testing.assert_array_equal(found[0, grade], expected)
    relevant = labels[np.lexsort((np.arange(n_rows), distances))] == 2
    ranks = np.flatnonzero(relevant) + 1
    sums = made.row_order_sums(slice(0, 1), found, lambda _: None)
    np.testing.assert_allclose(sums, (np.arange(1, len(ranks) + 1) / ranks).sum(), rtol=1e-13)


def counted_by_numpy(query: CodeSet, database: CodeSet, n_grades: int) -> NDArray[np.int64]:
    """Number of rows by grade and distance, for more rows than the oracle can count."""
    found = []
    for code, label in zip(query.codes, query.labels, strict=True):  # type: ignore[arg-type]
        distances = np.unpackbits(database.codes ^ code, axis=1).sum(axis=1, dtype=int)
        shared = (
            (database.labels == label).astype(int)
            if np.ndim(label) == 0
            else database.labels.astype(int) @ label  # type: ignore[union-attr]
        )
        n_distances = query.n_bits + 1
        keys = np.bincount(shared * n_distances + distances, minlength=n_grades * n_distances)
        found.append(keys.reshape(n_grades, n_distances))
    return np.array(found)


@looped("multi_hot", [False, True])
@looped(("n_bits", "n_rows"), [(5, 300), (5, 70_000), (48, 40_000), (64, 40_000), (128, 70_000)])
def test_queries_counted_in_pairs(n_bits: int, n_rows: int, multi_hot: bool) -> None:
    """With many rows per cell two queries share a table; the number of queries is odd."""
    query = queries(0, 7, n_bits, multi_hot=multi_hot)
    database = code_set(1, n_rows, n_bits, multi_hot=multi_hot)
    labels = match_labels(query, [database])
    made = Passes(query.codes, n_bits, [database], labels)
    found = made.histograms(slice(0, 7), lambda _: None)
    np.testing.assert_array_equal(found, counted_by_numpy(query, database, labels.n_grades))


@looped("largest", [254, 255, 256, 511, 2**31])
def test_labels_at_the_limit_of_one_byte(largest: int) -> None:
    """Labels that differ by 256, or are close to the largest that is compared as a byte."""
    rng = np.random.default_rng(0)
    known = np.array([largest, 0, 1, max(0, largest - 256), largest - 1])
    others = np.array([-2, -1, 254, 255, 256, 257, 510, 511, 512, 2**31 - 1, 2**32, 2**32 + 1])
    query = dataclasses.replace(code_set(0, 4, 4), labels=known[:4])
    rows = rng.choice(np.concatenate([known, others]), 3000)
    if largest < 2**31:  # int32 as in banks, compared without conversion
        rows = rows[rows < 2**31].astype(np.int32)[:2000]
    database = dataclasses.replace(code_set(1, len(rows), 4), labels=rows)
    made = Passes(query.codes, 4, [database], match_labels(query, [database]))
    found = made.histograms(slice(0, 4), lambda _: None)
    np.testing.assert_array_equal(found, counted_by_numpy(query, database, 2))


@looped("n_bits", [180, 181, 240, 248, 255, 256, 264, 496, 504, 1024, 5000])
def test_distances_of_long_codes_do_not_wrap(n_bits: int) -> None:
    bits = np.stack([np.zeros(n_bits, np.uint8), np.ones(n_bits, np.uint8)])
    codes = CodeSet(pack(np.repeat(bits, 3, axis=0)), n_bits, np.array([0, 0, 0, 0, 0, 1]))
    query = CodeSet(pack(bits), n_bits, np.array([0, 1]))
    made = Passes(query.codes, n_bits, [codes], match_labels(query, [codes]))
    found = made.histograms(slice(0, 2), lambda _: None)
    assert found[:, :, [0, n_bits]].tolist() == [[[0, 1], [3, 2]], [[2, 3], [1, 0]]]
    assert found.sum() == 12


@looped("n_bits", [8, 24, 40, 64, 72, 136])
def test_bytes_around_the_codes_have_no_effect(n_bits: int) -> None:
    """Codes may lie at any address, with any bytes before and after them."""
    query, database = queries(0, 3, n_bits), code_set(1, 17, n_bits)
    labels = match_labels(query, [database])
    expected = Passes(query.codes, n_bits, [database], labels).histograms(
        slice(0, 3), lambda _: None
    )
    for offset in range(8):
        for filler in (0, 255):
            buffer = np.full(database.codes.size + 16, filler, np.uint8)
            codes = buffer[offset : offset + database.codes.size].reshape(database.codes.shape)
            codes[:] = database.codes
            codes.flags.writeable = False
            moved = dataclasses.replace(database, codes=codes)
            found = Passes(query.codes, n_bits, [moved], labels)
            np.testing.assert_array_equal(found.histograms(slice(0, 3), lambda _: None), expected)


def test_codes_at_the_end_of_a_mapped_page(tmp_path: Any) -> None:
    """The file ends with a page: reading past the codes would crash the process."""
    query, database = queries(0, 2, 24), code_set(1, 8192, 24)
    path = tmp_path / "codes"
    n_rows = 4096  # 12,288 bytes: three pages
    database.codes[:n_rows].tofile(path)
    mapped = np.memmap(path, np.uint8, "r", shape=(n_rows, 3))
    assert mapped.nbytes % 4096 == 0
    assert database.labels is not None
    one = CodeSet(mapped, 24, database.labels[:n_rows])
    two = CodeSet(database.codes[:n_rows], 24, database.labels[:n_rows])
    found = [
        Passes(query.codes, 24, [some], match_labels(query, [some])).histograms(
            slice(0, 2), lambda _: None
        )
        for some in (one, two)
    ]
    np.testing.assert_array_equal(*found)


def both(made: Passes, some: slice) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counted = made.histograms(some, lambda _: None)
    return counted, made.row_order_sums(some, counted, lambda _: None)


@pytest.mark.parametrize("n_cpus", [1, 3, 64])
def test_results_do_not_depend_on_the_number_of_cores(
    monkeypatch: pytest.MonkeyPatch, n_cpus: int
) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 100)
    query, database = queries(0, 50, 16), code_set(1, 950, 16)
    labels = match_labels(query, [database])
    made = Passes(query.codes, 16, [database], labels)
    expected = both(made, slice(0, 50))
    monkeypatch.setattr(passes, "available_cpus", lambda: n_cpus)
    for some in (slice(0, 50), slice(13, 14), slice(20, 45)):
        counted, sums = both(made, some)
        np.testing.assert_array_equal(counted, expected[0][some])
        np.testing.assert_array_equal(sums, expected[1][some])


def test_rows_are_counted_once_more_only_where_a_core_would_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 10)
    monkeypatch.setattr(passes, "available_cpus", lambda: 2)
    query, database = queries(0, 64, 8), code_set(1, 40, 8)
    made = Passes(query.codes, 8, [database], match_labels(query, [database]))
    counted: list[slice] = []
    count = made._count
    monkeypatch.setattr(made, "_count", lambda *a: (counted.append(a[1]), count(*a))[1])
    for n_queries, n_again in ((64, 0), (1, 2)):  # a part for each core; the first of each pair
        some = slice(0, n_queries)
        found = made.histograms(some, lambda _: None)
        counted.clear()
        made.row_order_sums(some, found, lambda _: None)
        assert len(counted) == n_again


def test_rows_done_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 10)
    query, database = queries(0, 2, 8), code_set(1, 95, 8)
    done: list[int] = []
    made = Passes(query.codes, 8, [database], match_labels(query, [database]))
    counted = made.histograms(slice(0, 2), done.append)
    assert sum(done) == 95
    made.row_order_sums(slice(0, 2), counted, done.append)
    assert sum(done) == 190


def test_memory_does_not_grow_with_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 1000)
    monkeypatch.setattr(passes, "available_cpus", lambda: 2)
    query = queries(0, 4, 16)

    def peak(n_rows: int) -> int:
        database = code_set(1, n_rows, 16)
        made = Passes(query.codes, 16, [database], match_labels(query, [database]))
        both(made, slice(0, 4))
        tracemalloc.start()
        both(made, slice(0, 4))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(300_000) < peak(30_000) + 300_000  # bytes; the codes alone are 600,000


def test_wide_label_matrices_are_read_in_fewer_rows() -> None:
    spans: Callable[..., list[Any]] = passes._spans
    database = code_set(0, 200_000, 8)
    assert len(spans([database], 1)) == 2
    narrow, wide = spans([database], 80)[0], spans([database], 5000)[0]
    assert narrow.last == 2**23 // 80
    assert wide.last == 2**23 // 5000
