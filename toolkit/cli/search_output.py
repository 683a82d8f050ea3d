"""Search results as a table, as JSON, and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.cli.visible import result_console
from hashkit.codes import to_hex
from hashkit.errors import HashkitError
from hashkit.messages.visible_text import visible
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.preprocess import ImageSource
    from hashkit.report.examples import ImageFinder

__all__ = ["Hit", "Query", "Result", "draw_results", "print_results"]

PICTURE_HITS: Final = 10
"""Hits that a picture shows, at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """A query.

    Attributes
    ----------
    name
        Its path or name.
    code
        Packed code, uint8 [ceil(n_bits / 8)].
    image
        The image, for a picture.
    labels
        Names of its classes; None if they are not known.
    """

    name: str
    code: NDArray[np.uint8]
    image: ImageSource | None
    labels: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Hit:
    """A row found.

    Attributes
    ----------
    row
        Row of the bank; with several banks, counted across them.
    distance
        Hamming distance, bits.
    name
        Name of the image.
    labels
        Names of its classes; None if they are not known.
    bank, bank_row
        The bank it is in, and the row there.
    asymmetric_distance
        Asymmetric distance from the query, if rows were rescored.
    """

    row: int
    distance: int
    name: str
    labels: tuple[str, ...] | None
    bank: Bank
    bank_row: int
    asymmetric_distance: float | None = None

    def is_relevant_to(self, query: Query) -> bool | None:
        """Whether it shares a label with the query; None if that is not known."""
        if self.labels is None or query.labels is None:
            return None
        return not set(self.labels).isdisjoint(query.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A query and its hits, nearest first."""

    query: Query
    hits: Sequence[Hit]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values: ``query``, ``code`` (hexadecimal), ``label``, ``hits``."""
        hits = [_json_hit(rank, hit) for rank, hit in enumerate(self.hits, start=1)]
        return {
            "query": self.query.name,
            "code": to_hex(self.query.code),
            "label": _json_label(self.query.labels),
            "hits": hits,
        }


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
        table.add_column("rank", justify="right")
        table.add_column("distance", justify="right")
        if is_rescored:
            table.add_column("asymmetric", justify="right")
        table.add_column("name", overflow="fold")
        table.add_column("label")
        table.add_column("")
        table.add_column("row", justify="right")
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
                title=_text(hit.labels) or hit.name,
                subtitle=plural(hit.distance, "bit"),
                is_hit=hit.is_relevant_to(query),
            )
            for hit in result.hits[:PICTURE_HITS]
        ]
        n_missing += sum(tile.source is None for tile in hits)
        title = f"query: {_text(query.labels)}" if query.labels else "query"
        rows.append(GalleryRow(Tile(query.image, title, Path(query.name).name), hits))
    if not rows:
        raise HashkitError("there are no results to draw")
    save_gallery(rows, path)
    return n_missing


def _title(query: Query) -> str:
    known = f" ({_text(query.labels)})" if query.labels is not None else ""
    return f"{query.name}{known}  code {to_hex(query.code)}"


def _text(labels: tuple[str, ...] | None) -> str:
    return ", ".join(labels or ())


def _json_hit(rank: int, hit: Hit) -> dict[str, Any]:
    distances: dict[str, Any] = {"distance": hit.distance}
    if hit.asymmetric_distance is not None:
        distances["asymmetric_distance"] = hit.asymmetric_distance
    label = _json_label(hit.labels)
    return {"rank": rank, "row": hit.row, **distances, "name": hit.name, "label": label}


def _json_label(labels: tuple[str, ...] | None) -> str | list[str] | None:
    if labels is None:
        return None
    return labels[0] if len(labels) == 1 else list(labels)


def _line_lengths(results: Sequence[Result]) -> Iterator[int]:
    for result in results:
        yield len(visible(_title(result.query)))
        for hit in result.hits:
            yield len(visible(hit.name + _text(hit.labels))) + 75
