"""Slow, obvious implementations of training functions, from the paper and its layer table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def n_shared(one: Any, other: Any) -> int:
    """Number of labels that two images share: numbers (negative: none), or rows of 0 and 1."""
    if np.ndim(one) == 0:
        return int(one == other and one >= 0)
    return sum(int(a and b) for a, b in zip(one, other, strict=True))


def squared_distance(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True))


def triplets_of(labels: Sequence[Any]) -> list[tuple[int, int, int]]:
    """All (query, similar, dissimilar) of a batch: the query shares more labels with similar."""
    rows = range(len(labels))
    return [
        (query, similar, dissimilar)
        for query in rows
        for similar in rows
        for dissimilar in rows
        if query not in (similar, dissimilar)
        and n_shared(labels[query], labels[similar]) > n_shared(labels[query], labels[dissimilar])
    ]


def triplet_loss(
    codes: Sequence[Sequence[float]],
    triplets: Sequence[Sequence[int]],
    margin: float,
    average: str,
) -> tuple[float, int, int]:
    """Mean hinge (Lai et al. 2015, equation 2), number of triplets, number with a hinge above 0."""
    hinges = []
    for query, similar, dissimilar in triplets:
        near = squared_distance(codes[query], codes[similar])
        far = squared_distance(codes[query], codes[dissimilar])
        hinges.append(max(0.0, margin + near - far))
    n_active = sum(hinge > 0 for hinge in hinges)
    count = len(hinges) if average == "valid" else n_active
    return sum(hinges) / max(1, count), len(hinges), n_active


def convolution(
    image: NDArray[np.float64], weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[C, H, W] -> [D, H, W] with kernels [D, C, k, k] and zero padding."""
    _, height, width = image.shape
    kernel = weight.shape[2]
    padded = np.pad(image, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    result = np.empty((len(weight), height, width))
    for y in range(height):
        for x in range(width):
            window = padded[:, y : y + kernel, x : x + kernel]
            result[:, y, x] = (weight * window).sum(axis=(1, 2, 3)) + bias
    return result


def pool(image: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    """3x3 windows with stride 2; as in Caffe, sizes round up and border windows may be cut."""
    channels, height, width = image.shape
    rows = math.ceil((height - 3) / 2) + 1
    columns = math.ceil((width - 3) / 2) + 1
    result = np.empty((channels, rows, columns))
    for y in range(rows):
        for x in range(columns):
            window = image[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            result[:, y, x] = window.max(axis=(1, 2)) if how == "max" else window.mean(axis=(1, 2))
    return result


def dnnh_logits(
    image: NDArray[np.float64],
    convolutions: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    encoder_weight: NDArray[np.float64],
    encoder_bias: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Logits [n_bits] of one image [3, H, W], from the layer table, without dropout."""
    pools = ["max", "max", "average"]
    values = image
    for index, (weight, bias) in enumerate(convolutions):
        values = np.maximum(convolution(values, weight, bias), 0)
        if index % 2 and pools:
            values = pool(values, pools.pop(0))
    features = values.mean(axis=(1, 2))
    logits = np.empty(len(encoder_weight))
    for bit, (weight, bias) in enumerate(zip(encoder_weight, encoder_bias, strict=True)):
        logits[bit] = (features[50 * bit : 50 * bit + 50] * weight).sum() + bias
    return logits


def shifted(image: NDArray[np.uint8], dy: int, dx: int, flip: bool) -> NDArray[np.uint8]:
    """[H, W, 3] shifted by (dy, dx), with reflection at the border, then mirrored."""
    height, width, _ = image.shape
    margin_y, margin_x = abs(dy), abs(dx)
    padded = np.pad(image, ((margin_y, margin_y), (margin_x, margin_x), (0, 0)), mode="reflect")
    moved = padded[margin_y + dy :, margin_x + dx :][:height, :width]
    return moved[:, ::-1] if flip else moved
