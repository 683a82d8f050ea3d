"""Extracts one small JSON file per run folder; write.py makes the results page from them.

    python tests/results/collect.py runs --to docs/results --copy cifar10="JPEG, quality 75"

Folders are searched for runs. Runs without an evaluation are left out with a message, and so are
trainings of several code lengths, which have one run folder per length.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hashkit.cli.flags import flags
from hashkit.datasets.sets import IMAGE_SETS
from hashkit.errors import HashkitError, RunError
from hashkit.report.evaluations import load_evaluation
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DEFAULT_PROTOCOL
from hashkit.runs.run import Run, write_json
from hashkit.training.recipes import RECIPES
from hashkit.workflow.settings import make_config
from hashkit.workflow.unlabelled_images import WITH_UNLABELLED

FORMAT_VERSION = 1
MOST_LOSS_POINTS = 60
NUMBERS = (
    "map",
    "map_best",
    "map_worst",
    "map_interval",
    "interval",
    "map_at",
    "precision_at",
    "recall_at",
    "convention",
    "without_relevant",
    "n_queries",
    "n_database",
    "bits",
)
"""Fields of an evaluation that are copied."""

LOSS_FIELDS = ("step", "epoch", "loss", "images_per_second")
_ACCURACY = re.compile(r"^(.*) \(accuracy ([0-9.]+)\)$")


def main() -> None:
    """Read the runs and write their JSON files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders of them")
    parser.add_argument("--to", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument(
        "--copy",
        action="append",
        default=[],
        metavar="SET=TEXT",
        help="description of the image files of a set",
    )
    args = parser.parse_args()
    copies = dict(text.split("=", 1) for text in args.copy)
    args.to.mkdir(parents=True, exist_ok=True)
    try:
        for run in find_runs(args.runs):
            if reason := not_ready(run):
                print(f"{run.path}: left out, {reason}", file=sys.stderr)
                continue
            result = collect(run, copies)
            path = args.to / f"{result['group']}-{result['name']}.json"
            write_json(path, result)
            print(path)
    except HashkitError as error:
        sys.exit(f"error: {error}")


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Runs in some folders, at any depth; a folder may itself be a run."""
    found = [file.parent for path in paths for file in sorted(path.rglob("config.json"))]
    return [Run.open(path) for path in dict.fromkeys(found)]


def not_ready(run: Run) -> str:
    """Reason to leave a run out; empty if it can be collected."""
    try:
        config = run.read_config()
    except RunError as error:  # an earlier version made it
        return str(error)
    if len(config.training.lengths) > 1:
        return "its code lengths have their own runs"
    if not run.summary_path.is_file():
        return "its training is not finished"
    return "" if (run.path / "evaluation.json").is_file() else "it was not evaluated"


def collect(run: Run, copies: Mapping[str, str]) -> dict[str, Any]:
    """Data of a run for the results page, without paths of this machine.

    Parameters
    ----------
    run
        An evaluated run.
    copies
        Description of the image files by name of the image set.
    """
    saved = run.read_config().to_dict()
    training = saved["training"]
    lengths = (saved["shared"] or training)["lengths"]
    changes = changed_settings(training, saved["data"]["data"])
    machine = _read(run.path / "machine.json")
    return {
        "format": FORMAT_VERSION,
        "group": run.path.resolve().parent.name,
        "name": run.path.resolve().name,
        "data": _data(saved, copies),
        "recipe": training["recipe"],
        "network": training["network"],
        "loss": training["loss"],
        "bits": training["lengths"][0],
        "lengths": lengths,
        "epochs": training["epochs"],
        "steps": training["steps"],
        "seed": training["seed"],
        "changes": changes,
        "command": command(saved, lengths, changes),
        "device": saved["device"],
        "training": {
            name: value
            for name, value in _read(run.summary_path).items()
            if name not in ("run", "checkpoint")
        },
        "curve": thinned(run.read_metrics()),
        "evaluation": _numbers(load_evaluation(run.path).fields),
        "baselines": [_baseline(one) for one in _baselines(run)],
        "machine": machine or None,
    }


def changed_settings(training: Mapping[str, Any], data: str) -> dict[str, Any]:
    """Settings that differ from the recipe's, except code lengths and seed.

    Height, width and resize rule count as changed if they differ from the defaults for the images
    and the network. Options of a loss other than the recipe's count as changed if they are set.
    """
    known = IMAGE_SETS.get(data)
    core = {name: training[name] for name in ("recipe", "network", "loss", "pretrained")}
    usual = make_config(core, None, None if known is None else known.input_size).to_dict()
    recipe = RECIPES[training["recipe"]].config.to_dict()
    usual |= {name: recipe[name] for name in ("network", "loss", "pretrained")}
    return {
        name: value
        for name, value in training.items()
        if name not in ("recipe", "lengths", "seed") and value != usual.get(name)
    }


def command(saved: Mapping[str, Any], lengths: Sequence[int], changes: Mapping[str, Any]) -> str:
    """The ``hashkit train`` command of a run, without locations of files."""
    training = saved["training"]
    words = ["hashkit", "train", *_data_words(saved)]
    if training["recipe"] != TrainConfig.recipe:
        words += ["--recipe", training["recipe"]]
    words += [flags(["lengths"]), ",".join(map(str, lengths))]
    if "height" in changes or "width" in changes:
        words += ["--size", f"{training['height']}x{training['width']}"]
    for name, value in changes.items():
        if name not in ("height", "width") and value is not None:
            words += _words(name, value)
    if training["seed"]:
        words += ["--seed", str(training["seed"])]
    return shlex.join(words)


def _data_words(saved: Mapping[str, Any]) -> Iterator[str]:
    data = saved["data"]
    if saved["triplets"]:
        yield from ("--triplets", Path(saved["triplets"]).name)
    elif data["data"] != "digits":
        yield from ("--data", Path(data["data"]).name)
    if data["protocol"]:
        yield from ("--protocol", data["protocol"])
    if data["seed"]:
        yield from ("--split-seed", str(data["seed"]))
    for name in ("query_list", "training_list", "unlabelled"):
        if data.get(name):
            yield from (flags([name]), Path(data[name]).name)
    for name, value in data["options"].items():
        yield from _words(name, value)


def _words(name: str, value: Any) -> list[str]:
    """Command-line words that set an option."""
    flag = flags([name])
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    values = value if isinstance(value, list) else [value]
    return [flag, ",".join(map(_text, values))]


def _text(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)


def _data(saved: Mapping[str, Any], copies: Mapping[str, str]) -> dict[str, Any]:
    data = saved["data"]
    name = Path(data["data"]).name
    return {
        "set": name,
        "copy": copies.get(name, ""),
        "protocol": protocol_of(saved),
        "options": data["options"],
        "split_seed": data["seed"],
        "is_of_triplets": bool(saved["triplets"]),
    }


def protocol_of(saved: Mapping[str, Any]) -> str:
    """Protocol, which says so where images without labels were learned from."""
    data = saved["data"]
    name = "lists" if data["query_list"] else data["protocol"] or DEFAULT_PROTOCOL
    is_beyond = saved["training"]["unlabelled_ratio"] and not name.endswith("-unlabelled")
    return f"{name}{WITH_UNLABELLED}" if is_beyond else name


def thinned(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All validations and at most `MOST_LOSS_POINTS` other lines, including the last."""
    losses = [row for row, entry in enumerate(entries) if "loss" in entry]
    n_kept = min(len(losses), MOST_LOSS_POINTS)
    kept = {losses[(number + 1) * len(losses) // n_kept - 1] for number in range(n_kept)}
    lines = []
    for row, entry in enumerate(entries):
        if "held_out" in entry:
            validation = {name: entry[name] for name in ("step", "held_out")}
            lines.append(validation | {"seconds": _rounded(entry["seconds"])})
        elif row in kept:
            lines.append({name: _rounded(entry[name]) for name in LOSS_FIELDS})
    return lines


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _baselines(run: Run) -> list[dict[str, Any]]:
    """Baselines from ``hashkit evaluate --baselines --json`` and itq.py, as saved by runs.sh."""
    names = ("baselines.json", "feature-baselines.json")
    return [one for name in names for one in _read(run.path / name).get("baselines", [])]


def _baseline(document: Mapping[str, Any]) -> dict[str, Any]:
    match = _ACCURACY.match(document["name"])
    name, accuracy = (match[1], float(match[2])) if match else (document["name"], None)
    return {"name": name, "accuracy": accuracy, **_numbers(document)}


def _numbers(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in NUMBERS if name in document}


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it does not exist."""
    if not path.is_file():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


if __name__ == "__main__":
    main()
