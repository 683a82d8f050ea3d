"""Search results as a table, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from hashkit.cli.visible import result_console
from hashkit.codes import to_hex
from hashkit.errors import HashkitError
from hashkit.messages.visible_text import visible
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.report.examples import ImageFinder
    from hashkit.workflow.search_results import Query, Result

__all__ = ["draw_results", "print_results"]

PICTURE_HITS: Final = 10
"""Most hits that a picture shows."""

_NUMBERS: Final = ("rank", "distance", "asymmetric", "row")
_FIXED_COLUMNS: Final = ("rank", "distance", "name", "row")
"""Columns that every table has."""


def print_results(results: Sequence[Result], radius: int | None) -> None:
    """Print a table for each query on standard output, or a line if it has no hits."""
    from rich.table import Table

    console = result_console()
    if not console.is_terminal:
        # As wide as the names, so that nothing is cut in a pipe.
        console.width = max([100, *_line_lengths(results)])
    for result in results:
        columns = _columns(result)
        # A line of its own: a table breaks its title, and then the name cannot be copied.
        console.print(_title(result.query), style="table.title", markup=False, soft_wrap=True)
        if not result.hits:
            within = "" if radius is None else f" within {plural(radius, 'bit')}"
            console.print(f"no images{within}", soft_wrap=True)
            continue
        table = Table()
        for heading in columns:
            is_number = heading in _NUMBERS
            table.add_column(
                heading,
                justify="right" if is_number else "left",
                no_wrap=is_number or not heading,
                overflow="ellipsis" if is_number or not heading else "fold",
            )
        for texts in zip(*columns.values(), strict=True):
            table.add_row(*texts)
        console.print(table)


def _columns(result: Result) -> dict[str, list[str]]:
    """Texts by heading, without columns that would be empty, such as labels if there are none."""
    hits = result.hits
    marks = {True: "hit", False: "miss", None: ""}
    columns = {
        "rank": [str(rank) for rank in range(1, len(hits) + 1)],
        "distance": [str(hit.distance) for hit in hits],
        "asymmetric": [
            "" if hit.asymmetric_distance is None else f"{hit.asymmetric_distance:.4g}"
            for hit in hits
        ],
        "name": [hit.name for hit in hits],
        "label": [_text(hit.labels) for hit in hits],
        "": [marks[hit.is_relevant_to(result.query)] for hit in hits],
        "row": [str(hit.row) for hit in hits],
    }
    return {name: texts for name, texts in columns.items() if name in _FIXED_COLUMNS or any(texts)}


def draw_results(results: Sequence[Result], find: ImageFinder, path: Path) -> int:
    """Draw queries beside their hits, up to `PICTURE_HITS`; returns how many images are missing.

    Raises
    ------
    HashkitError
        If the file cannot be written.
    """
    from hashkit.report.gallery import GalleryRow, Tile, save_gallery

    n_missing = 0
    rows = []
    for result in results:
        query = result.query
        hits = [
            Tile(
                source=find(hit.bank, hit.bank_row),
                title=PurePosixPath(hit.name).name or hit.name,
                subtitle=", ".join(filter(None, (plural(hit.distance, "bit"), _text(hit.labels)))),
                is_hit=hit.is_relevant_to(query),
            )
            for hit in result.hits[:PICTURE_HITS]
        ]
        n_missing += sum(tile.source is None for tile in hits)
        subtitle = ", ".join(filter(None, ("query", _text(query.labels))))
        rows.append(GalleryRow(Tile(query.image, Path(query.name).name, subtitle), hits))
    if not rows:
        raise HashkitError("there are no results to draw")
    save_gallery(rows, path)
    return n_missing


def _title(query: Query) -> str:
    known = f" ({_text(query.labels)})" if query.labels is not None else ""
    return f"{query.name}{known}  code {to_hex(query.code)}"


def _text(labels: tuple[str, ...] | None) -> str:
    return ", ".join(labels or ())


def _line_lengths(results: Sequence[Result]) -> Iterator[int]:
    for result in results:
        yield len(visible(_title(result.query)))
        for hit in result.hits:
            yield len(visible(hit.name + _text(hit.labels))) + 75
