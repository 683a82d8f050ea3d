"""Writes docs/results.md and docs/images/results-*.svg from docs/results/*.json.

    python tests/results/write.py

The texts of docs/results/frozen-features.md and notes.md are appended if they exist.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
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
from hashkit.files.writing import written_whole
from hashkit.workflow.unlabelled_images import WITH_UNLABELLED

DOCS = Path(__file__).resolve().parents[2] / "docs"
INTRODUCTION = "Measured results of the recipes of `hashkit train`."


def main() -> None:
    """Write the page and its pictures, and remove pictures that it no longer uses."""
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


TEXTS = {
    "frozen-features.md": "Frozen features",
    "notes.md": "Further experiments and limits",
}
"""Texts that are written by hand, by file: their headings on the page."""


def render(folder: Path) -> dict[str, str]:
    """Render the page and its pictures.

    Parameters
    ----------
    folder
        Folder with the JSON files, and the texts of `TEXTS`.

    Returns
    -------
    dict
        Content of each file, by path relative to the folder of the pages.
    """
    texts = {
        title: (folder / name).read_text(encoding="utf-8").strip()
        for name, title in TEXTS.items()
        if (folder / name).is_file()
    }
    page = Page(load_results(folder), texts)
    return {"results.md": page.text()} | {
        f"images/{picture.name}": picture.svg for picture in page.pictures
    }


class Page:
    """The results page and its pictures, which are collected while the text is built."""

    def __init__(self, results: Sequence[Result], texts: Mapping[str, str]) -> None:
        self._results = results
        self._entries = entries_of(results)
        self._texts = texts
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
            parts.append("There are no runs yet: `tests/results/runs.sh` creates them.")
        for title, text in self._texts.items():
            parts += [f"## {title}", text]
        return "\n\n".join(parts) + "\n"

    def _method(self) -> list[str]:
        levels = {run["evaluation"].get("interval", {}).get("level") for run in self._results}
        n_seeds = max(len(one.runs) for one in self._entries)
        return [
            "## Method",
            _TEXT,
            _wrapped(
                f"Confidence intervals ({_percent(levels)}) are bootstrapped over the queries of "
                "the first seed. If several runs differ only in their seeds (here up to "
                f"{n_seeds}), mAP is mean ± standard deviation and the other numbers are means; "
                "baselines are averaged over the runs in which they were measured."
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
        library_text = f" Versions: {', '.join(sorted(versions))}." if versions else ""
        return _wrapped(
            "Minutes are the wall time of training, including validation, without export and "
            f"encoding. Trained on: {'; '.join(named)}.{library_text}"
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
        return [
            "## Losses side by side",
            "All losses with the same network, images and budget.",
            *parts,
        ]

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
        text = "One setting of a recipe is changed at a time; best first."
        return ["## Ablations", text, *parts]

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
        text = (
            "The score that selects the checkpoint, mAP of held-out training images (see "
            "[training.md](training.md)), over minutes of training."
        )
        return ["## Score over time", _wrapped(text), *parts]

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
        text = (
            "No training image has a class of the queries and the database, so codes that only "
            "encode the training classes have no advantage. The name of a baseline says what it "
            "was fitted to; *the same features* are those of the run's network, before its head."
        )
        return ["## Unseen classes", _wrapped(text), *parts]

    def _picture(self, picture: Picture) -> str:
        self.pictures.append(picture)
        return picture.markdown


_TEXT = """\
All numbers come from `hashkit train`, `export`, `encode` and `evaluate`. `tests/results/runs.sh`
contains the commands, and `docs/results/` the data of each run. [datasets.md](datasets.md)
describes the protocols, [baselines.md](baselines.md) the baselines.

**mAP** is computed over the whole ranking, averaged over all orders of ties, and divided by the
number of all relevant images ([metrics.md](metrics.md)). **P@100** is the precision at rank 100,
**R@1000** the recall at rank 1,000: the share of the relevant images among the first 1,000. Where
5,900 are relevant, as in `cifar10-59k` and with unseen classes of CIFAR-10, it is .169 at most.
**Queries and database are not used for selection**: the checkpoint is selected on held-out training
images, or is the last one. **Classifier** is a baseline whose code is the class that a linear
classifier on the network's outputs predicts. With `--precision bf16`, training computes the network
in bfloat16 ([training.md](training.md#mixed-precision)); models are exported and run in float32."""


def _by_protocol(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[Any, list[Entry]] = {}
    for one in entries:
        groups.setdefault(one.first.protocol_key, []).append(one)
    return [groups[key] for key in sorted(groups)]


def _slug(run: Result) -> str:
    data = run["data"]
    return slug_of(data["set"], data["copy"], data["protocol"], *data["options"].items())


def _protocol_text(run: Result) -> str:
    protocol = PROTOCOLS.get(run["data"]["protocol"].removesuffix(WITH_UNLABELLED))
    summary = protocol.summary if protocol is not None else "a published split"
    counts = run["evaluation"]
    found = f"{counts['n_queries']:,} queries, {counts['n_database']:,} images in the database"
    return _wrapped(f"{summary[0].upper()}{summary[1:]}. Here: {found}.")


def _below(group: Sequence[Entry]) -> list[str]:
    """Footnotes of a table."""
    notes = []
    if any(len(one.first["lengths"]) > 1 for one in group):
        notes.append(
            "† Several code lengths share a network; epochs and minutes are of the joint training."
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
