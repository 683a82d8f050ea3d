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
from hashkit.workflow.search_results import Query, Result

if TYPE_CHECKING:
    from hashkit.report.examples import ImageFinder
    from hashkit.workflow.search_results import Query, Result

__all__ = ["draw_results", "print_results"]

PICTURE_HITS: Final = 10
"""Hits that a picture shows, at most."""


def print_results(results: Sequence[Result]) -> None:
    """Print a table for each query on standard output."""
    from rich.table import Table

    console = result_console()
    if not console.is_terminal:
        # As wide as the names, so that nothing is cut in a pipe.
        console.width = max([100, *_line_lengths(results)])
    for result in results:
        table = Table(title=_title(result.query), title_justify="left")
        is_rescored = any(hit.asymmetric_distance is not None for hit in result.hits)
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column("distance", justify="right", no_wrap=True)
        if is_rescored:
            table.add_column("asymmetric", justify="right", overflow="fold")
        table.add_column("name", overflow="fold")
        table.add_column("label", overflow="fold")
        table.add_column("", no_wrap=True)
        table.add_column("row", justify="right", no_wrap=True)
        for rank, hit in enumerate(result.hits, start=1):
            mark = {True: "hit", False: "miss", None: ""}[hit.is_relevant_to(result.query)]
            rescored = [f"{hit.asymmetric_distance:.4g}"] if is_rescored else []
            label = _text(hit.labels)
            table.add_row(
                str(rank), str(hit.distance), *rescored, hit.name, label, mark, str(hit.row)
            )
        console.print(table)


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
