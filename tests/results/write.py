"""From docs/results/*.json to docs/results.md and docs/images/results-*.svg.

    python tests/results/write.py

The text of docs/results/notes.md, if there is one, stands at the end: what was tried, what is not
reached, and why.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import (
    Picture,
    bits_picture,
    curve_picture,
    curves_of,
    method_picture,
    slug_of,
    time_table,
)
from records import (
    UNSEEN,
    Comparison,
    Entry,
    Result,
    ablations,
    comparisons,
    entries_of,
    load_results,
    main_entries,
)
from tables import (
    ablation_table,
    command_block,
    data_title,
    machine_text,
    method_table,
    protocol_table,
    published_beside,
    unseen_table,
)

from hashkit.datasets.protocols import PROTOCOLS
from hashkit.files import written_whole

DOCS = Path(__file__).resolve().parents[2] / "docs"
INTRODUCTION = "What the recipes of `hashkit train` reach, measured."


def main() -> None:
    """Write the page and its pictures; pictures that it no longer has are removed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages")
    docs = parser.parse_args().docs
    files = render(docs / "results")
    for path in (docs / "images").glob("results-*.svg"):
        if f"images/{path.name}" not in files:
            path.unlink()
    for name, text in files.items():
        path = docs / name
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as part:
            part.write_text(text, encoding="utf-8")
        print(path)


def render(folder: Path) -> dict[str, str]:
    """The page and its pictures.

    Parameters
    ----------
    folder
        Of the JSON files and of notes.md.

    Returns
    -------
    dict
        Path below the folder of the pages to content.
    """
    notes = folder / "notes.md"
    text = notes.read_text(encoding="utf-8").strip() if notes.is_file() else ""
    page = Page(load_results(folder), text)
    return {"results.md": page.text()} | {
        f"images/{picture.name}": picture.svg for picture in page.pictures
    }


class Page:
    """The page as it is put together, and the pictures that were met on the way."""

    def __init__(self, results: Sequence[Result], notes: str) -> None:
        self._results = results
        self._entries = entries_of(results)
        self._notes = notes
        self.pictures: list[Picture] = []
        places = list(dict.fromkeys(machine_text(run) for run in results))
        letters = [f" {chr(ord('A') + number)}" for number in range(len(places))]
        self._machines = dict(zip(places, letters, strict=True)) if len(places) > 1 else {}

    def text(self) -> str:
        """The page as Markdown."""
        parts = ["# Results", INTRODUCTION]
        if self._results:
            parts += [
                *self._method(),
                *self._protocols(),
                *self._losses(),
                *self._ablations(),
                *self._curves(),
                *self._unseen(),
            ]
        else:
            parts.append("There are no runs yet: `tests/results/runs.sh` makes them.")
        if self._notes:
            parts += ["## What was tried, and what is not reached", self._notes]
        return "\n\n".join(parts) + "\n"

    def _method(self) -> list[str]:
        levels = {run["evaluation"].get("interval", {}).get("level") for run in self._results}
        n_seeds = max(len(one.runs) for one in self._entries)
        return [
            "## What was measured, and how",
            _TEXT,
            _wrapped(
                f"Intervals ({_percent(levels)}) are bootstraps over the queries, of the first "
                f"seed. Where several runs differ in their seeds alone (up to {n_seeds} here), mAP "
                "is their mean ± their standard deviation, and the other numbers are means, of "
                "baselines over the runs that they were measured beside."
            ),
            self._machine_text(),
        ]

    def _machine_text(self) -> str:
        places = list(dict.fromkeys(machine_text(run) for run in self._results))
        named = [f"{place}{self._marked(place)}" for place in places]
        versions = {
            f"{name} {number}"
            for run in self._results
            if run["machine"] is not None
            for name, number in run["machine"]["versions"].items()
        }
        told = f" Versions: {', '.join(sorted(versions))}." if versions else ""
        return _wrapped(
            "Minutes are the wall time of the training, looks at held-out images included, export "
            f"and encoding not. Trained on: {'; '.join(named)}.{told}"
        )

    def _marked(self, place: str) -> str:
        return f" ({self._machines[place].strip()})" if self._machines else ""

    def _protocols(self) -> list[str]:
        parts = ["## By protocol"]
        entries = [
            one for one in main_entries(self._entries) if one.first["data"]["protocol"] != UNSEEN
        ]
        for group in _by_protocol(entries):
            run = group[0].first
            parts += [f"### {data_title(run)}", _protocol_text(run)]
            picture = bits_picture(group, _slug(run))
            if picture is not None:
                parts.append(self._picture(picture))
            parts.append(protocol_table(group, self._machines))
            parts += _below(group)
            parts.append(command_block(group))
        return parts if len(parts) > 1 else []

    def _losses(self) -> list[str]:
        parts = []
        for group in comparisons(self._entries):
            run = group.entries[0].first
            slug = slug_of(_slug(run), run["recipe"], run["network"], run["bits"], run.budget)
            parts += [
                f"### {_condition(group)}",
                self._picture(method_picture(group, slug)),
                method_table(group),
                command_block(group.entries),
            ]
        if not parts:
            return []
        return ["## Losses side by side", "The same network, images and budget for each.", *parts]

    def _ablations(self) -> list[str]:
        parts = []
        for group in ablations(self._entries):
            parts += [
                f"### Changes of {_condition(group)}",
                ablation_table(group),
                command_block(group.entries),
            ]
        if not parts:
            return []
        said = "One setting of a recipe at a time, all else equal; the best first."
        return ["## What the parts of a recipe are worth", _wrapped(said), *parts]

    def _curves(self) -> list[str]:
        parts = []
        for group in _by_protocol(main_entries(self._entries)):
            curves = curves_of(group)
            if curves:
                run = next(iter(curves.values()))
                parts += [
                    f"### Curves of {data_title(run)}, {run['bits']} bits",
                    self._picture(curve_picture(curves, _slug(run))),
                    time_table(curves),
                ]
        if not parts:
            return []
        said = (
            "The score that selects the checkpoint: mAP of held-out training images, see "
            "[training.md](training.md), against minutes of training."
        )
        return ["## Score against time", _wrapped(said), *parts]

    def _unseen(self) -> list[str]:
        entries = [one for one in self._entries if one.first["data"]["protocol"] == UNSEEN]
        parts = []
        for group in _by_protocol(entries):
            parts += [
                f"### {data_title(group[0].first)}",
                unseen_table(group),
                command_block(group),
            ]
        if not parts:
            return []
        said = (
            "Queries and database are of classes that no training image is of. A code that holds "
            "no more than the class cannot win here. What a baseline was fitted on is in its name; "
            "*the same features* are the run's own, before its head."
        )
        return ["## Classes that were never trained on", _wrapped(said), *parts]

    def _picture(self, picture: Picture) -> str:
        self.pictures.append(picture)
        return picture.markdown


