"""An evaluation with its name: saved as JSON, read again, and held against others.

The document is what `hashkit evaluate --json` prints (docs/metrics.md), with ``name``, ``title``,
``about`` and ``lists`` before it. A document without them is read too, and so is one
of an earlier release that lacks the newer fields.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hashkit.errors import EvaluationError
from hashkit.files import written_whole

__all__ = [
    "FILE_NAME",
    "Evaluation",
    "differences",
    "in_column_order",
    "load_evaluation",
    "renamed_apart",
    "save_evaluation",
    "write_whole",
]

FILE_NAME: Final = "evaluation.json"
"""File of a run's evaluation in its folder."""

_OWN_FIELDS: Final = ("name", "title", "about", "lists")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The numbers of one evaluation, and what was evaluated.

    Attributes
    ----------
    name
        What it is called in legends and columns.
    fields
        `hashkit.evaluation.evaluator.Report.to_dict`'s values.
    title
        How the codes were made and of which images, without their bits: evaluations of one title
        are joined in the plot over bits. May be empty.
    about
        Facts about model and images, name to text, in the order in which they are shown.
    lists
        Fingerprints of the lists of ``queries`` and ``database`` images, where they are known.
    is_baseline
        Whether it is only there to be compared with.
    """

    name: str
    fields: Mapping[str, Any]
    title: str = ""
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_baseline: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, all that `load_evaluation` reads."""
        own = {name: getattr(self, name) for name in _OWN_FIELDS}
        return {**own, "about": dict(self.about), "lists": dict(self.lists), **self.fields}


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON, whole or not at all; in ASCII, which holds any name."""
    write_whole(path, json.dumps(evaluation.to_dict(), indent=2) + "\n")


def load_evaluation(path: Path) -> Evaluation:
    """Read an evaluation: a JSON file, or a run folder that holds one.

    Raises
    ------
    EvaluationError
        If there is none, or it is damaged or no evaluation.
    """
    is_folder = path.is_dir()
    file = path / FILE_NAME if is_folder else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        how = (
            f"{path} has no evaluation yet: hashkit evaluate --run {path}"
            if is_folder
            else f"{path}: there is no such evaluation; `hashkit evaluate --json` prints one"
        )
        raise EvaluationError(how) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EvaluationError(f"{file} cannot be read: {reason}") from None
    _check_document(file, document)
    own = {name: document.pop(name) for name in _OWN_FIELDS if name in document}
    default_name = path.resolve().name if is_folder else path.stem
    return Evaluation(**{"name": default_name, **own}, fields=document)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all; what UTF-8 cannot hold becomes a reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        part.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))


def renamed_apart(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The same evaluations, with numbers after names that are taken already."""
    names: set[str] = set()
    result = []
    for one in evaluations:
        name, number = one.name, 2
        while name in names:
            name, number = f"{one.name} ({number})", number + 1
        names.add(name)
        result.append(dataclasses.replace(one, name=name))
    return result


def in_column_order(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """As in the columns of a table: by bits and mAP; baselines last, the best of them first."""

    def key(one: Evaluation) -> tuple[Any, ...]:
        if one.is_baseline:
            return (True, -one.fields["map"])
        return (False, one.fields["bits"], one.fields["map"])

    return sorted(evaluations, key=key)


def differences(evaluation: Evaluation, other: Evaluation) -> list[str]:
    """Why the numbers of two evaluations do not compare; empty if nothing is known against it."""
    found = [
        f"{other.name} has {_count(other, field)} {what}, {evaluation.name} has "
        f"{_count(evaluation, field)}"
        for field, what in (("n_queries", "queries"), ("n_database", "images in the database"))
        if evaluation.fields[field] != other.fields[field]
    ]
    if not found:
        for side in ("queries", "database"):
            lists = {one.lists.get(side) for one in (evaluation, other)}
            if len(lists - {None}) == 2:
                found.append(f"{other.name} has other images among its {side} than the first")
    for field, what in (
        ("convention", "divides mAP@R by another convention"),
        ("without_relevant", "treats queries without relevant images in another way"),
    ):
        theirs, ours = other.fields.get(field), evaluation.fields.get(field)
        if theirs != ours:
            found.append(f"{other.name} {what}: {theirs}, not {ours}")
    return found


def _count(evaluation: Evaluation, field: str) -> str:
    return f"{evaluation.fields[field]:,}"


# What a document must hold. A page is made of these values without looking at them again.


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _by_cutoff(value: Any) -> bool:
    return isinstance(value, dict) and all(
        cutoff.isascii() and cutoff.isdigit() and _is_number(number)
        for cutoff, number in value.items()
    )


def _by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _curve(*columns: str) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(point, dict) and all(_is_number(point.get(name)) for name in columns)
            for point in value
        )

    return check


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _pairs_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(one is None or _is_pair(one) for one in value.values())


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _are_distances(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _are_counts(value.get(kind)) for kind in ("relevant", "other")
    )


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and _is_number(value.get("level"))


def _are_statistics(value: Any) -> bool:
    return isinstance(value, dict) and all(
        all(map(_is_number, one)) if isinstance(one, list) else _is_number(one)
        for one in value.values()
    )


_REQUIRED: Final[Mapping[str, Callable[[Any], bool]]] = {
    "bits": _is_count,
    "n_queries": _is_count,
    "n_database": _is_count,
    "map": _is_number,
    "map_best": _is_number,
    "map_worst": _is_number,
    "map_index": _is_number,
    "convention": _is_text,
    "map_at": _by_cutoff,
    "precision_at": _by_cutoff,
    "recall_at": _by_cutoff,
    "precision_radius_2": _is_number,
    "empty_radius_2": _is_number,
    "per_label": _by_name,
    "pr_curve": _curve("radius", "precision", "recall", "empty"),
}
_OPTIONAL: Final[Mapping[str, Callable[[Any], bool]]] = {
    "name": _is_text,
    "title": _is_text,
    "about": _texts,
    "lists": _texts,
    "n_without_relevant": _is_count,
    "without_relevant": _is_text,
    "ndcg_at": _by_cutoff,
    "ndcg_gain": _is_text,
    "per_label_queries": _by_name,
    "per_label_interval": _pairs_by_name,
    "map_interval": _is_pair,
    "interval": _is_interval,
    "rank_curve": _curve("k", "precision", "recall"),
    "distances": _are_distances,
    "bit_statistics": _are_statistics,
}


def _check_document(file: Path, document: Any) -> None:
    if not isinstance(document, dict):
        raise EvaluationError(f"{file} is no evaluation: expected a JSON object")
    for field, is_right in {**_REQUIRED, **_OPTIONAL}.items():
        if field in _OPTIONAL and document.get(field) is None:
            continue
        if not is_right(document.get(field)):
            what = "has a damaged" if field in document else "lacks the"
            raise EvaluationError(
                f"{file} is no evaluation: it {what} field {field!r}; "
                "`hashkit evaluate --json` prints one"
            )
