"""Results of runs, grouped into entries of runs that differ only in their seeds."""

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
"""The protocol whose results have a separate section."""

_BUDGET: Final = frozenset(("epochs", "steps"))
_BOOKKEEPING: Final = frozenset(
    ("snapshot_steps", "keep_snapshots", "display_steps", "validate_epochs", "precision")
)

_EQUAL_CLASSES: Final = {"cifar10": 10, "fashion-mnist": 10}
"""Number of classes of sets whose classes all have the same number of images."""

Key: TypeAlias = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """A run as saved by collect.py.

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
        """Changed settings except budget, bookkeeping and precision."""
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
    def n_relevant(self) -> float | None:
        """Relevant images of every query; None unless known to be equally many."""
        data = self["data"]
        n_classes = _EQUAL_CLASSES.get(data["set"])
        if n_classes is None or data["protocol"] in ("random", "lists"):
            return None
        fraction = data["options"].get("unseen_fraction", 1) if data["protocol"] == UNSEEN else 1
        return float(self["evaluation"]["n_database"]) / round(n_classes * fraction)

    def recall_at(self, k: int) -> float | None:
        """Recall at k; from the precision if it was not saved; None if it is not known."""
        saved = self["evaluation"].get("recall_at")
        if saved is not None:
            return saved.get(str(k))
        precision = self["evaluation"]["precision_at"].get(str(k))
        if precision is None or self.n_relevant is None:
            return None
        return float(precision) * k / self.n_relevant

    @property
    def protocol_key(self) -> Key:
        """Image set, protocol and its options, without the seed of the split."""
        data = self["data"]
        return (data["set"], data["copy"], data["protocol"], _frozen(data["options"]))

    @property
    def condition_key(self) -> Key:
        """Conditions that two runs must share for their methods to be comparable."""
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
        """Everything that changes what is computed, except the seeds."""
        computed = {
            name: value
            for name, value in self["changes"].items()
            if name not in _BUDGET | _BOOKKEEPING or name == "precision"
        }
        return (*self.condition_key, self["network"], self["loss"], _frozen(computed))

    @property
    def seeds(self) -> tuple[int, int]:
        """Seed of the training and of the split."""
        return self["seed"], self["data"]["split_seed"]

    def held_out(self) -> list[tuple[float, float]]:
        """(minutes of training, score) of each validation."""
        return [
            (line["seconds"] / 60, line["held_out"]) for line in self["curve"] if "held_out" in line
        ]


class BaselineMean(NamedTuple):
    """Mean results of a baseline over one or more runs.

    Attributes
    ----------
    map
        Mean over the runs of its mean average precision.
    accuracy
        Mean over the runs of its classification accuracy on queries; None if it does not classify.
    n_runs
        Number of runs.
    """

    map: float
    accuracy: float | None
    n_runs: int

    @classmethod
    def of(cls, same: Sequence[Mapping[str, Any]]) -> Self:
        """Mean of a baseline's results in several runs."""
        accuracies = [one["accuracy"] for one in same]
        return cls(
            statistics.fmean(one["map"] for one in same),
            None if None in accuracies else statistics.fmean(accuracies),
            len(same),
        )


@dataclasses.dataclass(frozen=True)
class Entry:
    """Runs that differ only in their seeds, in the order of the seeds."""

    runs: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def map(self) -> float:
        """Mean over the runs of their mean average precision."""
        return statistics.fmean(run.map for run in self.runs)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation (n - 1) of the mean average precision; None for one run."""
        return statistics.stdev(run.map for run in self.runs) if len(self.runs) > 1 else None

    @property
    def minutes(self) -> float:
        """Mean minutes of training."""
        return statistics.fmean(run.minutes for run in self.runs)

    def precision_at(self, k: int) -> float | None:
        """Mean precision at k; None unless all runs have it."""
        return _mean_of_all([run["evaluation"]["precision_at"].get(str(k)) for run in self.runs])

    def recall_at(self, k: int) -> float | None:
        """Mean recall at k; None unless all runs have it."""
        return _mean_of_all([run.recall_at(k) for run in self.runs])

    def baselines(self) -> dict[str, BaselineMean]:
        """Mean of each baseline, by name, over the runs that measured it."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for run in self.runs:
            for one in run["baselines"]:
                found.setdefault(one["name"], []).append(one)
        return {name: BaselineMean.of(same) for name, same in found.items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Entries with the same conditions, compared with the unchanged recipe.

    Attributes
    ----------
    entries
        All entries, best first.
    reference
        The entry of the unchanged recipe; None if it was not run.
    """

    entries: tuple[Entry, ...]
    reference: Entry | None


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def load_results(folder: Path) -> list[Result]:
    """Read the JSON files of a folder, sorted by name; empty if the folder does not exist."""
    paths = sorted(folder.glob("*.json"))
    return [Result(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def entries_of(results: Iterable[Result]) -> list[Entry]:
    """Group runs that differ only in their seeds; of runs with equal seeds the first is used."""
    groups: dict[Key, dict[tuple[int, int], Result]] = {}
    for run in results:
        groups.setdefault(run.method_key, {}).setdefault(run.seeds, run)
    return [Entry(tuple(runs[seeds] for seeds in sorted(runs))) for runs in groups.values()]


def comparisons(entries: Sequence[Entry]) -> list[Comparison]:
    """Comparisons of two or more losses with the same data, recipe, network, bits and budget.

    Settings that a loss needs, such as its options or learning rate, may differ too.
    """
    groups = _by_condition([one for one in entries if _is_method(one)], of_network=True)
    return [
        Comparison(tuple(sorted(group, key=_rank)), _reference(group, ["network"]))
        for group in groups
        if len({one.first["loss"] for one in group}) > 1
    ]


def ablations(entries: Sequence[Entry]) -> list[Comparison]:
    """Comparisons of a recipe with changed settings, except the loss, under the same conditions."""
    groups = _by_condition([one for one in entries if "loss" not in one.first.variation])
    return [
        Comparison(tuple(sorted(group, key=_rank)), reference)
        for group in groups
        if len(group) > 1 and (reference := _reference(group)) is not None
    ]


def main_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that are not part of another section: unchanged recipes and single variations."""
    elsewhere = {
        id(one)
        for group in (*comparisons(entries), *ablations(entries))
        for one in group.entries
        if one is not group.reference and one.first.variation
    }
    return [one for one in entries if id(one) not in elsewhere]


def _is_method(entry: Entry) -> bool:
    # Losses are compared within a network, so the network may differ from the recipe's.
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
