"""Compare the outputs of a model with those of its source model, on real images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.evaluation.evaluator import expected_map
from hashkit.meter import Meter
from hashkit.retrieval.search import search
from hashkit.runtimes.answers import Answers, answers_of
from hashkit.runtimes.protocol import open_runtime
from hashkit.runtimes.settings import RuntimeSettings

__all__ = [
    "NEAR_ZERO",
    "N_NEIGHBOURS",
    "Agreement",
    "Sample",
    "Tolerance",
    "compare",
    "compare_answers",
    "finite_or_none",
    "share_near_zero",
]

N_NEIGHBOURS: Final = 10
"""Nearest rows of each query that are compared if there are no labels."""

NEAR_ZERO: Final = 1e-4
"""Rounding can flip a bit whose logit is this close to 0; the tolerance of a float32 export."""

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Images for a comparison; none of them may have been used to calibrate the model.

    Attributes
    ----------
    queries, database
        uint8 [q, H, W, 3] and [d, H, W, 3], at the model's size.
    query_labels, database_labels
        Integer [n] or 0/1 [n, n_classes] each, or None; mAP is measured if both are given.

    Raises
    ------
    ConfigError
        If there are no queries or no database images.
    """

    queries: NDArray[np.uint8]
    database: NDArray[np.uint8]
    query_labels: NDArray[Any] | None = None
    database_labels: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if not len(self.queries) or not len(self.database):
            raise ConfigError(
                "comparing models needs queries and database images, found "
                f"{len(self.queries)} and {len(self.database)} images"
            )

    @property
    def has_labels(self) -> bool:
        """Whether mAP can be measured."""
        return self.query_labels is not None and self.database_labels is not None


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Comparison of a model's outputs with those of its source.

    Attributes
    ----------
    n_queries, n_database, n_bits
        Number of images compared, and code length.
    flipped_per_million
        Bits that differ, per million, over queries and database.
    codes_changed
        Share of images whose code differs in at least one bit.
    largest_difference
        Largest absolute difference of logits.
    relative_difference
        Root mean square of the differences, divided by that of the source's logits.
    near_zero
        Share of the source's logits within `NEAR_ZERO` of 0.
    n_packing_errors
        Code bytes that differ from `hashkit.codes.binarize` of the model's own logits.
    n_not_finite
        Logits of the model that are NaN or infinite.
    map_source, map
        mAP of the queries against the database, with the codes of the source and of the model;
        None without labels.
    neighbours_kept
        Mean share of a query's `N_NEIGHBOURS` nearest rows under the source that are also among
        the nearest under the model; None with labels.
    provider
        Execution provider on which the model ran.
    """

    n_queries: int
    n_database: int
    n_bits: int
    flipped_per_million: float
    codes_changed: float
    largest_difference: float
    relative_difference: float
    near_zero: float
    n_packing_errors: int
    n_not_finite: int
    map_source: float | None
    map: float | None
    neighbours_kept: float | None
    provider: str

    @property
    def map_lost(self) -> float | None:
        """Loss of mAP compared with the source."""
        if self.map is None or self.map_source is None:
            return None
        return self.map_source - self.map

    def to_dict(self) -> dict[str, Any]:
        """Fields and ``map_lost`` as JSON-ready values; numbers that are not finite are None."""
        return finite_or_none(dataclasses.asdict(self) | {"map_lost": self.map_lost})

    def summary(self) -> str:
        """One line of text."""
        text = (
            f"{self.flipped_per_million:,.0f} flipped bits per million, "
            f"{self.codes_changed:.1%} of the codes changed, "
            f"largest logit difference {self.largest_difference:.1e}"
        )
        if self.map_lost is not None:
            text += f", mAP {self.map_source:.4f} -> {self.map:.4f}"
        if self.neighbours_kept is not None:
            text += f", {self.neighbours_kept:.1%} of the {N_NEIGHBOURS} nearest neighbours kept"
        return f"{text} ({self.n_queries:,} queries, {self.n_database:,} in the database)"


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest acceptable loss of a model compared with its source.

    Attributes
    ----------
    flipped_per_million
        Flipped bits per million.
    map_lost
        Loss of mAP.
    neighbours_lost
        Share of the nearest neighbours lost, if there are no labels.
    """

    flipped_per_million: float
    map_lost: float
    neighbours_lost: float

    def excesses(self, found: Agreement) -> list[str]:
        """The losses that exceed the tolerance, as short texts; empty if there are none."""
        excesses = []
        if not found.flipped_per_million <= self.flipped_per_million:
            excesses.append(
                f"{found.flipped_per_million:,.0f} flipped bits per million "
                f"({self.flipped_per_million:,.0f} allowed)"
            )
        if found.map_lost is not None and not found.map_lost <= self.map_lost:
            excesses.append(f"mAP lower by {found.map_lost:.4f} ({self.map_lost:g} allowed)")
        if found.neighbours_kept is not None:
            lost = 1 - found.neighbours_kept
            if not lost <= self.neighbours_lost:
                excesses.append(
                    f"{lost:.1%} of the {N_NEIGHBOURS} nearest neighbours lost "
                    f"({self.neighbours_lost:.1%} allowed)"
                )
        return excesses


