"""A benchmark as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.report.bench_table import Group, columns_of, facts_of, notes_of, table_of
from hashkit.report.templates import render, save_text

__all__ = ["render_bench_page", "save_bench_page"]

_SECTIONS: Final[dict[Group, str]] = {
    "cost": "Speed and memory",
    "answers": "Differences from the reference",
}


def save_bench_page(document: Mapping[str, Any], path: Path) -> None:
    """Write the page of a benchmark's JSON document (docs/cli.md) atomically.

    Raises
    ------
    HashkitError
        If the file cannot be written.
    """
    save_text(path, render_bench_page(document))


def render_bench_page(document: Mapping[str, Any]) -> str:
    """HTML of the page."""
    columns = columns_of(document)
    tables = []
    for group, title in _SECTIONS.items():
        shown = [column for column in columns if column.group in ("name", group)]
        tables.append((title, shown, table_of(document, shown)))
    values = {
        "name": document["name"],
        "n_queries": document["images"]["n_queries"],
        "n_database": document["images"]["n_database"],
        "problems": document["problems"],
        "tables": tables,
        "notes": notes_of(document),
        "facts": facts_of(document),
    }
    return render("bench.html", values)
