"""Losses with centres and losses without labels as plain loops, written from the papers.

All in Python floats. Labels are numbers (-1: none) or rows of 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Rows = Sequence[Sequence[float]]


def labels_of(target: Any, n_classes: int) -> list[int]:
    """Labels of one image."""
    if isinstance(target, int):
        return [target] if target >= 0 else []
    return [label for label in range(n_classes) if target[label]]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))


def sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0


def majority(labels: list[int], centres: Rows, tie_code: Sequence[float]) -> list[float]:
    """Yuan et al. 2020, section 3.1: the bitwise majority of the labels' centres."""
    code = []
    for bit, tie in enumerate(tie_code):
        n_ones = sum(centres[label][bit] > 0 for label in labels)
        n_others = len(labels) - n_ones
        code.append(tie if n_ones == n_others else sign(n_ones - n_others))
    return code


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def csq(
    logits: Rows, targets: Sequence[Any], centres: Rows, tie_code: Sequence[float], weight: float
) -> tuple[float, float]:
    """Central similarity plus quantisation, and the fraction of wrong bits."""
    costs, wrong = [], []
    for row, target in zip(logits, targets, strict=True):
        labels = labels_of(target, len(centres))
        if not labels:
            continue
        for logit, side in zip(row, majority(labels, centres, tie_code), strict=True):
            h = (math.tanh(logit) + 1) / 2
            c = (side + 1) / 2
            entropy = -(c * math.log(h) + (1 - c) * math.log(1 - h))
            costs.append(entropy + weight * math.log(math.cosh(abs(2 * h - 1) - 1)))
            wrong.append(float(sign(logit) != side))
    return mean(costs), mean(wrong)


def dpn(
    logits: Rows, targets: Sequence[Any], centres: Rows, tie_code: Sequence[float], margin: float
) -> tuple[float, float]:
    """Polarization loss, and the fraction of bits whose hinge is above 0."""
    hinges = []
    for row, target in zip(logits, targets, strict=True):
        labels = labels_of(target, len(centres))
        if labels:
            sides = majority(labels, centres, tie_code)
            hinges += [max(0.0, margin - h * t) for h, t in zip(row, sides, strict=True)]
    return mean(hinges), mean([float(hinge > 0) for hinge in hinges])


def softmax_cost(scores: Sequence[float], labels: list[int], smoothing: float) -> float:
    """Cross-entropy with a target spread evenly over the labels and smoothed over all classes."""
    total = sum(math.exp(score) for score in scores)
    cost = 0.0
    for label, score in enumerate(scores):
        share = 1 / len(labels) if label in labels else 0.0
        share = (1 - smoothing) * share + smoothing / len(scores)
        cost -= share * math.log(math.exp(score) / total)
    return cost


def is_misclassified(scores: Sequence[float], labels: list[int]) -> float:
    own = max(scores[label] for label in labels)
    others = [score for label, score in enumerate(scores) if label not in labels]
    return float(bool(others) and max(others) >= own)


def orthohash(
    logits: Rows,
    targets: Sequence[Any],
    centres: Rows,
    scale: float,
    margin: float,
    smoothing: float,
) -> tuple[float, float]:
    """Cosine-margin softmax, and the fraction of images nearest to another class's centre."""
    costs, misclassified = [], []
    for row, target in zip(logits, targets, strict=True):
        labels = labels_of(target, len(centres))
        if not labels:
            continue
        cosines = [cosine(row, centre) for centre in centres]
        scores = [scale * (c - margin * (label in labels)) for label, c in enumerate(cosines)]
        costs.append(softmax_cost(scores, labels, smoothing))
        misclassified.append(is_misclassified(cosines, labels))
    return mean(costs), mean(misclassified)


def greedyhash(
    logits: Rows, targets: Sequence[Any], weights: Rows, weight: float
) -> tuple[float, float]:
    """Cross-entropy of a linear classifier on signs plus the cubic penalty."""
    costs, misclassified = [], []
    for row, target in zip(logits, targets, strict=True):
        labels = labels_of(target, len(weights))
        if not labels:
            continue
        code = [sign(logit) for logit in row]
        scores = [sum(w * b for w, b in zip(line, code, strict=True)) for line in weights]
        penalty = mean([abs(abs(logit) - 1) ** 3 for logit in row])
        costs.append(softmax_cost(scores, labels, 0.0) + weight * penalty)
        misclassified.append(is_misclassified(scores, labels))
    return mean(costs), mean(misclassified)


def halves(logits: Rows) -> list[list[float]]:
    """Bi-half codes: the upper half of each column +1, the lower half -1, the median its sign."""
    n_images, n_bits = len(logits), len(logits[0])
    codes = [[0.0] * n_bits for _ in range(n_images)]
    for bit in range(n_bits):
        order = sorted(range(n_images), key=lambda row: (logits[row][bit], row))
        for place, row in enumerate(order):
            is_middle = n_images % 2 == 1 and place == n_images // 2
            codes[row][bit] = (
                sign(logits[row][bit]) if is_middle else sign(place + 0.5 - n_images / 2)
            )
    return codes


def bihalf(logits: Rows, features: Rows, weight: float) -> tuple[float, float]:
    """Squared differences of cosines over pairs plus the quantisation term."""
    codes = halves(logits)
    pairs = [(i, j) for i in range(len(codes)) for j in range(i)]
    errors = [
        (cosine(codes[i], codes[j]) - cosine(features[i], features[j])) ** 2 for i, j in pairs
    ]
    bits = [
        (u, b)
        for row, code in zip(logits, codes, strict=True)
        for u, b in zip(row, code, strict=True)
    ]
    pull = mean([(u - b) ** 2 for u, b in bits])
    return mean(errors) + weight / 2 * pull, mean([float(sign(u) != b) for u, b in bits])


def cibhash(
    logits: Rows, images: Sequence[int], codes: Rows, temperature: float, weight: float
) -> tuple[float, float]:
    """Contrastive cross-entropy of sampled codes plus the divergences in both directions."""
    costs, misranked = [], []
    for i, image in enumerate(images):
        partners = [j for j, other in enumerate(images) if other == image and j != i]
        if not partners:
            continue
        (j,) = partners
        others = [k for k in range(len(images)) if k != i]
        total = sum(math.exp(cosine(codes[i], codes[k]) / temperature) for k in others)
        contrast = -math.log(math.exp(cosine(codes[i], codes[j]) / temperature) / total)
        kl = (divergence(logits[i], logits[j]) + divergence(logits[j], logits[i])) / 2
        costs.append(contrast + weight * kl)
        foreign = [cosine(codes[i], codes[k]) for k in others if k != j]
        misranked.append(float(bool(foreign) and max(foreign) >= cosine(codes[i], codes[j])))
    return mean(costs), mean(misranked)


def divergence(one: Sequence[float], other: Sequence[float]) -> float:
    """Kullback-Leibler divergence of independent bits, in nats."""
    total = 0.0
    for u, v in zip(one, other, strict=True):
        p, q = sigmoid(u), sigmoid(v)
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return total


def smallest_distance(codes: Rows) -> int:
    """Smallest Hamming distance over all pairs, in bits."""
    return min(
        sum(a != b for a, b in zip(codes[i], codes[j], strict=True))
        for i in range(len(codes))
        for j in range(i)
    )
