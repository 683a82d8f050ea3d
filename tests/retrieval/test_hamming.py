from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import code_size, pack
from hashkit.errors import CodesError
from hashkit.retrieval.hamming import RowDistances, blocks, distances, planes


def random_codes(seed: int, n_rows: int, n_bits: int) -> NDArray[np.uint8]:
    return pack(np.random.default_rng(seed).integers(0, 2, (n_rows, n_bits)))


def oracle_distances(
    query_codes: NDArray[np.uint8], database_codes: NDArray[np.uint8], n_bits: int
) -> NDArray[np.int64]:
    queries = [oracles.bit_string(code, n_bits) for code in query_codes]
    database = [oracles.bit_string(code, n_bits) for code in database_codes]
    table = [[oracles.hamming(a, b) for b in database] for a in queries]
    return np.array(table, dtype=np.int64).reshape(len(queries), len(database))


def test_distances_are_the_differing_bits_at_every_width() -> None:
    for n_bits in range(1, 131):
        queries, database = random_codes(n_bits, 3, n_bits), random_codes(n_bits + 999, 11, n_bits)
        found = distances(queries, database)
        assert found.dtype == np.uint16
        expected = oracle_distances(queries, database, n_bits)
        np.testing.assert_array_equal(found, expected, f"{n_bits} bits")


@looped("n_bits", [248, 256, 511, 1000, 70_000 - 5_000])
def test_distances_of_long_codes_do_not_wrap(n_bits: int) -> None:
    zeros, ones = pack(np.zeros((1, n_bits), np.uint8)), pack(np.ones((1, n_bits), np.uint8))
    assert distances(zeros, ones).tolist() == [[n_bits]]
    assert distances(ones, np.concatenate([ones, zeros])).tolist() == [[0, n_bits]]


def test_distances_across_several_blocks() -> None:
    database = random_codes(0, 70_001, 13)
    query = random_codes(1, 1, 13)
    xor = np.unpackbits(database ^ query, axis=1).sum(axis=1)
    np.testing.assert_array_equal(distances(query, database)[0], xor)


def test_distances_of_codes_that_are_not_aligned_or_contiguous() -> None:
    codes = random_codes(3, 20, 64)
    buffer = np.zeros(codes.size + 3, np.uint8)
    unaligned = buffer[3:].reshape(codes.shape)
    unaligned[:] = codes
    wide = np.repeat(codes, 2, axis=0)
    expected = distances(codes[:2], codes)
    np.testing.assert_array_equal(distances(codes[:2], unaligned), expected)
    np.testing.assert_array_equal(distances(codes[:2], wide[::2]), expected)


@given(st.integers(1, 130), st.integers(0, 2**32 - 1))
def test_distance_is_a_metric(n_bits: int, seed: int) -> None:
    codes = random_codes(seed, 6, n_bits)
    table = distances(codes, codes).astype(int)
    np.testing.assert_array_equal(table, table.T)
    assert not np.diag(table).any()
    assert np.all(table[:, None, :] <= table[:, :, None] + table[None, :, :])


def test_empty_sides() -> None:
    codes = random_codes(0, 4, 24)
    assert distances(codes[:0], codes).shape == (0, 4)
    assert distances(codes, codes[:0]).shape == (4, 0)


@looped(
    ("queries", "database"),
    [
        (np.zeros((1, 2), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.zeros((1, 2), np.int64), np.zeros((1, 2), np.uint8)),
        (np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.int8)),
        (np.zeros(2, np.uint8), np.zeros((1, 2), np.uint8)),
        (np.zeros((1, 0), np.uint8), np.zeros((1, 0), np.uint8)),
    ],
)
def test_codes_of_the_wrong_shape_or_type_are_refused(
    queries: NDArray[Any], database: NDArray[Any]
) -> None:
    with pytest.raises(CodesError):
        distances(queries, database)


def test_mismatched_codes_are_refused_even_if_the_database_is_empty() -> None:
    with pytest.raises(CodesError, match=r"2 bytes and database codes 3"):
        distances(np.zeros((1, 2), np.uint8), np.zeros((0, 3), np.uint8))


@looped(
    ("size", "dtype", "n_words"),
    [
        (1, "u1", 1),
        (2, "u2", 1),
        (3, "u4", 1),
        (4, "u4", 1),
        (5, "u8", 1),
        (8, "u8", 1),
        (9, "u8", 2),
    ],
)
def test_planes_use_the_smallest_word_for_a_code(size: int, dtype: str, n_words: int) -> None:
    words = planes(np.ones((5, size), np.uint8))
    assert (words.dtype, words.shape) == (np.dtype(dtype), (n_words, 5))


def test_codes_of_one_word_are_not_copied() -> None:
    codes = random_codes(0, 5, 64)
    assert np.shares_memory(planes(codes), codes)


@looped("block_rows", [1, 2, 7, 30, 31, 100])
def test_blocks_cover_the_rows_once(block_rows: int) -> None:
    codes = random_codes(0, 31, 8)
    pieces = list(blocks(codes, block_rows, start=5))
    assert [first for first, _ in pieces] == list(range(5, 36, block_rows))
    assert max(len(piece) for _, piece in pieces) <= block_rows
    np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), codes)


def test_blocks_of_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(blocks(np.zeros((3, 1), np.uint8), 0))


def test_padding_bits_count_if_they_are_set() -> None:
    """Whole bytes are compared, so the distances rely on the convention's zero padding."""
    clean, dirty = pack(np.ones((1, 5), np.uint8)), np.array([[0xFF]], np.uint8)
    assert distances(clean, dirty).tolist() == [[3]]


def test_a_loaded_block_may_be_smaller_than_the_last() -> None:
    codes = random_codes(0, 10, 100)
    row_distances = RowDistances(codes)
    row_distances.load(codes)
    row_distances.load(codes[:4])
    assert row_distances(7).tolist() == distances(codes[7:8], codes[:4])[0].tolist()
    assert code_size(100) == codes.shape[1]
