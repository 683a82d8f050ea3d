"""Hash centres: one binary code a class, as far apart as can be.

Yuan et al., *Central Similarity Quantization for Efficient Image and Video Retrieval*, CVPR 2020
(arXiv 1908.00347), section 3.1: rows of a Hadamard matrix and of its negative where there is one
of the code's length, else codes of random bits. Here the random bits are then improved, one flip
at a time; for few classes that takes them farther apart than rows of a Hadamard matrix are.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

__all__ = [
    "centres_of_images",
    "hadamard_centres",
    "hash_centres",
    "random_code",
    "spread_centres",
    "spread_of",
]

# Pairs are weighed by e to the power of their inner product, so that the nearest one, which is
# what counts, outweighs all others: one bit nearer counts e^2 = 7.4 times as much.
_FARTHER: Final = math.cosh(2) - 1
_NEARER: Final = math.sinh(2)

# Hundreds of classes improve little after a few passes, and a pass over 1,000 takes half a second.
_MAX_PASSES: Final = 8

# Of many classes or long codes, one set is about as good as another, and takes longer.
_MAX_SETS: Final = 10
_MAX_BITS_OF_SETS: Final = 10_000


def hash_centres(n_classes: int, n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Centres of classes: Hadamard's or spread ones, whichever are farther apart.

    Parameters
    ----------
    n_classes, n_bits
        Number of centres, 1 or more, and bits of each. More classes than there are codes share
        some.
    generator
        Of torch, on the CPU; torch's global one if None.

    Returns
    -------
    Tensor
        float32 [n_classes, n_bits], +1 and -1. For one class any code will do.
    """
    spread = spread_centres(n_classes, n_bits, generator)
    if n_bits & (n_bits - 1) or n_classes > 2 * n_bits:
        return spread
    hadamard = hadamard_centres(n_classes, n_bits, generator)
    return max(hadamard, spread, key=spread_of)


def spread_of(centres: Tensor) -> tuple[float, float]:
    """Smallest and mean Hamming distance between centres, in bits; infinite for fewer than two."""
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

    The rows are drawn, and about half of them are negated: the first column of the matrix is all
    ones, and a bit that is the same for all classes would tell nothing.

    Parameters
    ----------
    n_classes, n_bits
        ``n_bits`` is a power of two, and ``n_classes`` at most twice as many.
    generator
        As for `hash_centres`.

    Returns
    -------
    Tensor
        float32 [n_classes, n_bits], +1 and -1.

    Raises
    ------
    ValueError
        If there are not that many rows.
    """
    if n_bits < 1 or n_bits & (n_bits - 1) or n_classes > 2 * n_bits:
        raise ValueError(
            "Hadamard centres need a power of two of bits, and at most twice as many classes, "
            f"not {n_bits} and {n_classes}"
        )
    matrix = torch.ones(1, 1)
    while len(matrix) < n_bits:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    signs = 1 - 2 * (torch.arange(n_bits) % 2).float()
    rows = matrix[torch.randperm(n_bits, generator=generator)] * signs[:, None]
    return torch.cat([rows, -rows])[:n_classes]


def spread_centres(n_classes: int, n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Random codes, improved by flipping bits until no flip takes the nearest pairs apart.

    Several sets are drawn and improved, and the best by (smallest distance, mean distance) is
    kept. 10 codes of 48 bits end with a smallest distance of 26, which is the most that Plotkin's
    bound allows; the best of 3,000 plain draws has 20.

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
        _spread(torch.stack([random_code(n_bits, generator) for _ in range(n_classes)]))
        for _ in range(n_sets)
    )
    return max(sets, key=spread_of)


def random_code(n_bits: int, generator: torch.Generator | None = None) -> Tensor:
    """A code of fair random bits: float32 [n_bits], +1 and -1."""
    return torch.randint(0, 2, (n_bits,), generator=generator) * 2.0 - 1


def centres_of_images(targets: Tensor, centres: Tensor, tie_code: Tensor) -> Tensor:
    """Centre that each image belongs to: its class's, or the majority of its labels' centres.

    Yuan et al. 2020, section 3.1: the centroid of several centres has the bit that more of them
    have; where as many have the one as the other, the paper draws it, and ``tie_code`` decides.

    Parameters
    ----------
    targets
        int64 [B], or uint8 [B, n_classes] multi-hot. An image without labels gets any centre.
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


def _spread(centres: Tensor) -> Tensor:
    """Flip bits, the best of a centre first, as long as that lowers the weight of near pairs."""
    centres = centres.double()
    products = centres @ centres.T
    for _ in range(_MAX_PASSES):
        if not sum(_flip_bits(row, centres, products) for row in range(len(centres))):
            break
    return centres.float()


def _flip_bits(row: int, centres: Tensor, products: Tensor) -> int:
    """Improve one centre, in place, against all others; the number of bits flipped."""
    n_bits = centres.shape[1]
    for n_flips in range(n_bits):
        weights = products[row].clone()
        weights[row] = -math.inf
        weights = (weights - weights.max()).exp_()
        # To flip bit k of centre i takes its product with centre j, p, to p - 2 c_ik c_jk, and
        # e^(p -+ 2) - e^p = e^p (cosh 2 - 1) -+ e^p sinh 2: all n_bits flips are one product.
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
