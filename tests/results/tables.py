"""The tables of the results page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from published import PROTOCOL, PUBLISHED, SET, Published
from records import BaselineMean, Comparison, Entry, Result

from hashkit.report.figures import share_text
from hashkit.report.numbers import MISSING
from hashkit.workflow.reporter import plural

__all__ = [
    "CLASSIFIER",
    "PRECISION_K",
    "RECALL_K",
    "ablation_table",
    "change_text",
    "command_block",
    "data_title",
    "interval_text",
    "machine_text",
    "markdown_table",
    "method_name",
    "method_table",
    "protocol_table",
    "published_beside",
    "unseen_table",
]

PRECISION_K: Final = 100
RECALL_K: Final = 1000
_AT_RANKS: Final = (f"P@{PRECISION_K}", f"R@{RECALL_K}")
CLASSIFIER: Final = "class of a linear classifier"
"""Prefix of the name of that baseline."""


_SETS: Final = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "digits": "scikit-learn's digits",
}


def data_title(run: Result) -> str:
    """Title with the images and the protocol of a run."""
    data = run["data"]
    copy = f", {data['copy']}" if data["copy"] else ""
    options = "".join(f", {name} {_value_text(value)}" for name, value in data["options"].items())
    return f"{_SETS.get(data['set'], data['set'])}{copy}: {data['protocol']}{options}"


def protocol_table(entries: Sequence[Entry], machines: Mapping[str, str]) -> str:
    """Entries of one protocol, sorted by bits and mAP, with published results.

    Parameters
    ----------
    entries
        Entries of one protocol.
    machines
        Label of each machine, by its description; empty if there is only one.
    """
    rows: list[tuple[tuple[int, float], list[str]]] = [
        ((one.first["bits"], one.map), _entry_cells(one, machines)) for one in entries
    ]
    for one in published_beside(entries[0].first):
        rows += [((bits, value), _published_cells(one, bits)) for bits, value in one.maps.items()]
    head = [
        *("bits", "recipe", "network", "loss", "seeds", "mAP", "95% interval"),
        *_AT_RANKS,
        *("classifier: mAP (accuracy)", "best other baseline"),
        *("epochs", "minutes"),
    ]
    return markdown_table(head, [cells for _, cells in sorted(rows, key=lambda row: row[0])])


def published_beside(run: Result) -> Sequence[Published]:
    """Published results for the images and the protocol of a run."""
    data = run["data"]
    return PUBLISHED if (data["set"], data["protocol"]) == (SET, PROTOCOL) else ()


def _entry_cells(entry: Entry, machines: Mapping[str, str]) -> list[str]:
    run = entry.first
    baselines = entry.baselines()
    return [
        f"{run['bits']}{'†' if len(run['lengths']) > 1 else ''}",
        _recipe(run),
        run["network"],
        run["loss"],
        str(len(entry.runs)),
        _mean_text(entry),
        interval_text(entry),
        *_at_ranks(entry),
        _classifier(baselines),
        _best_other(baselines),
        run.budget.removesuffix(" epochs"),
        f"{entry.minutes:.1f}{machines.get(machine_text(run), '')}",
    ]


def _recipe(run: Result) -> str:
    changes = change_text(run, without=("network", "loss"))
    return f"{run['recipe']}, {changes}" if changes else str(run["recipe"])


def _published_cells(one: Published, bits: int) -> list[str]:
    value = f"{one.maps[bits]:.3f} (published)"
    return [
        str(bits),
        f"*{one.name}*",
        one.network,
        one.loss,
        MISSING,
        value,
        *[MISSING] * 7,
    ]


def _mean_text(entry: Entry) -> str:
    mean = f"**{share_text(entry.map)}**"
    return mean if entry.deviation is None else f"{mean} ± {share_text(entry.deviation)}"


def interval_text(entry: Entry) -> str:
    """Confidence interval of the first run of an entry, as text."""
    ends = entry.first["evaluation"].get("map_interval")
    return MISSING if ends is None else f"{share_text(ends[0])} to {share_text(ends[1])}"


def _at_ranks(entry: Entry) -> tuple[str, str]:
    return _optional(entry.precision_at(PRECISION_K)), _optional(entry.recall_at(RECALL_K))


def _optional(value: float | None) -> str:
    return MISSING if value is None else share_text(value)


def _classifier(baselines: Mapping[str, BaselineMean]) -> str:
    for name, one in baselines.items():
        if name.startswith(CLASSIFIER):
            known = "" if one.accuracy is None else f" ({one.accuracy:.3f})"
            return f"{share_text(one.map)}{known}"
    return MISSING


def _best_other(baselines: Mapping[str, BaselineMean]) -> str:
    others = {name: one.map for name, one in baselines.items() if not name.startswith(CLASSIFIER)}
    if not others:
        return MISSING
    best = max(others, key=others.__getitem__)
    return f"{share_text(others[best])}, {best}"


def command_block(entries: Sequence[Entry]) -> str:
    """The commands of entries; a training of several lengths is listed once."""
    seeds: dict[str, list[tuple[int, int]]] = {}
    for one in entries:
        known = seeds.setdefault(one.first["command"], [])
        known += [run.seeds for run in one.runs if run.seeds not in known]
    lines = ["```sh"]
    for command, own in seeds.items():
        lines.append(command + _other_seeds(own))
    return "\n".join([*lines, "```"])


def _other_seeds(seeds: Sequence[tuple[int, int]]) -> str:
    """Comment with the seeds of the other runs of a command."""
    (training, split), *others = seeds
    texts = []
    for flag, first, values in (
        ("--seed", training, [seed for seed, _ in others]),
        ("--split-seed", split, [seed for _, seed in others]),
    ):
        if set(values) - {first}:
            texts.append(f"{flag} {', '.join(map(str, values))}")
    return f"  # also with {' and '.join(texts)}" if texts else ""


def method_name(run: Result) -> str:
    """Name of the loss with other changes of the recipe, such as options of the loss."""
    changes = change_text(run, without=("loss", "network"))
    return f"{run['loss']} ({changes})" if changes else str(run["loss"])


def method_table(comparison: Comparison) -> str:
    """Table of losses with one network and budget, best first."""
    rows = [
        [
            one.first["loss"],
            change_text(one.first, without=("loss", "network")) or MISSING,
            str(len(one.runs)),
            _mean_text(one),
            interval_text(one),
            *_at_ranks(one),
            f"{one.minutes:.1f}",
        ]
        for one in comparison.entries
    ]
    head = ["loss", "settings", "seeds", "mAP", "95% interval", *_AT_RANKS, "minutes"]
    return markdown_table(head, rows)


def ablation_table(comparison: Comparison) -> str:
    """Table of changes of a recipe with their differences from the recipe, which comes first."""
    reference = comparison.reference
    assert reference is not None  # `ablations` returns only groups with one
    rows = [["none: the recipe", str(len(reference.runs)), _mean_text(reference), MISSING]]
    for one in comparison.entries:
        if one is not reference:
            difference = f"{one.map - reference.map:+.4f}"
            rows.append(
                [f"`{change_text(one.first)}`", str(len(one.runs)), _mean_text(one), difference]
            )
    return markdown_table(["change", "seeds", "mAP", "difference"], rows)


def unseen_table(entries: Sequence[Entry]) -> str:
    """Table of results on unseen classes; baselines follow each entry."""
    rows = []
    for one in sorted(entries, key=lambda entry: (entry.first["bits"], -entry.map)):
        run = one.first
        what = f"{_recipe(run)}: {run['network']}, {run['loss']}"
        bits, seeds = str(run["bits"]), str(len(one.runs))
        rows.append([bits, what, seeds, _mean_text(one), interval_text(one), *_at_ranks(one)])
        for name, mean in sorted(one.baselines().items(), key=lambda item: -item[1].map):
            rows.append(
                [
                    *(bits, f"baseline: {name}", str(mean.n_runs), share_text(mean.map)),
                    *[MISSING] * 3,
                ]
            )
    return markdown_table(["bits", "codes", "splits", "mAP", "95% interval", *_AT_RANKS], rows)


def change_text(run: Result, without: Sequence[str] = ()) -> str:
    """Changed settings of a run, without budget and bookkeeping, as text."""
    return ", ".join(
        f"{name} {_value_text(value)}"
        for name, value in run.variation.items()
        if name not in without
    )


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def machine_text(run: Result) -> str:
    """Description of the machine that a run was trained on."""
    machine = run["machine"]
    if machine is None:
        return "an unknown machine"
    threads = plural(machine["n_threads"], "thread")
    cores = plural(machine["n_usable_cores"], "core")
    if run["device"] != "cpu" and machine["gpu"]:
        return f"{machine['gpu']}, with {machine['processor']}"
    return f"{machine['processor']}, {cores}, {threads} per run"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table; vertical bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
