"""A benchmark as a table of strings, for the terminal, Markdown and the HTML page.

The functions take the JSON document of `hashkit bench` (docs/cli.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final, Literal, TypeAlias

__all__ = ["COLUMNS", "Column", "columns_of", "facts_of", "markdown", "notes_of", "table_of"]

Group: TypeAlias = Literal["name", "cost", "answers"]

_MISSING: Final = "—"

_FLOORS: Final = {
    "max_flips": "at most {:,g} flipped bits per million",
    "min_map": "mAP at least {:g}",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    head
        Its heading.
    group
        ``name``: identifies the row; ``cost``: speed and memory; ``answers``: differences from the
        reference.
    cell
        Text of a row's cell; empty if the row has no value.
    is_text
        Whether it holds words rather than numbers.
    """

    head: str
    group: Group
    cell: Callable[[Mapping[str, Any]], str]
    is_text: bool = False


def columns_of(document: Mapping[str, Any]) -> list[Column]:
    """The columns for which a document has values."""
    rows = document["rows"]
    has_map = any((row["agreement"] or {}).get("map") is not None for row in rows)
    hidden = {_NEIGHBOURS} if has_map else {_MAP, _MAP_CHANGE}
    if document["images"]["is_random"]:  # random images have no meaningful neighbours
        hidden.add(_NEIGHBOURS)
    return [column for column in COLUMNS if column not in hidden]


def table_of(document: Mapping[str, Any], columns: Sequence[Column]) -> list[list[str]]:
    """A list of cells per row."""
    return [[column.cell(row) or _MISSING for column in columns] for row in document["rows"]]


def facts_of(document: Mapping[str, Any]) -> dict[str, str]:
    """What was measured, where and how: name to text, in display order."""
    images, settings, floors = document["images"], document["settings"], document["floors"]
    reference = next((row for row in document["rows"] if row["is_reference"]), None)
    facts = {
        "models": ", ".join(document["models"]),
        "images": f"{images['n_queries']:,} queries, {images['n_database']:,} in the database: "
        f"{images['source']}",
        "compared with": "nothing, because no row ran" if reference is None else _name(reference),
        "each row": f"in fresh processes; start: median of {settings['n_starts']}; batches of "
        f"{', '.join(map(str, settings['batch_sizes']))}, each for "
        f"{settings['seconds']:g} s; profile {settings['profile']}",
        "machine": document["machine"],
    }
    texts = [
        text.format(floors[name]) for name, text in _FLOORS.items() if floors[name] is not None
    ]
    if texts:
        facts["floors"] = "; ".join(texts)
    return facts


def notes_of(document: Mapping[str, Any]) -> list[str]:
    """Notes on the rows: why some are not ok, and what the numbers do not show."""
    rows = document["rows"]
    notes = [
        f"{_title(row)}: {_STATUSES[row['status']]}: {row['detail']}"
        for row in rows
        if row["status"] != "ok"
    ]
    ran = [row for row in rows if row["agreement"] is not None]
    whole = document["images"]["n_queries"] + document["images"]["n_database"]
    few = {row["runtime"]: n for row in ran if (n := _n_images(row)) < whole}
    notes += [
        f"{runtime} is slow and ran on only {n_images:,} of the {whole:,} images: its bits and "
        "logits are compared on these"
        for runtime, n_images in few.items()
    ]
    if any(row["precision"] == "fp16" and row["device"] == "cpu" for row in ran):
        notes.append(
            "fp16 on a CPU: ONNX Runtime and OpenVINO compute it in float32, so these rows do not "
            "show the loss on a GPU"
        )
    return notes


