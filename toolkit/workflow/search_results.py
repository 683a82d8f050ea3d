"""Results of a search, and the JSON that `hashkit search` and the server answer with."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hashkit.codes import to_hex
from hashkit.codesets import label_names
from hashkit.retrieval.neighbours import Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashkit.bank.reader import Bank
    from hashkit.preprocess import ImageSource
    from hashkit.retrieval.neighbours import Neighbours

__all__ = ["Hit", "Query", "Result", "hits_of", "json_label"]


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
        The image, for a picture; None if it is not available.
    labels
        Names of its classes; None if they are not known.
    row
        The row that it is, counted across the banks that are searched; None for other queries.
    """

    name: str
    code: NDArray[np.uint8]
    image: ImageSource | None
    labels: tuple[str, ...] | None = None
    row: int | None = None


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
        """JSON-ready values: ``query``, ``code`` (hexadecimal), ``label``, ``hits``.

        A query that is a row of the banks also has ``row``.
        """
        query = self.query
        return {
            "query": query.name,
            "code": to_hex(query.code),
            "label": json_label(query.labels),
            **({} if query.row is None else {"row": query.row}),
            "hits": [_json_hit(rank, hit) for rank, hit in enumerate(self.hits, start=1)],
        }


def hits_of(found: Ranking | Neighbours, banks: Sequence[Bank]) -> Iterator[list[Hit]]:
    """Hits of each query of a search in ``banks``."""
    columns: list[Any] = [*found.locate(), found.rows, found.distances]
    if isinstance(found, Ranking):
        positions: Iterable[Any] = range(len(found.rows))
        if found.asymmetric_distances is not None:
            columns.append(found.asymmetric_distances)
    else:
        positions = itertools.starmap(slice, itertools.pairwise(found.offsets))
    names = [bank.names for bank in banks]  # each access looks at the file
    for at in positions:
        places = zip(*(column[at].tolist() for column in columns), strict=True)
        yield [_hit(banks[bank], names[bank], *place) for bank, *place in places]


def _hit(
    bank: Bank,
    names: Sequence[str],
    bank_row: int,
    row: int,
    distance: int,
    asymmetric_distance: float | None = None,
) -> Hit:
    return Hit(
        row=row,
        distance=distance,
        name=names[bank_row],
        labels=label_names(bank, bank_row),
        bank=bank,
        bank_row=bank_row,
        asymmetric_distance=asymmetric_distance,
    )


def _json_hit(rank: int, hit: Hit) -> dict[str, Any]:
    distances: dict[str, Any] = {"distance": hit.distance}
    if hit.asymmetric_distance is not None:
        distances["asymmetric_distance"] = hit.asymmetric_distance
    label = json_label(hit.labels)
    return {"rank": rank, "row": hit.row, **distances, "name": hit.name, "label": label}


def json_label(labels: tuple[str, ...] | None) -> str | list[str] | None:
    """Labels in JSON: one as a text, several as a list, null where they are not known."""
    if labels is None:
        return None
    return labels[0] if len(labels) == 1 else list(labels)
