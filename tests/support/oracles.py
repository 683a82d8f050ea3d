"""Slow, obvious reference implementations of kernels and metrics, in plain Python.

Codes are strings of 0 and 1; relevance is a list of bools in rank order. Nothing here uses the
package.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

Metric: TypeAlias = Callable[[Sequence[bool], int], Fraction]
"""A metric of one ranking (relevance in rank order) up to a cut-off."""


def bit_string(code: Sequence[int], n_bits: int) -> str:
    """Bits of a packed code, most significant bit of the first byte first."""
    return "".join(format(int(byte), "08b") for byte in code)[:n_bits]


def hamming(a: str, b: str) -> int:
    """Positions at which two codes differ."""
    assert len(a) == len(b)
    return sum(x != y for x, y in zip(a, b, strict=True))


def ranking(query: str, database: Sequence[str]) -> list[tuple[int, int]]:
    """All rows as (distance, row), in the order in which search returns them."""
    return sorted((hamming(query, code), row) for row, code in enumerate(database))


def asymmetric_distance(logits: Sequence[float], query: str, code: str) -> float:
    """Sum of the logits' magnitudes over the bits in which a code differs from the query's."""
    differs = (a != b for a, b in zip(query, code, strict=True))
    return sum(abs(logit) for logit, is_other in zip(logits, differs, strict=True) if is_other)


def rescored_ranking(
    logits: Sequence[float], database: Sequence[str], top_k: int, oversample: int
) -> list[tuple[float, int, int]]:
    """First ``top_k`` of ``oversample`` times as many: (asymmetric distance, distance, row)."""
    query = "".join("1" if logit > 0 else "0" for logit in logits)
    nearest = ranking(query, database)[: oversample * top_k]
    scores = [asymmetric_distance(logits, query, database[row]) for _, row in nearest]
    return sorted((score, *place) for score, place in zip(scores, nearest, strict=True))[:top_k]


def precision_sum(relevant: Sequence[bool], cutoff: int) -> Fraction:
    """Sum of precision@t over the relevant ranks t of the top ``cutoff``."""
    total = Fraction(0)
    for t in range(1, min(cutoff, len(relevant)) + 1):
        if relevant[t - 1]:
            total += Fraction(sum(relevant[:t]), t)
    return total


def ap_all_relevant(relevant: Sequence[bool], cutoff: int) -> Fraction:
    """Average precision, divided by all relevant rows."""
    n_relevant = sum(relevant)
    return precision_sum(relevant, cutoff) / n_relevant if n_relevant else Fraction(0)


def ap_min(relevant: Sequence[bool], cutoff: int) -> Fraction:
    """Average precision, divided by the relevant rows that the top ranks could hold."""
    possible = min(sum(relevant), cutoff)
    return precision_sum(relevant, cutoff) / possible if possible else Fraction(0)


def ap_hits(relevant: Sequence[bool], cutoff: int) -> Fraction:
    """Average precision, divided by the relevant rows in the top ranks."""
    hits = sum(relevant[:cutoff])
    return precision_sum(relevant, cutoff) / hits if hits else Fraction(0)


def ap_caffe_dnnh(relevant: Sequence[bool], cutoff: int) -> Fraction:
    """Average precision, divided by a tenth of the database, like evaluate_map.cpp without bugs."""
    denominator = min(len(relevant) // 10, cutoff)
    total = Fraction(0)
    n_found = 1
    for index in range(min(cutoff, len(relevant))):
        if relevant[index]:
            total += Fraction(n_found, index + 1)
            n_found += 1
    return total / denominator if denominator else Fraction(0)


AP: dict[str, Metric] = {
    "all-relevant": ap_all_relevant,
    "min": ap_min,
    "hits": ap_hits,
    "caffe-dnnh": ap_caffe_dnnh,
}


def precision_at(relevant: Sequence[bool], k: int) -> Fraction:
    """Relevant rows among the first k, over k."""
    return Fraction(sum(relevant[:k]), k)


def recall_at(relevant: Sequence[bool], k: int) -> Fraction:
    """Relevant rows among the first k, over all relevant rows."""
    return Fraction(sum(relevant[:k]), sum(relevant)) if any(relevant) else Fraction(0)


def dcg(gains: Sequence[float], k: int) -> float:
    """Discounted cumulative gain of a ranking, given the gain at each rank."""
    return math.fsum(gain / math.log2(1 + t) for t, gain in enumerate(gains[:k], start=1))


def ndcg(grades: Sequence[int], k: int, gain: Callable[[int], int]) -> float:
    """DCG of a ranking of grades over that of the best order; 0 where nothing is relevant."""
    best = dcg([gain(grade) for grade in sorted(grades, reverse=True)], k)
    return dcg([gain(grade) for grade in grades], k) / best if best else 0.0


def graded_tie_orders(groups: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Every ranking that ties allow, given the grades of the rows at each distance."""
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield list(itertools.chain.from_iterable(parts))


def tie_orders(groups: Sequence[tuple[int, int]]) -> Iterator[list[bool]]:
    """Every ranking that ties allow, each equally often.

    ``groups`` has (relevant rows, rows) for each distance. Orders with relevant rows in the same
    ranks are the same ranking, and each such choice of ranks stands for equally many orders.
    """
    placements = []
    for n_relevant, n_rows in groups:
        chosen = itertools.combinations(range(n_rows), n_relevant)
        placements.append([[rank in ranks for rank in range(n_rows)] for ranks in chosen])
    for parts in itertools.product(*placements):
        yield list(itertools.chain.from_iterable(parts))


def mean_over_ties(
    metric: Callable[[Sequence[bool], int], Fraction],
    groups: Sequence[tuple[int, int]],
    cutoff: int,
) -> Fraction:
    """Mean of a metric over every tie order."""
    values = [metric(relevant, cutoff) for relevant in tie_orders(groups)]
    return sum(values, Fraction(0)) / len(values)


def extremes_over_ties(
    metric: Callable[[Sequence[bool], int], Fraction],
    groups: Sequence[tuple[int, int]],
    cutoff: int,
) -> tuple[Fraction, Fraction]:
    """Smallest and largest value of a metric over every tie order."""
    values = [metric(relevant, cutoff) for relevant in tie_orders(groups)]
    return min(values), max(values)


def is_relevant(query_labels: set[str], database_labels: set[str]) -> bool:
    """Whether a query and a database row share a label."""
    return bool(query_labels & database_labels)
