"""Pairwise and triplet losses as plain loops, written from the papers, in Python floats.

Labels are numbers (-1: none) or rows of 0 and 1. Each function returns the loss and the fraction of
active terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Row = Sequence[float]
Rows = Sequence[Row]


def is_labelled(label: Any) -> bool:
    return label >= 0 if isinstance(label, int) else any(label)


def share_a_label(one: Any, other: Any) -> bool:
    if isinstance(one, int):
        return one == other
    return any(a and b for a, b in zip(one, other, strict=True))


def pairs_of(labels: Sequence[Any]) -> list[tuple[int, int, bool]]:
    """All (i, j, whether they are similar) of two different labelled images."""
    rows = [row for row in range(len(labels)) if is_labelled(labels[row])]
    return [(i, j, share_a_label(labels[i], labels[j])) for i in rows for j in rows if i != j]


def triplets_of(labels: Sequence[Any]) -> list[tuple[int, int, int]]:
    """All (query, image that shares a label with it, image that shares none)."""
    pairs = pairs_of(labels)
    return [
        (query, near, far)
        for query, near, is_similar in pairs
        for other, far, far_is_similar in pairs
        if query == other and is_similar and not far_is_similar
    ]


def dot(one: Row, other: Row) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def squared_distance(one: Row, other: Row) -> float:
    return math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def cosine(one: Row, other: Row) -> float:
    return dot(one, other) / math.sqrt(dot(one, one) * dot(other, other))


def sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def weighted_mean(costs: Sequence[float], are_similar: Sequence[bool]) -> float:
    """Cao et al. 2017, 2018: w = |S| / |S1| for similar pairs, |S| / |S0| for dissimilar ones."""
    total = 0.0
    for cost, is_similar in zip(costs, are_similar, strict=True):
        total += len(costs) / are_similar.count(is_similar) * cost
    return total / max(1, len(costs))


def quantisation_error(logits: Rows, images: set[int]) -> float:
    """Mean over images and bits of the squared distance from the code."""
    return mean([(value - sign(value)) ** 2 for image in images for value in logits[image]])


def fraction_misclassified(codes: Rows, pairs: Sequence[tuple[int, int, bool]]) -> float:
    """Fraction of pairs whose inner product is 0 or has the wrong sign."""
    wrong = []
    for i, j, is_similar in pairs:
        product = dot(codes[i], codes[j])
        wrong.append(float(product <= 0 if is_similar else product >= 0))
    return mean(wrong)


def dpsh(logits: Rows, labels: Sequence[Any], quantisation: float) -> tuple[float, float]:
    """DPSH, Li et al. 2016."""
    pairs = pairs_of(labels)
    costs = []
    for i, j, is_similar in pairs:
        theta = dot(logits[i], logits[j]) / 2
        costs.append(-math.log(sigmoid(theta if is_similar else -theta)))
    images = {i for i, _, _ in pairs}
    value = mean(costs) + quantisation * quantisation_error(logits, images)
    return value, fraction_misclassified(logits, pairs)


def dtsh(
    logits: Rows, triplets: Sequence[Sequence[int]], margin: float, quantisation: float
) -> tuple[float, float]:
    """DTSH, Wang et al. 2016."""
    costs = []
    for query, near, far in triplets:
        theta_near = dot(logits[query], logits[near]) / 2
        theta_far = dot(logits[query], logits[far]) / 2
        costs.append(-math.log(sigmoid(theta_near - theta_far - margin)))
    images = {image for triplet in triplets for image in triplet}
    value = mean(costs) + quantisation * quantisation_error(logits, images)
    return value, mean([float(math.exp(-cost) <= 0.5) for cost in costs])


def dsh(
    logits: Rows, labels: Sequence[Any], margin: float, quantisation: float
) -> tuple[float, float]:
    """DSH, Liu et al. 2016."""
    pairs = pairs_of(labels)
    costs, needed = [], []
    for i, j, is_similar in pairs:
        distance = squared_distance(logits[i], logits[j])
        codes = [[sign(value) for value in logits[row]] for row in (i, j)]
        costs.append(0.5 * distance if is_similar else 0.5 * max(0.0, margin - distance))
        needed.append(float(codes[0] != codes[1] if is_similar else distance < margin))
    images = {i for i, _, _ in pairs}
    errors = [math.fsum(abs(abs(value) - 1) for value in logits[image]) for image in images]
    return mean(costs) + quantisation * mean(errors), mean(needed)


def hashnet(logits: Rows, labels: Sequence[Any], scale: float, beta: float) -> tuple[float, float]:
    """HashNet, Cao et al. 2017."""
    codes = [[math.tanh(beta * value) for value in row] for row in logits]
    pairs = pairs_of(labels)
    costs = []
    for i, j, is_similar in pairs:
        product = scale * dot(codes[i], codes[j])
        costs.append(math.log(1 + math.exp(product)) - is_similar * product)
    return weighted_mean(costs, [s for _, _, s in pairs]), fraction_misclassified(codes, pairs)


def dch(
    logits: Rows,
    labels: Sequence[Any],
    gamma: float,
    quantisation: float,
    min_distance: float,
) -> tuple[float, float]:
    """DCH, Cao et al. 2018; ``min_distance`` is added to the distances of dissimilar pairs."""
    codes = [[math.tanh(value) for value in row] for row in logits]
    n_bits = len(codes[0])
    pairs = pairs_of(labels)
    costs = []
    for i, j, is_similar in pairs:
        distance = n_bits / 2 * (1 - cosine(codes[i], codes[j]))
        if not is_similar:
            distance += min_distance
        likelihood = (gamma if is_similar else distance) / (gamma + distance)
        costs.append(-math.log(likelihood))
    errors = []
    for image in {i for i, _, _ in pairs}:
        absolute = [abs(value) for value in codes[image]]
        distance = n_bits / 2 * (1 - cosine(absolute, [1.0] * n_bits))
        errors.append(-math.log(gamma / (gamma + distance)))
    value = weighted_mean(costs, [s for _, _, s in pairs]) + quantisation * mean(errors)
    return value, fraction_misclassified(codes, pairs)


def multi_similarity(
    logits: Rows,
    labels: Sequence[Any],
    scales: tuple[float, float],
    margin: float,
    epsilon: float,
    quantisation: float,
) -> tuple[float, float]:
    """Wang et al. 2019: mining (equations 11 and 12), then the sums of equation 15."""
    alpha, beta = scales
    codes = [[math.tanh(value) for value in row] for row in logits]
    pairs = pairs_of(labels)
    kept, costs = [], []
    for anchor in sorted({i for i, _, _ in pairs}):
        near = [cosine(codes[anchor], codes[j]) for i, j, s in pairs if i == anchor and s]
        far = [cosine(codes[anchor], codes[j]) for i, j, s in pairs if i == anchor and not s]
        kept_near = [value for value in near if far and value < max(far) + epsilon]
        kept_far = [value for value in far if near and value > min(near) - epsilon]
        kept += [True] * (len(kept_near) + len(kept_far))
        pull = math.fsum(math.exp(-alpha * (value - margin)) for value in kept_near)
        push = math.fsum(math.exp(beta * (value - margin)) for value in kept_far)
        costs.append(math.log(1 + pull) / alpha + math.log(1 + push) / beta)
    error = quantisation_error(logits, {i for i, _, _ in pairs})
    return mean(costs) + quantisation * error, len(kept) / max(1, len(pairs))


def supcon(
    logits: Rows, labels: Sequence[Any], temperature: float, quantisation: float
) -> tuple[float, float]:
    """Khosla et al. 2020, equation 2, the mean over the images with a similar one."""
    codes = [[math.tanh(value) for value in row] for row in logits]
    pairs = pairs_of(labels)
    costs, misranked = [], []
    for anchor in sorted({i for i, _, is_similar in pairs if is_similar}):
        others = [(cosine(codes[anchor], codes[j]), s) for i, j, s in pairs if i == anchor]
        total = math.fsum(math.exp(value / temperature) for value, _ in others)
        near = [value for value, is_similar in others if is_similar]
        far = [value for value, is_similar in others if not is_similar]
        costs.append(mean([-math.log(math.exp(value / temperature) / total) for value in near]))
        misranked += [float(bool(far) and value <= max(far)) for value in near]
    error = quantisation_error(logits, {i for i, _, _ in pairs})
    return mean(costs) + quantisation * error, mean(misranked)
