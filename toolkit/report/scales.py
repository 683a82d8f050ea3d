"""Axes of charts: positions of values, and ticks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

__all__ = [
    "Axis",
    "bit_axis",
    "chosen_axis",
    "difference_axis",
    "fitted_axis",
    "log_axis",
    "share_axis",
]

ScaleKind: TypeAlias = Literal["linear", "log"]


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes
    ----------
    label
        The quantity and its unit.
    low, high
        Its ends; ``low < high``, and above 0 on a logarithmic axis.
    ticks
        Values with a tick, ascending, between the ends.
    kind
        ``linear`` or ``log``.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    kind: ScaleKind = "linear"

    def place(self, value: float) -> float:
        """Position of a value: 0 at the low end, 1 at the high end, clipped to the ends."""
        value = min(max(value, self.low), self.high)
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def tick_text(self, value: float) -> str:
        """Text of a tick: ``0.25``, ``500``, ``10k``, ``2M``."""
        for size, letter in ((1_000_000, "M"), (1_000, "k")):
            if value >= size and value % size == 0:
                return f"{value // size:.0f}{letter}"
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def share_axis(label: str, largest: float = 1.0) -> Axis:
    """Linear axis from 0 for shares: up to 1, or to the next round number above ``largest``."""
    if largest <= 0:
        return _linear(label, 0.0, 1.0)
    step = _round_step(max(largest, 1e-6) / 4)
    high = min(1.0, round(step * math.ceil(largest / step - 1e-9), 10))
    return _linear(label, 0.0, max(high, step))


def bit_axis(label: str, n_bits: int) -> Axis:
    """Linear axis from 0 to ``n_bits`` (at least 1), with ticks at multiples of a power of two."""
    step = 1
    while n_bits / step > 8:
        step *= 2
    return Axis(label, 0.0, float(n_bits), tuple(map(float, range(0, n_bits + 1, step))))


def chosen_axis(label: str, values: Iterable[float]) -> Axis:
    """Logarithmic axis around values above 0, with a tick at each value whose text fits."""
    distinct = sorted(set(values))
    low, high = distinct[0] / 1.25, distinct[-1] * 1.25
    ticks = [distinct[0]]
    for value in distinct[1:]:
        if math.log(value / ticks[-1]) > 0.08 * math.log(high / low):
            ticks.append(value)
    return Axis(label, low, high, tuple(ticks), "log")


def fitted_axis(label: str, values: list[float]) -> Axis:
    """Linear axis close around some shares, with round ends."""
    low, high = min(values), max(values)
    step = _round_step(max(high - low, 0.02) / 4)
    first = max(0.0, step * (math.floor(low / step + 1e-9) - (low == high)))
    last = min(1.0, step * (math.ceil(high / step - 1e-9) + (low == high)))
    return _linear(label, round(first, 10), round(max(last, first + step), 10))


def difference_axis(label: str, values: list[float]) -> Axis:
    """Linear axis around 0 and some differences, with round ends."""
    low, high = min(0.0, *values), max(0.0, *values)
    step = _round_step(max(high - low, 1e-3) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return _linear(label, round(first * step, 10), round(max(last, first + 1) * step, 10))


def log_axis(label: str, high: float) -> Axis:
    """Logarithmic axis from 1 to ``high``, with ticks at powers of ten, or of two below 100."""
    high = max(high, 2.0)
    base = 10 if high >= 100 else 2
    ticks = []
    tick = 1
    while tick <= high:
        ticks.append(float(tick))
        tick *= base
    return Axis(label, 1.0, high, tuple(ticks), "log")


def _linear(label: str, low: float, high: float) -> Axis:
    step = _round_step((high - low) / 4)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return Axis(label, low, high, tuple(round(n * step, 10) for n in range(first, last + 1)))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(
        round(factor * power, 12)
        for factor in (1, 2, 2.5, 5, 10)
        if factor * power >= least * (1 - 1e-9)
    )
