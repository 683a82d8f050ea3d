"""Hash centres: one binary code per class, as far apart as possible.

Yuan et al., *Central Similarity Quantization for Efficient Image and Video Retrieval*, CVPR 2020
(arXiv 1908.00347), section 3.1: rows of a Hadamard matrix and of its negative if one of the code's
length exists, otherwise random codes. Here the random codes are then improved by flipping single
bits; for few classes they end farther apart than the rows of a Hadamard matrix.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "centres_of_images",
    "cosines_to_centres",
    "hadamard_centres",
    "hash_centres",
    "min_and_mean_distance",
    "random_code",
    "spread_centres",
]

# A pair's weight is e to the power of its inner product, so that the nearest pairs dominate: a
# pair that is one bit nearer has e^2 = 7.4 times the weight.
_FARTHER: Final = math.cosh(2) - 1
_NEARER: Final = math.sinh(2)

# With hundreds of classes, later passes gain little, and a pass over 1,000 takes half a second.
_MAX_PASSES: Final = 8

# With many classes or long codes, sets differ little in quality and take longer to improve.
_MAX_SETS: Final = 10
_MAX_BITS_OF_SETS: Final = 10_000

# Shorter logits are divided by this norm instead: the gradient of the cosine is infinite at 0.
_MIN_NORM: Final = 1e-3


def hash_centres(n_classes: int, n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Centres of classes: `hadamard_centres` or `spread_centres`, whichever are farther apart.

    Parameters
    ----------
    n_classes, n_bits
        Number of centres, 1 or more, and bits of each. If there are more classes than codes,
        some classes share a code.
    generator
        CPU generator; None for torch's global one.

    Returns
    -------
    Tensor
        float32 [n_classes, n_bits], +1 and -1. A single class gets a random code.
    """
    spread = spread_centres(n_classes, n_bits, generator)
    if n_bits & (n_bits - 1) or n_classes > 2 * n_bits:
        return spread
    hadamard = hadamard_centres(n_classes, n_bits, generator)
    return max(hadamard, spread, key=min_and_mean_distance)


def min_and_mean_distance(centres: Tensor) -> tuple[float, float]:
    """Smallest and mean Hamming distance between centres, in bits; infinite for a single one."""
    n_classes, n_bits = centres.shape
    if n_classes < 2:
        return math.inf, math.inf
    rows, columns = torch.triu_indices(n_classes, n_classes, offset=1)
    distances = (n_bits - centres @ centres.T)[rows, columns] / 2
    return float(distances.min()), float(distances.mean())


def hadamard_centres(
    n_classes: int, n_bits: int, generator: torch.Generator | None = None
) -> Tensor:
    """Rows of a Hadamard matrix and of its negative: any two differ in half of the bits or all.

    The rows are in random order, and every other one is negated: the first column of the matrix
    is all ones, and a bit that is the same for all classes carries no information.

    Parameters
    ----------
    n_classes, n_bits
        ``n_bits`` is a power of two, and ``n_classes`` at most ``2 * n_bits``.
    generator
        As for `hash_centres`.

    Returns
    -------
    Tensor
        float32 [n_classes, n_bits], +1 and -1.

    Raises
    ------
    ValueError
        If ``n_bits`` is not a power of two, or ``n_classes`` is too large.
    """
    if n_bits < 1 or n_bits & (n_bits - 1) or n_classes > 2 * n_bits:
        raise ValueError(
            "Hadamard centres need a power of two as the number of bits, and at most twice as many "
            f"classes as bits, not {n_bits} bits and {n_classes} classes"
        )
    matrix = torch.ones(1, 1)
    while len(matrix) < n_bits:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    signs = 1 - 2 * (torch.arange(n_bits) % 2).float()
    rows = matrix[torch.randperm(n_bits, generator=generator)] * signs[:, None]
    return torch.cat([rows, -rows])[:n_classes]


def spread_centres(n_classes: int, n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Random codes, improved by flipping bits until no flip moves the nearest pairs apart.

    Several sets are drawn and improved, and the best by (smallest distance, mean distance) is
    kept. For 10 codes of 48 bits the smallest distance is 26, the maximum by Plotkin's bound; the
    best of 3,000 random sets has 20.

    Parameters
    ----------
    n_classes, n_bits, generator
        As for `hash_centres`.

    Returns
    -------
    Tensor
        float32 [n_classes, n_bits], +1 and -1.
    """
    n_sets = max(1, min(_MAX_SETS, _MAX_BITS_OF_SETS // (n_classes * n_bits)))
    sets = (
        _move_apart(torch.stack([random_code(n_bits, generator) for _ in range(n_classes)]))
        for _ in range(n_sets)
    )
    return max(sets, key=min_and_mean_distance)


def random_code(n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """A code of random bits, +1 and -1 equally likely: float32 [n_bits]."""
    return torch.randint(0, 2, (n_bits,), generator=generator) * 2.0 - 1


def centres_of_images(targets: Tensor, centres: Tensor, tie_code: Tensor) -> Tensor:
    """Centre of each image: that of its class, or the bitwise majority of its labels' centres.

    Yuan et al. 2020, section 3.1. The paper breaks ties of the majority at random; here
    ``tie_code`` does.

    Parameters
    ----------
    targets
        int64 [B], or uint8 [B, n_classes] multi-hot. An image without labels gets an arbitrary
        centre.
    centres
        float32 [n_classes, n_bits], +1 and -1.
    tie_code
        float32 [n_bits], +1 and -1.

    Returns
    -------
    Tensor
        float32 [B, n_bits], +1 and -1.
    """
    if targets.ndim == 1:
        return centres[targets.clamp(min=0)]
    votes = targets.to(centres.dtype) @ centres
    return torch.where(votes == 0, tie_code, votes.sign())


def cosines_to_centres(logits: Tensor, centres: Tensor) -> Tensor:
    """Cosines of logits, float32 [B, n_bits], and centres: float32 [B, n_classes]."""
    directions = F.normalize(logits, dim=1, eps=_MIN_NORM)
    return directions @ centres.T / centres.shape[1] ** 0.5


def _move_apart(centres: Tensor) -> Tensor:
    """Flip bits, the best one of each centre first, as long as the weight of near pairs falls."""
    centres = centres.double()
    products = centres @ centres.T
    for _ in range(_MAX_PASSES):
        if not sum(_flip_bits(row, centres, products) for row in range(len(centres))):
            break
    return centres.float()


def _flip_bits(row: int, centres: Tensor, products: Tensor) -> int:
    """Improve one centre in place, with all others fixed; returns the number of bits flipped."""
    n_bits = centres.shape[1]
    for n_flips in range(n_bits):
        weights = products[row].clone()
        weights[row] = -math.inf
        weights = (weights - weights.max()).exp_()
        # Flipping bit k of centre i changes its product p with centre j to p - 2 c_ik c_jk. Since
        # e^(p -+ 2) - e^p = e^p (cosh 2 - 1) -+ e^p sinh 2, one product gives all n_bits gains.
        gains = _FARTHER * weights.sum() - _NEARER * centres[row] * (weights @ centres)
        bit = int(gains.argmin())
        if gains[bit] > -1e-9:
            return n_flips
        changes = -2 * centres[row, bit] * centres[:, bit]
        centres[row, bit] *= -1
        products[row] += changes
        products[row, row] = n_bits
        products[:, row] = products[row]
    return n_bits
