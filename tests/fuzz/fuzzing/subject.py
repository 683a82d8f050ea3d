"""A format to damage: valid files, ways to damage them, and the code that reads them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzzing.mutations import Mutation, mutate_bytes

__all__ = ["Subject", "mutated"]

_ALSO_OUTSIDE = 0.1


@dataclasses.dataclass(frozen=True)
class Subject:
    """A format.

    Attributes
    ----------
    path
        Where a damaged file is put; other files that reading needs are there already.
    seeds
        Valid files.
    read
        Reads ``path`` and uses what it read, in ways that depend on the random numbers. It returns,
        or raises a `HashkitError`.
    inside
        Changes that keep a container whole; the other half of the cases changes any bytes.
    """

    path: Path
    seeds: Sequence[bytes]
    read: Callable[[Path, random.Random], None]
    inside: Sequence[Mutation] = ()


def mutated(subject: Subject, rng: random.Random) -> bytes:
    """The damaged file of one case."""
    seed = rng.choice(subject.seeds)
    if not subject.inside or rng.random() < 0.4:
        return mutate_bytes(rng, seed, subject.seeds)
    data = rng.choice(subject.inside)(rng, seed)
    return mutate_bytes(rng, data) if rng.random() < _ALSO_OUTSIDE else data
