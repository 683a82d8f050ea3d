from __future__ import annotations

from pathlib import Path

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from looped import looped

import hashkit
from hashkit.codes import (
    binarize,
    check_code_shape,
    check_codes,
    code_size,
    from_hex,
    pack,
    to_hex,
    unpack,
)
from hashkit.errors import CodesError

N_BITS = st.integers(1, 130)
MATRICES = st.tuples(st.integers(0, 7), N_BITS).flatmap(lambda shape: hnp.arrays(np.bool_, shape))


def strings(bits: np.ndarray) -> list[str]:
    """Rows of a matrix of bits, each as text."""
    return ["".join("1" if bit else "0" for bit in row) for row in bits]


@given(MATRICES)
def test_pack_and_unpack_are_inverse(bits):
    n_rows, n_bits = bits.shape
    codes = pack(bits)
    assert codes.dtype == np.uint8
    assert codes.shape == (n_rows, code_size(n_bits))
    assert [oracles.bit_string(code, n_bits) for code in codes] == strings(bits)
    # The padding bits are 0.
    assert [oracles.bit_string(code, 8 * len(code)) for code in codes] == [
        text.ljust(8 * code_size(n_bits), "0") for text in strings(bits)
    ]
    assert np.array_equal(unpack(codes, n_bits), bits)
    assert np.array_equal(check_codes(codes, n_bits), codes)


@given(MATRICES, st.sampled_from([np.uint8, np.int8, np.int64, np.uint16]))
def test_integers_are_packed_like_booleans(bits, dtype):
    assert np.array_equal(pack(bits.astype(dtype)), pack(bits))


@given(MATRICES.filter(lambda bits: len(bits) > 0))
def test_to_hex_and_from_hex_are_inverse(bits):
    n_bits = bits.shape[1]
    for code, text in zip(pack(bits), strings(bits), strict=True):
        written = to_hex(code)
        assert int(written, 16) == int(text.ljust(8 * code_size(n_bits), "0"), 2)
        assert np.array_equal(from_hex(written, n_bits), code)
        assert np.array_equal(from_hex(written.upper(), n_bits), code)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(0, 5), N_BITS),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_a_bit_is_1_if_its_logit_is_above_0(logits):
    expected = ["".join("1" if value > 0 else "0" for value in row) for row in logits.tolist()]
    codes = binarize(logits)
    assert [oracles.bit_string(code, logits.shape[1]) for code in codes] == expected


def test_zero_nan_and_infinity():
    tiny = np.finfo(np.float32).smallest_subnormal
    row = np.array([[0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny, 1.0]], np.float32)
    assert binarize(row).tolist() == [[0b00010101]]


def test_the_first_bit_is_the_most_significant_of_the_first_byte():
    bits = np.zeros((1, 11), bool)
    bits[0, [0, 8, 10]] = True
    assert pack(bits).tolist() == [[0b10000000, 0b10100000]]


@looped(("n_bits", "size"), [(1, 1), (8, 1), (9, 2), (12, 2), (48, 6), (64, 8), (65_536, 8192)])
def test_a_code_takes_whole_bytes(n_bits, size):
    assert code_size(n_bits) == size


@pytest.mark.parametrize("n_bits", [0, -1, 65_537])
def test_an_invalid_number_of_bits_is_refused(n_bits):
    with pytest.raises(CodesError, match=f"between 1 and 65536, not {n_bits}"):
        code_size(n_bits)


@given(st.integers(1, 130).filter(lambda n: n % 8), st.data())
def test_set_padding_bits_are_refused(n_bits, data):
    size = code_size(n_bits)
    codes = np.zeros((3, size), np.uint8)
    codes[data.draw(st.integers(0, 2)), -1] |= 1 << data.draw(st.integers(0, 8 * size - n_bits - 1))
    with pytest.raises(CodesError, match="must have zeros in the last"):
        check_codes(codes, n_bits)
    with pytest.raises(CodesError, match="must have zeros in the last"):
        unpack(codes, n_bits)


@looped(
    ("codes", "words"),
    [
        (np.zeros((2, 3), np.uint8), r"must be uint8 \[n, 2\], not uint8 \[2, 3\]"),
        (np.zeros((2, 2), np.int64), r"not int64 \[2, 2\]"),
        (np.zeros(2, np.uint8), r"not uint8 \[2\]"),
        (np.zeros((1, 2, 1), np.uint8), r"not uint8 \[1, 2, 1\]"),
    ],
)
def test_codes_of_another_shape_or_type_are_refused(codes, words):
    with pytest.raises(CodesError, match="^database codes of 12 bits .*" + words):
        check_codes(codes, 12, "database codes")


@looped(
    ("bits", "words"),
    [
        (np.zeros(4, bool), "must be a matrix"),
        (np.zeros((2, 0), bool), "must be between 1 and"),
        (np.array([[0, 2]]), "found 0 to 2"),
        (np.array([[-1, 1]]), "found -1 to 1"),
        (np.array([[0.0, 1.0]]), "boolean or integer, not float64"),
    ],
)
def test_bits_that_are_not_a_matrix_of_0_and_1_are_refused(bits, words):
    with pytest.raises(CodesError, match=words):
        pack(bits)


@looped(
    ("text", "words"),
    [("0g", "hexadecimal digits"), ("abc", "hexadecimal digits"), ("ab", "4 hexadecimal"),
     ("abcdef", "not 6"), ("000f", "zeros in the last 4 bits"), ("", "not 0")],
)  # fmt: skip
def test_text_that_is_not_a_code_is_refused(text, words):
    with pytest.raises(CodesError, match=words):
        from_hex(text, 12)


def test_check_codes_does_not_copy():
    codes = np.zeros((5, 2), np.uint8)
    assert check_codes(codes, 12) is codes


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((3, 16), np.uint8), "pack` packs 0 and 1"),
        (np.ones((3, 16), np.float32), "binarize` signs"),
        (np.zeros(2, np.uint8), "`codes\\[None\\]`"),
        (hashkit.CodeSet(np.zeros((3, 2), np.uint8), 16), "attribute `codes`"),
        (Path("img.png"), "not PosixPath.*`Encoder.encode` makes codes"),
        (print, "not <built-in function print>$"),
    ],
)
def test_the_error_says_how_to_make_codes_of_what_was_given(codes, words):
    with pytest.raises(CodesError, match=words):
        check_code_shape(codes, 16)
