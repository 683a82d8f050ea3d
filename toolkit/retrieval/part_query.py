"""The query to one part of a database, and its answer."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import check_radius
from hashkit.inputs.arguments import whole_number
from hashkit.retrieval.arguments import Engine, check_oversample, check_settings
from hashkit.retrieval.merging import HitOrder, PartHits
from hashkit.retrieval.reranking import check_logits

__all__ = ["PartAnswer", "PartCounts", "PartQuery", "SearchPart"]


@dataclasses.dataclass(frozen=True)
class PartQuery:
    """Queries for the parts of a database; made by `checked`. It can be pickled.

    Attributes
    ----------
    query_codes, n_bits
        Packed codes, uint8 [q, ceil(n_bits / 8)].
    top_k, radius, logits, oversample, engine
        As in `hashkit.search`.
    key
        Distinguishes searches.
    """

    query_codes: NDArray[np.uint8]
    n_bits: int
    top_k: int | None
    radius: int | None
    logits: NDArray[np.float32] | None
    oversample: int | None
    engine: Engine
    key: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def checked(
        cls,
        query_codes: NDArray[np.uint8],
        n_bits: int,
        *,
        top_k: int | None = None,
        radius: int | None = None,
        logits: NDArray[np.floating[Any]] | None = None,
        oversample: int | None = None,
        engine: Engine = "auto",
    ) -> Self:
        """Queries with the arguments of `hashkit.search`.

        Raises
        ------
        CodesError, ConfigError
            As `hashkit.search` does.
        """
        codes = check_codes(query_codes, n_bits, "query codes")
        top_k = None if top_k is None else whole_number(top_k, "top_k", 0)
        radius = None if radius is None else check_radius(radius, n_bits)
        check_settings(top_k, radius, engine, has_index=True)
        oversample = check_oversample(oversample, logits is not None, radius)
        checked = None if logits is None else check_logits(logits, codes, n_bits)
        return cls(codes, n_bits, top_k, radius, checked, oversample, engine)

    @property
    def n_found(self) -> int | None:
        """Most rows per query that a part returns; None without a limit."""
        return self.top_k if self.top_k is None else self.top_k * (self.oversample or 1)

    @property
    def order(self) -> HitOrder:
        """The order of the answer."""
        if self.logits is None:
            return "row"
        return "asymmetric-in-ties" if self.oversample is None else "asymmetric"


class PartCounts(NamedTuple):
    """What a part found, in numbers.

    Attributes
    ----------
    n_kept
        Rows of the part that were searched.
    histograms
        uint32 [q, n_bits + 1], its nearest rows at each distance, at most `PartQuery.n_found`.
    """

    n_kept: int
    histograms: NDArray[np.uint32]


class PartAnswer(NamedTuple):
    """What a part found.

    Attributes
    ----------
    n_kept
        Rows of the part that were searched.
    hits
        Rows that can be in the answer, in its order.
    """

    n_kept: int
    hits: PartHits


class SearchPart(Protocol):
    """Consecutive rows of a database, here or elsewhere."""

    @property
    def n_rows(self) -> int:
        """Number of rows, including deleted ones."""

    def count(self, query: PartQuery, where: NDArray[Any] | None) -> PartCounts:
        """Count the nearest rows at each distance; ``where`` has the part's own row numbers."""
        ...

    def answer(
        self, query: PartQuery, where: NDArray[Any] | None, sizes: NDArray[np.int64] | None
    ) -> PartAnswer:
        """The first ``sizes[i]`` hits of query i, int64 [q]; None for all that were found."""
        ...
