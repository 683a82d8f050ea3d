"""The results as they are read: runs, and runs that differ in their seeds alone."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeAlias

__all__ = [
    "UNSEEN",
    "BaselineMean",
    "Comparison",
    "Entry",
    "Result",
    "ablations",
    "comparisons",
    "entries_of",
    "load_results",
    "main_entries",
]

UNSEEN: Final = "unseen-classes"
"""The protocol whose results have a section of their own."""

_BUDGET: Final = frozenset(("epochs", "steps"))
_BOOKKEEPING: Final = frozenset(
    ("snapshot_steps", "keep_snapshots", "display_steps", "validate_epochs", "precision")
)
Key: TypeAlias = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """A run as collect.py tells of it.

    Attributes
    ----------
    fields
        The JSON document.
    """

    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def map(self) -> float:
        """Mean average precision: whole ranking, mean over tie orders."""
        return float(self["evaluation"]["map"])

    @property
    def minutes(self) -> float:
        """Wall time of the training."""
        return float(self["training"]["seconds"]) / 60

    @property
    def variation(self) -> dict[str, Any]:
        """Settings that make it another method: neither budget, bookkeeping nor precision."""
        return {
            name: value
            for name, value in self["changes"].items()
            if name not in _BUDGET | _BOOKKEEPING
        }

    @property
    def budget(self) -> str:
        """Length of the training, with its unit."""
        if self["steps"] is not None:
            return f"{self['steps']:,} steps"
        return f"{self['epochs']:g} epochs"

    @property
    def protocol_key(self) -> Key:
        """What images were queries, learned from and found, but for the draw."""
        data = self["data"]
        return (data["set"], data["copy"], data["protocol"], _frozen(data["options"]))

    @property
    def condition_key(self) -> Key:
        """All that two runs must share for their methods to be compared."""
        return (
            *self.protocol_key,
            self["recipe"],
            self["bits"],
            tuple(self["lengths"]),
            self["epochs"],
            self["steps"],
        )

    @property
    def method_key(self) -> Key:
        """All that two runs share if they differ only in seeds."""
        return (*self.condition_key, self["network"], self["loss"], _frozen(self["changes"]))

    @property
    def seeds(self) -> tuple[int, int]:
        """Seed of the training and of the split."""
        return self["seed"], self["data"]["split_seed"]

    def held_out(self) -> list[tuple[float, float]]:
        """(minutes of training, score) of the looks at held-out images."""
        return [
            (line["seconds"] / 60, line["held_out"]) for line in self["curve"] if "held_out" in line
        ]


class BaselineMean(NamedTuple):
    """A baseline beside one run or more.

    Attributes
    ----------
    map
        Mean over the runs of its mean average precision.
    accuracy
        Likewise, the share of queries whose class it predicts; None if it predicts none.
    n_runs
        How many runs these are.
    """

    map: float
    accuracy: float | None
    n_runs: int

    @classmethod
    def of(cls, same: Sequence[Mapping[str, Any]]) -> Self:
        """The mean of a baseline as several runs have it."""
        accuracies = [one["accuracy"] for one in same]
        return cls(
            statistics.fmean(one["map"] for one in same),
            None if None in accuracies else statistics.fmean(accuracies),
            len(same),
        )


@dataclasses.dataclass(frozen=True)
class Entry:
    """Runs that differ in their seeds alone, in the order of these."""

    runs: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """The run of the lowest seed."""
        return self.runs[0]

    @property
    def map(self) -> float:
        """Mean over the runs of their mean average precision."""
        return statistics.fmean(run.map for run in self.runs)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of it, of a sample (n - 1); None for one run."""
        return statistics.stdev(run.map for run in self.runs) if len(self.runs) > 1 else None

    @property
    def minutes(self) -> float:
        """Mean minutes of training."""
        return statistics.fmean(run.minutes for run in self.runs)

    def precision_at(self, k: int) -> float | None:
        """Mean precision of the first k ranks; None unless all runs have it."""
        values = [run["evaluation"]["precision_at"].get(str(k)) for run in self.runs]
        return None if None in values else statistics.fmean(values)

    def baselines(self) -> dict[str, BaselineMean]:
        """Means of each baseline over those of the runs that it was measured beside, by name."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for run in self.runs:
            for one in run["baselines"]:
                found.setdefault(one["name"], []).append(one)
        return {name: BaselineMean.of(same) for name, same in found.items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Entries that were made under the same conditions, and the recipe's own among them.

    Attributes
    ----------
    entries
        All that are compared, the best first.
    reference
        The recipe as it is; None if it was not run.
    """

    entries: tuple[Entry, ...]
    reference: Entry | None


def load_results(folder: Path) -> list[Result]:
    """Read the JSON files of a folder, in the order of their names; none if there is no folder."""
    paths = sorted(folder.glob("*.json"))
    return [Result(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def entries_of(results: Iterable[Result]) -> list[Entry]:
    """Put runs together that differ in their seeds alone; of equal ones the first counts."""
    groups: dict[Key, dict[tuple[int, int], Result]] = {}
    for run in results:
        groups.setdefault(run.method_key, {}).setdefault(run.seeds, run)
    return [Entry(tuple(runs[seeds] for seeds in sorted(runs))) for runs in groups.values()]


def comparisons(entries: Sequence[Entry]) -> list[Comparison]:
    """Losses side by side: same data, recipe, network, bits and budget; two losses or more.

    Besides the loss and its options, settings may differ that a loss asks for, such as its rate.
    """
    groups = _by_condition([one for one in entries if _is_method(one)], of_network=True)
    return [
        Comparison(tuple(sorted(group, key=_rank)), _reference(group, ["network"]))
        for group in groups
        if len({one.first["loss"] for one in group}) > 1
    ]


def ablations(entries: Sequence[Entry]) -> list[Comparison]:
    """Changes of a recipe beside the recipe, under the same conditions; its loss stays."""
    groups = _by_condition([one for one in entries if "loss" not in one.first.variation])
    return [
        Comparison(tuple(sorted(group, key=_rank)), reference)
        for group in groups
        if len(group) > 1 and (reference := _reference(group)) is not None
    ]


def main_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that no other section tells of: recipes as they are, and what stands alone."""
    told = {
        id(one)
        for group in (*comparisons(entries), *ablations(entries))
        for one in group.entries
        if one is not group.reference and one.first.variation
    }
    return [one for one in entries if id(one) not in told]


def _is_method(entry: Entry) -> bool:
    # Losses are compared within a network, so another network than the recipe's is no matter.
    variation = entry.first.variation.keys() - {"network"}
    return not variation or "loss" in variation


def _reference(group: Sequence[Entry], may_vary: Sequence[str] = ()) -> Entry | None:
    return next((one for one in group if not one.first.variation.keys() - set(may_vary)), None)


def _by_condition(entries: Iterable[Entry], *, of_network: bool = False) -> list[list[Entry]]:
    groups: dict[Key, list[Entry]] = {}
    for one in entries:
        network = one.first["network"] if of_network else None
        groups.setdefault((*one.first.condition_key, network), []).append(one)
    return list(groups.values())


def _rank(entry: Entry) -> tuple[float, str]:
    return -entry.map, entry.first["name"]


def _frozen(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
