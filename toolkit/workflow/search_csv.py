"""Search results as a table of comma-separated values, for a spreadsheet or a script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hashkit.files.csv_text import csv_text
from hashkit.report.templates import save_text
from hashkit.workflow.output_files import check_table_path
from hashkit.workflow.search_results import Result

__all__ = ["CSV_COLUMNS", "write_csv"]

CSV_COLUMNS: Final = ("query", "rank", "row", "distance", "name", "label")
"""Columns of the file; ``asymmetric_distance`` comes last where rows were rescored."""


def write_csv(results: Sequence[Result], path: Path) -> int:
    """Write one line per hit, below a line with the columns; returns the number of hits.

    The file is UTF-8, as `hashkit.files.csv_text.csv_text` makes it. Several labels of an image are
    separated by semicolons.

    Raises
    ------
    HashkitError
        If the file cannot be written, or would replace a file of another kind.
    """
    check_table_path(path)
    has_asymmetric = any(
        hit.asymmetric_distance is not None for result in results for hit in result.hits
    )
    columns = [*CSV_COLUMNS, *(["asymmetric_distance"] if has_asymmetric else [])]
    lines = [line for result in results for line in _lines(result)]
    save_text(path, csv_text(columns, lines))
    return len(lines)


def _lines(result: Result) -> Iterator[Sequence[object]]:
    for rank, hit in enumerate(result.hits, start=1):
        label = ";".join(hit.labels or ())
        line = [result.query.name, rank, hit.row, hit.distance, hit.name, label]
        yield line if hit.asymmetric_distance is None else [*line, hit.asymmetric_distance]
