"""Named evaluations: save them as JSON, load them, and compare them.

The document is the output of `hashkit evaluate --json` (docs/metrics.md), preceded by ``name``,
``title``, ``about`` and ``lists``. These four may be missing, and so may the fields that earlier
releases did not have.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hashkit.errors import EvaluationError
from hashkit.files.writing import make_parents, write_whole
from hashkit.inputs.json_text import read_json

__all__ = [
    "FILE_NAME",
    "Evaluation",
    "differences",
    "in_column_order",
    "load_evaluation",
    "renamed_apart",
    "save_evaluation",
    "write_text",
]

FILE_NAME: Final = "evaluation.json"
"""File name of a run's evaluation in the run folder."""

_OWN_FIELDS: Final = ("name", "title", "about", "lists")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The numbers of one evaluation, and what was evaluated.

    Attributes
    ----------
    name
        Name in legends and columns.
    fields
        The result of `hashkit.evaluation.report.Report.to_dict`.
    title
        How the codes were made and from which images, without the number of bits. Evaluations with
        the same title are connected in the plot over bits. May be empty.
    about
        Facts about model and images, name to text, in display order.
    lists
        Fingerprints of the lists of ``queries`` and ``database`` images, if known.
    is_baseline
        Whether it is a baseline, shown only for comparison.
    """

    name: str
    fields: Mapping[str, Any]
    title: str = ""
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_baseline: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values with everything that `load_evaluation` reads."""
        own = {name: getattr(self, name) for name in _OWN_FIELDS}
        return {**own, "about": dict(self.about), "lists": dict(self.lists), **self.fields}


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON atomically, in ASCII, so that any name can be written."""
    write_text(path, json.dumps(evaluation.to_dict(), indent=2) + "\n")


def load_evaluation(path: Path) -> Evaluation:
    """Read an evaluation from a JSON file or from a run folder.

    Raises
    ------
    EvaluationError
        If there is no such file, or it is not a valid evaluation.
    """
    is_folder = path.is_dir()
    file = path / FILE_NAME if is_folder else path
    try:
        document = read_json(file, EvaluationError, "write it again with `hashkit evaluate`")
    except FileNotFoundError:
        message = (
            f"{path} has no evaluation yet: hashkit evaluate --run {path}"
            if is_folder
            else f"{path}: there is no such evaluation; write one with `hashkit evaluate --json`"
        )
        raise EvaluationError(message) from None
    _check_document(file, document)
    own_fields = {name: document.pop(name, None) for name in _OWN_FIELDS}
    own_fields = {name: value for name, value in own_fields.items() if value is not None}
    default_name = path.resolve().name if is_folder else path.stem
    return Evaluation(**{"name": default_name, **own_fields}, fields=document)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; lone surrogates become character references."""
    make_parents(path)
    write_whole(path, text.encode("utf-8", "xmlcharrefreplace"))


def renamed_apart(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The same evaluations with unique names: a number is added to names that occur before."""
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
    """Evaluations in the order of table columns.

    The first stays first: it is the one that the table is about. The others follow by bits and mAP,
    then baselines, best first.
    """

    def key(evaluation: Evaluation) -> tuple[Any, ...]:
        if evaluation.is_baseline:
            return (True, -evaluation.fields["map"])
        return (False, evaluation.fields["bits"], evaluation.fields["map"])

    return [*evaluations[:1], *sorted(evaluations[1:], key=key)]


def differences(evaluation: Evaluation, other: Evaluation) -> list[str]:
    """Reasons why two evaluations are not comparable; empty if none are known."""
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
                found.append(f"{other.name} has different {side} images than {evaluation.name}")
    for field, what in (
        ("convention", "uses another convention for mAP@R"),
        ("without_relevant", "treats queries without relevant images differently"),
    ):
        theirs, ours = other.fields.get(field), evaluation.fields.get(field)
        if theirs != ours:
            found.append(f"{other.name} {what}: {theirs}, not {ours}")
    left_out = [one for one in (evaluation, other) if one.fields.get("exclude_self")]
    if len(left_out) == 1:
        found.append(f"only {left_out[0].name} leaves out each query's own row")
    return found


def _count(evaluation: Evaluation, field: str) -> str:
    return f"{evaluation.fields[field]:,}"


def _check_document(file: Path, document: Any) -> None:
    """Raise `EvaluationError` unless the document has all fields that a page needs."""
    from pydantic import ValidationError

    from hashkit.report.evaluation_schema import EvaluationDocument

    try:
        EvaluationDocument.model_validate(document)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        if not place:
            raise EvaluationError(
                f"{file} is not a valid evaluation: expected a JSON object"
            ) from None
        field = place[0]
        fault = "invalid" if field in document else "missing"
        raise EvaluationError(
            f"{file} is not a valid evaluation: the field {field!r} is {fault}; "
            "write one with `hashkit evaluate --json`"
        ) from None
