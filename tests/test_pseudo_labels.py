from __future__ import annotations

import numpy as np
import pytest

from hashkit.codes import pack, unpack
from hashkit.errors import ConfigError
from hashkit.training.pseudo_labels import class_codes, guess_labels


def random_codes(rng, n, n_bits):
    return pack(rng.integers(0, 2, (n, n_bits)).astype(bool))


def plain_class_code(bits: list[list[int]]) -> list[int]:
    """Each bit of a class: 1 where more of its codes have 1 than 0."""
    code = []
    for place in range(len(bits[0])):
        ones = sum(row[place] for row in bits)
        code.append(1 if ones > len(bits) - ones else 0)
    return code


def plain_guesses(bits, classes, bits_of_classes, share):
    """(row, label, margin) of the surest rows, one image and one class at a time."""
    ranked = []
    for row, code in enumerate(bits):
        to_classes = sorted(
            (sum(a != b for a, b in zip(code, other, strict=True)), label)
            for label, other in zip(classes, bits_of_classes, strict=True)
        )
        (nearest, label), (second, _) = to_classes[:2]
        ranked.append((row, label, second - nearest))
    margins = sorted((margin for _, _, margin in ranked), reverse=True)
    least = max(1, margins[max(1, round(share * len(margins))) - 1])
    return [guess for guess in ranked if guess[2] >= least]


@pytest.mark.parametrize("n_bits", [1, 7, 12, 48, 130])
def test_a_class_has_the_bits_of_most_of_its_codes(n_bits):
    rng = np.random.default_rng(n_bits)
    codes = random_codes(rng, 60, n_bits)
    labels = rng.choice([2, 5, 9], 60)
    classes, of_classes = class_codes(codes, n_bits, labels)
    assert classes.tolist() == [2, 5, 9]
    bits = unpack(codes, n_bits).astype(int)
    for label, code in zip(classes, unpack(of_classes, n_bits).astype(int), strict=True):
        assert code.tolist() == plain_class_code(bits[labels == label].tolist())


def test_a_bit_that_half_of_a_class_has_is_0():
    codes = pack(np.array([[1, 1], [0, 1]], dtype=bool))
    _, of_classes = class_codes(codes, 2, np.array([0, 0]))
    assert unpack(of_classes, 2).astype(int).tolist() == [[0, 1]]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(("n_bits", "n_classes"), [(4, 2), (12, 3), (48, 10), (130, 4)])
def test_guesses_are_those_of_plain_loops(n_bits, n_classes, share):
    rng = np.random.default_rng(n_classes)
    codes, of_classes = random_codes(rng, 200, n_bits), random_codes(rng, n_classes, n_bits)
    classes = np.sort(rng.choice(50, n_classes, replace=False)).astype(np.int64)
    found = guess_labels(codes, classes, of_classes, share)
    expected = plain_guesses(
        unpack(codes, n_bits).astype(int).tolist(),
        classes.tolist(),
        unpack(of_classes, n_bits).astype(int).tolist(),
        share,
    )
    assert len(found) == len(expected)
    triples = zip(found.rows, found.labels, found.margins, strict=True)
    assert [tuple(map(int, triple)) for triple in triples] == expected


def test_the_choice_does_not_depend_on_the_order_of_the_images():
    rng = np.random.default_rng(3)
    codes, of_classes = random_codes(rng, 100, 8), random_codes(rng, 4, 8)
    order = rng.permutation(100)
    plain = guess_labels(codes, np.arange(4), of_classes, 0.4)
    mixed = guess_labels(codes[order], np.arange(4), of_classes, 0.4)
    assert 40 <= len(plain) < 100
    assert sorted(order[mixed.rows]) == plain.rows.tolist()


@pytest.mark.parametrize(
    ("n_images", "n_classes", "expected"),
    [
        (5, 1, "pseudo-labels need labelled images of two or more classes, found 1"),
        (0, 2, "there is no unlabelled image to learn from"),
        (5, 2, "the teacher's codes are as near to one class as to another"),
    ],
)
def test_what_cannot_be_labelled_is_said(n_images, n_classes, expected):
    same = pack(np.ones((1, 8), dtype=bool))
    with pytest.raises(ConfigError, match=expected):
        guess_labels(
            np.repeat(same, n_images, 0), np.arange(n_classes), np.repeat(same, n_classes, 0), 0.5
        )
