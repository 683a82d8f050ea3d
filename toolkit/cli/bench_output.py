"""A benchmark as a JSON document, and as tables on a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.table import Table

from hashkit._version import __version__
from hashkit.cli.visible import result_console
from hashkit.exporters.bench.comparison import BenchRow
from hashkit.exporters.bench.contenders import Wanted
from hashkit.exporters.bench.settings import BenchSettings, Floors
from hashkit.machine import describe_machine
from hashkit.messages.visible_text import visible
from hashkit.report.bench_table import Column, columns_of, facts_of, notes_of, table_of
from hashkit.workflow.bench import BenchSubject, TrialSet

__all__ = ["bench_document", "print_bench", "problems_of"]


def bench_document(
    subject: BenchSubject,
    trial: TrialSet,
    settings: BenchSettings,
    floors: Floors,
    wanted: Wanted,
    rows: Sequence[BenchRow],
) -> dict[str, Any]:
    """The JSON document, as docs/cli.md describes it."""
    problems = problems_of(rows, wanted)
    return {
        "ok": not problems,
        "problems": problems,
        "name": subject.name,
        "models": [str(one.path) for one in subject.models],
        "bits": subject.manifest.n_bits,
        "size": list(subject.manifest.size),
        "images": {
            "source": trial.source,
            "is_random": trial.is_random,
            "has_labels": trial.sample.has_labels,
            "n_queries": len(trial.sample.queries),
            "n_database": len(trial.sample.database),
        },
        "settings": {**dataclasses.asdict(settings), "batch_sizes": list(settings.batch_sizes)},
        "floors": dataclasses.asdict(floors),
        "machine": describe_machine(),
        "hashkit": __version__,
        "rows": [row.to_dict() for row in rows],
    }


def problems_of(rows: Sequence[BenchRow], wanted: Wanted) -> list[str]:
    """What is wrong with a benchmark, one sentence each.

    A row that failed or misses a floor; a named runtime, or CUDA, that is not available; no row
    that the others could be compared with.
    """
    problems = [
        f"{row.contender.title}, {row.contender.precision}: {row.detail}"
        for row in rows
        if row.status in ("failed", "beyond")
    ]
    there = {row.contender.runtime for row in rows if row.status != "absent"}
    for row in rows:
        name = row.contender.runtime
        is_named = wanted.runtimes is not None and name in wanted.runtimes and name not in there
        if row.status == "absent" and (is_named or wanted.device == "cuda"):
            problems.append(f"{row.contender.title} was asked for: {row.detail}")
    if not problems and not any(row.is_reference for row in rows):
        problems.append("no row ran that could be the reference")
    return problems


def print_bench(document: Mapping[str, Any]) -> None:
    """Print one table on standard output, or two where one is too wide for the terminal."""
    console = result_console()
    columns = columns_of(document)
    needed = _width(document, columns)
    if not console.is_terminal:
        console.width = max(needed, console.width)  # so that nothing is cut in a pipe
    if needed <= console.width:
        console.print(_table(document, columns))
    else:
        for group in ("cost", "answers"):
            columns_of_table = [column for column in columns if column.group in ("name", group)]
            console.print(_table(document, columns_of_table))
    for name, text in facts_of(document).items():
        console.print(f"{name}: {text}", soft_wrap=True)
    for text in notes_of(document):
        console.print(text, soft_wrap=True)


def _width(document: Mapping[str, Any], columns: Sequence[Column]) -> int:
    """Width in characters of the table without folded cells, rules and spaces included."""
    lines = [[column.head for column in columns], *table_of(document, columns)]
    widths = [max(len(visible(cell)) for cell in cells) for cells in zip(*lines, strict=True)]
    return sum(widths) + 3 * len(widths) + 1


def _table(document: Mapping[str, Any], columns: Sequence[Column]) -> Table:
    table = Table()
    for column in columns:
        side: Literal["left", "right"] = "left" if column.is_text else "right"
        table.add_column(column.head, justify=side, overflow="fold")
    for cells in table_of(document, columns):
        table.add_row(*cells)
    return table