def compare(
    source: Path, model: Path, sample: Sample, *, progress: Progress | None = None
) -> Agreement:
    """Compare a model file with the file it was made from, on the CPU.

    Parameters
    ----------
    source, model
        Files that follow the model contract, with the same input size and code length.
    sample
        The images.
    progress
        Called as ``progress(done, total)``, counted in images.

    Raises
    ------
    ModelError
        If a file cannot be opened or run, or violates the contract.
    ConfigError
        If the files have different numbers of bits.
    """
    runtimes = [open_runtime(path, RuntimeSettings(device="cpu")) for path in (source, model)]
    n_bits, other = (runtime.manifest.n_bits for runtime in runtimes)
    if n_bits != other:
        raise ConfigError(
            f"{source} has {n_bits} bits and {model} has {other}: they cannot be compared"
        )
    images = (sample.queries, sample.database)
    meter = Meter(len(runtimes) * sum(map(len, images)), progress)
    expected, found = (answers_of(one.run, images, progress=meter.add) for one in runtimes)
    return compare_answers(expected.logits, found, sample, runtimes[1].provider)


def compare_answers(
    expected: NDArray[np.float32], found: Answers, sample: Sample, provider: str
) -> Agreement:
    """Compare a model's outputs with the logits of its source.

    Parameters
    ----------
    expected
        Logits of the source, float32 [n, n_bits], for the queries and then for the database.
    found
        The model's outputs for the same images.
    sample
        The images.
    provider
        Execution provider on which the model ran.
    """
    codes, logits = found.codes, found.logits
    n_bits, n_queries = expected.shape[1], len(sample.queries)
    source_codes = binarize(expected)
    flipped = (logits > 0) != (expected > 0)
    with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite are counted
        difference = logits.astype(np.float64) - expected
        scale = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
        relative = float(np.sqrt(np.mean(difference**2)) / scale) if scale else 0.0
    pairs = [(source_codes[:n_queries], source_codes[n_queries:])]
    pairs.append((codes[:n_queries], codes[n_queries:]))
    has_labels = sample.has_labels
    return Agreement(
        n_queries=n_queries,
        n_database=len(sample.database),
        n_bits=n_bits,
        flipped_per_million=1e6 * float(flipped.mean()),
        codes_changed=float(flipped.any(axis=1).mean()),
        largest_difference=float(np.abs(difference).max()),
        relative_difference=relative,
        near_zero=share_near_zero(expected),
        n_packing_errors=int((codes != binarize(logits)).sum()),
        n_not_finite=int((~np.isfinite(logits)).sum()),
        map_source=_map(pairs[0], n_bits, sample) if has_labels else None,
        map=_map(pairs[1], n_bits, sample) if has_labels else None,
        neighbours_kept=None if has_labels else _neighbours_kept(pairs, n_bits),
        provider=provider,
    )


def share_near_zero(logits: NDArray[np.float32]) -> float:
    """Share of logits within `NEAR_ZERO` of 0."""
    return float((np.abs(logits) <= NEAR_ZERO).mean())


_Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _map(pair: _Pair, n_bits: int, sample: Sample) -> float:
    query_codes, database_codes = pair
    return expected_map(
        CodeSet(query_codes, n_bits, sample.query_labels),
        CodeSet(database_codes, n_bits, sample.database_labels),
    )


def _neighbours_kept(pairs: Sequence[_Pair], n_bits: int) -> float:
    before, after = (
        search(query_codes, database_codes, top_k=N_NEIGHBOURS, n_bits=n_bits).rows
        for query_codes, database_codes in pairs
    )
    kept = (before[:, :, None] == after[:, None, :]).any(axis=2)
    return float(kept.mean())


def finite_or_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with NaN and infinite floats replaced by None, because JSON has neither."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
