"""Settings and requirements of a benchmark; imports no runtime."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings

if TYPE_CHECKING:
    from hashkit.exporters.agreement import Agreement
    from hashkit.exporters.bench.contenders import Contender

__all__ = ["BenchSettings", "Floors"]

_SLOW_BATCH: Final = 4
"""Largest batch that is timed in a slow runtime."""


@dataclasses.dataclass(frozen=True)
class BenchSettings:
    """Settings of a benchmark.

    Attributes
    ----------
    batch_sizes
        Batch sizes that are timed; 1 is always included.
    seconds
        Time per batch size; at least three batches are timed.
    n_starts
        Number of processes started; the median start time is reported. Slow runtimes start once.
    n_slow_images
        Number of images for slow runtimes.
    timeout_seconds
        Time after which a process is killed.
    profile
        See `hashkit.runtimes.settings.RuntimeSettings`.

    Raises
    ------
    ConfigError
        If a number is out of range, or the profile is unknown.
    """

    batch_sizes: tuple[int, ...] = (1, 4, 16, 64)
    seconds: float = 2.0
    n_starts: int = 3
    n_slow_images: int = 16
    timeout_seconds: float = 900.0
    profile: str = "exact"

    def __post_init__(self) -> None:
        RuntimeSettings(profile=self.profile)  # raises for an unknown profile
        for name, least in (("n_starts", 1), ("n_slow_images", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}, not {getattr(self, name)}")
        for name in ("seconds", "timeout_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"`{name}` must be a number above 0, not {getattr(self, name)}")
        if min(self.batch_sizes, default=1) < 1:
            raise ConfigError(f"`batch_sizes` must be at least 1, not {list(self.batch_sizes)}")
        object.__setattr__(self, "batch_sizes", tuple(sorted({1, *self.batch_sizes})))

    def batch_sizes_of(self, contender: Contender) -> tuple[int, ...]:
        """Batch sizes at which a contender is timed."""
        return tuple(
            size for size in self.batch_sizes if not contender.is_slow or size <= _SLOW_BATCH
        )

    def n_starts_of(self, contender: Contender) -> int:
        """Number of processes started for a contender."""
        return 1 if contender.is_slow else self.n_starts

    def n_steps(self, contender: Contender) -> int:
        """Number of steps to measure a contender: starts, batch sizes, answers."""
        return self.n_starts_of(contender) + len(self.batch_sizes_of(contender)) + 1


@dataclasses.dataclass(frozen=True)
class Floors:
    """Requirements for every row that ran.

    Attributes
    ----------
    max_flips
        Largest number of flipped bits per million, compared with the reference; None for any.
    min_map
        Smallest mAP; None for any. Rows of slow runtimes have no mAP and are not checked.

    Raises
    ------
    ConfigError
        If a floor is not a number, or out of range.
    """

    max_flips: float | None = None
    min_map: float | None = None

    def __post_init__(self) -> None:
        for name, most in (("max_flips", 1e6), ("min_map", 1.0)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise ConfigError(f"`{name}` must be from 0 to {most:,.0f}, not {value}")

    def misses(self, found: Agreement) -> list[str]:
        """The floors that a row misses, as short texts; NaN misses every floor."""
        misses = []
        if self.max_flips is not None and not found.flipped_per_million <= self.max_flips:
            misses.append(
                f"{found.flipped_per_million:,.0f} flipped bits per million "
                f"({self.max_flips:,g} allowed)"
            )
        if self.min_map is not None and found.map is not None and not found.map >= self.min_map:
            misses.append(f"mAP {found.map:.4f} (at least {self.min_map:g} required)")
        return misses
