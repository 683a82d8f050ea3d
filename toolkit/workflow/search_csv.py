"""Search results as a table of comma-separated values, for a spreadsheet or a script."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hashkit.errors import HashkitError
from hashkit.files.writing import written_whole
from hashkit.messages.os_errors import cannot_write
from hashkit.workflow.output_files import check_table_path
from hashkit.workflow.search_results import Result

__all__ = ["CSV_COLUMNS", "write_csv"]

CSV_COLUMNS: Final = ("query", "rank", "row", "distance", "name", "label")
"""Columns of the file; ``asymmetric_distance`` comes last where rows were rescored."""


def write_csv(results: Sequence[Result], path: Path) -> int:
    r"""Write one line per hit, below a line with the columns; returns the number of hits.

    The file is UTF-8 with lines that end in a line feed. A field with a comma, a quote or a line
    break stands in double quotes, and a double quote in it is doubled (RFC 4180). Bytes of a
    query's path that are not UTF-8 are written as ``\udc80`` to ``\udcff``, as in JSON. Several
    labels of an image are separated by semicolons.

    Raises
    ------
    HashkitError
        If the file cannot be written, or would replace a file of another kind.
    """
    check_table_path(path)
    has_asymmetric = any(
        hit.asymmetric_distance is not None for result in results for hit in result.hits
    )
    n_hits = 0
    try:
        with (
            written_whole(path) as part,
            part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*CSV_COLUMNS, *(["asymmetric_distance"] if has_asymmetric else [])])
            for result in results:
                writer.writerows(_lines(result))
                n_hits += len(result.hits)
    except OSError as error:
        raise HashkitError(cannot_write(error, path)) from None
    return n_hits


def _lines(result: Result) -> Iterator[list[object]]:
    for rank, hit in enumerate(result.hits, start=1):
        label = ";".join(hit.labels or ())
        line = [result.query.name, rank, hit.row, hit.distance, hit.name, label]
        yield line if hit.asymmetric_distance is None else [*line, hit.asymmetric_distance]