_TEXT = """\
Every number is made by `hashkit train`, `export`, `encode` and `evaluate` alone;
`tests/results/runs.sh` holds the commands, and `docs/results/` what each run left.
[datasets.md](datasets.md) describes the protocols, [baselines.md](baselines.md) the baselines.

**mAP** is over the whole ranking, the mean over all orders of the ties, divided by all relevant
images ([metrics.md](metrics.md)). **P@100** is the precision of the first 100 ranks. **Queries and
database select nothing**: the checkpoint is chosen on training images that are held out, or is the
last one. **Classifier** is the class that a linear classifier on the network's outputs predicts,
taken as the code. `--precision bf16` in a command is how its network was computed in training
([training.md](training.md#mixed-precision)); models are exported and run in float32."""


def _by_protocol(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[Any, list[Entry]] = {}
    for one in entries:
        groups.setdefault(one.first.protocol_key, []).append(one)
    return [groups[key] for key in sorted(groups)]


def _slug(run: Result) -> str:
    data = run["data"]
    return slug_of(data["set"], data["copy"], data["protocol"], *data["options"].items())


def _protocol_text(run: Result) -> str:
    protocol = PROTOCOLS.get(run["data"]["protocol"])
    said = protocol.summary if protocol is not None else "a published split"
    counts = run["evaluation"]
    found = f"{counts['n_queries']:,} queries, {counts['n_database']:,} images in the database"
    return _wrapped(f"{said[0].upper()}{said[1:]}. Here: {found}.")


def _below(group: Sequence[Entry]) -> list[str]:
    """What a reader of a table must know of some of its rows."""
    notes = []
    if any(len(one.first["lengths"]) > 1 for one in group):
        notes.append(
            "† Several code lengths shared one network; epochs and minutes are of that training."
        )
    notes += [f"*{one.name}*: {one.source}." for one in published_beside(group[0].first)]
    return [_wrapped(note) for note in notes]


def _condition(group: Comparison) -> str:
    run = group.entries[0].first
    shared = len(run["lengths"]) > 1
    lengths = f" of {', '.join(map(str, run['lengths']))}" if shared else ""
    of_recipe = group.reference.first["network"] if group.reference else run["network"]
    method = f"{run['recipe']} ({of_recipe}), {run['bits']} bits{lengths}, {run.budget}"
    return f"{method}, on {data_title(run)}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _percent(levels: set[float | None]) -> str:
    known = sorted(level for level in levels if level is not None)
    return " and ".join(f"{level:.0%}" for level in known) or "where given"


if __name__ == "__main__":
    main()
