"""The formulas of the baselines in plain loops, written from the papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes


def side_of_planes(
    row: Sequence[float], mean: Sequence[float], normals: Sequence[Sequence[float]]
) -> str:
    """Bits of one row: the side of each plane through the mean on which it lies."""
    bits = ""
    for normal in normals:
        dot = sum((x - m) * w for x, m, w in zip(row, mean, normal, strict=True))
        bits += "1" if dot > 0 else "0"
    return bits


def itq_rotation(
    projected: NDArray[np.float64], first: NDArray[np.float64], n_iterations: int
) -> NDArray[np.float64]:
    """Gong & Lazebnik, with SciPy's solver of min |V R - B|."""
    rotation = first
    for _ in range(n_iterations):
        corners = np.where(projected @ rotation > 0, 1.0, -1.0)
        rotation, _ = orthogonal_procrustes(projected, corners)
    return rotation


def quantisation_loss(projected: NDArray[np.float64], rotation: NDArray[np.float64]) -> float:
    """|sgn(V R) - V R|^2, equation 2 of Gong & Lazebnik."""
    rotated = (projected @ rotation).tolist()
    return sum(((1.0 if x > 0 else -1.0) - x) ** 2 for row in rotated for x in row)


def spectral_bits(coordinates: NDArray[np.float64], training: NDArray[np.float64], n_bits: int):
    """Weiss et al.: every eigenfunction of every axis, sorted by eigenvalue, thresholded.

    ``coordinates`` and ``training`` are projections, [n, n_axes]. A small epsilon keeps the
    eigenvalues away from 1, where they would be indistinguishable.
    """
    epsilon = 1e-3
    candidates = []
    for axis in range(training.shape[1]):
        a, b = training[:, axis].min(), training[:, axis].max()
        for k in range(1, n_bits + 1):
            eigenvalue = -math.expm1(-(epsilon**2) / 2 * (k * math.pi / (b - a)) ** 2)
            candidates.append((eigenvalue, k, axis, a, b))
    codes = []
    for row in coordinates:
        bits = ""
        for _, k, axis, a, b in sorted(candidates)[:n_bits]:
            wave = math.sin(math.pi / 2 + k * math.pi / (b - a) * (row[axis] - a))
            bits += "1" if wave > 0 else "0"
        codes.append(bits)
    return codes