def markdown(document: Mapping[str, Any]) -> str:
    """The table with its facts and notes in Markdown."""
    columns = columns_of(document)
    lines = [f"# {_escaped(document['name'])}: runtimes and precisions", ""]
    lines += [f"- {name}: {_escaped(text)}" for name, text in facts_of(document).items()]
    lines += ["", _line(column.head for column in columns)]
    lines.append(_line("---" if column.is_text else "---:" for column in columns))
    lines += [_line(map(_escaped, cells)) for cells in table_of(document, columns)]
    notes = notes_of(document)
    if notes:
        lines += ["", *(f"- {_escaped(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterator[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Escape text so that it stays in one cell and is not markup; file names may hold anything."""
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\|<>*_`[]" else letter for letter in one_line)


def _title(row: Mapping[str, Any]) -> str:
    if row["status"] == "absent":  # the same for every model
        return f"{row['runtime']} on {row['device'].upper()}"
    return f"{row['runtime']} on {row['device'].upper()}, {row['precision']}"


def _name(row: Mapping[str, Any]) -> str:
    return f"{_title(row)} ({row['version']}, {row['provider']}, {PurePath(row['model']).name})"


def _n_images(row: Mapping[str, Any]) -> int:
    """Number of images on which a row was compared."""
    agreement = row["agreement"]
    return int(agreement["n_queries"] + agreement["n_database"])


def _batch(row: Mapping[str, Any], batch_size: int | None) -> Mapping[str, Any] | None:
    return next((one for one in row["batches"] if one["batch_size"] == batch_size), None)


def _rate(row: Mapping[str, Any], batch_size: int | None, *, with_size: bool = False) -> str:
    batch = _batch(row, batch_size)
    if batch is None:
        return ""
    rates = (_number(batch[name]) for name in ("images_per_second", "images_per_second_p95"))
    text = "{} ({})".format(*rates)
    return f"{text} at {batch_size}" if with_size else text


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _megabytes(n_bytes: int | None) -> str:
    if not n_bytes:
        return ""
    decimals = 2 if n_bytes < 1e7 else 1 if n_bytes < 1e8 else 0
    return f"{n_bytes / 1e6:,.{decimals}f} MB"


def _of_agreement(name: str, spec: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(row: Mapping[str, Any]) -> str:
        value = (row["agreement"] or {}).get(name)
        return "" if value is None else format(value, spec)

    return cell


def _against_reference(name: str, spec: str) -> Callable[[Mapping[str, Any]], str]:
    plain = _of_agreement(name, spec)
    return lambda row: "reference" if row["is_reference"] else plain(row)


def _map_change(row: Mapping[str, Any]) -> str:
    lost = (row["agreement"] or {}).get("map_lost")
    if lost is None:
        return ""
    change = round(-lost, 4) + 0.0  # no minus before a zero
    return "reference" if row["is_reference"] else f"{change:+.4f}"


def _seconds(row: Mapping[str, Any]) -> str:
    value = row["start_seconds"]
    return "" if value is None else f"{value:.2f} s"


def _near_zero(row: Mapping[str, Any]) -> str:
    value = row["near_zero"]
    return "" if value is None else f"{value:.4%}"


def _precision(row: Mapping[str, Any]) -> str:
    """Precision of the file, and in brackets that of the arithmetic if it differs."""
    if row["status"] == "absent":
        return ""
    arithmetic = row["arithmetic"] or row["precision"]
    return (
        row["precision"] if arithmetic == row["precision"] else f"{row['precision']} ({arithmetic})"
    )


def _provider(row: Mapping[str, Any]) -> str:
    """The provider, without the common suffix of ONNX Runtime's names."""
    provider: str = row["provider"] or row["device"].upper()
    return provider.removesuffix("ExecutionProvider")


_STATUSES: Final = {"ok": "ok", "absent": "absent", "failed": "failed", "beyond": "beyond a floor"}

_MAP: Final = Column("mAP", "answers", _of_agreement("map", ".4f"))
_MAP_CHANGE: Final = Column("mAP difference", "answers", _map_change)
_NEIGHBOURS: Final = Column("neighbours kept", "answers", _of_agreement("neighbours_kept", ".1%"))

COLUMNS: Final[tuple[Column, ...]] = (
    Column("runtime", "name", lambda row: row["runtime"], is_text=True),
    Column("precision", "name", _precision, is_text=True),
    Column("provider", "name", _provider, is_text=True),
    Column("status", "name", lambda row: _STATUSES[row["status"]], is_text=True),
    Column(
        "file", "cost", lambda row: "" if row["status"] == "absent" else _megabytes(row["n_bytes"])
    ),
    Column("start", "cost", _seconds),
    Column("batch 1, images/s (p95)", "cost", lambda row: _rate(row, 1)),
    Column(
        "best batch, images/s (p95)",
        "cost",
        lambda row: _rate(row, row["best_batch_size"], with_size=True),
    ),
    Column("peak memory", "cost", lambda row: _megabytes(row["peak_memory_bytes"])),
    Column("largest logit difference", "answers", _against_reference("largest_difference", ".1e")),
    Column(
        "bits flipped per million", "answers", _against_reference("flipped_per_million", ",.0f")
    ),
    Column("codes changed", "answers", _against_reference("codes_changed", ".2%")),
    Column("logits within 1e-4 of 0", "answers", _near_zero),
    _MAP,
    _MAP_CHANGE,
    _NEIGHBOURS,
)
"""All possible columns, in order."""
