"""Leaves the queries of a split out of a bank that holds all images of the split.

The bank of a run on the user's own images holds all of them, so that all can be found. An
evaluation ranks the database of the split, which does not contain the queries.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from hashkit.bank.names import hash_names
from hashkit.codesets import CodeDatabase

if TYPE_CHECKING:
    from hashkit.bank.header import BankSource
    from hashkit.bank.reader import Bank

__all__ = ["SplitQueries", "split_queries", "without_queries"]


@dataclasses.dataclass(frozen=True)
class SplitQueries:
    """The queries of a split; it can be pickled.

    Attributes
    ----------
    source
        The first of their image lists.
    names
        The name of each query.
    key
        Distinguishes queries.
    """

    source: BankSource
    names: frozenset[str]
    key: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def left_out_of(self, database: CodeDatabase, *, is_one_set: bool = False) -> CodeDatabase:
        """The database without the rows of the queries; see `without_queries`."""
        listed = _sources(database)
        whole = [
            source for source in listed if _is_whole(source, self.source, is_one_set=is_one_set)
        ]
        if not whole:
            return database
        bank = cast("Bank", database)
        names = bank.names[:]
        is_query = np.fromiter((name in self.names for name in names), np.bool_, len(bank))
        others = bank.without(np.flatnonzero(is_query))
        if len(listed) == 1:
            kept = np.flatnonzero(~is_query)
            labels = None if bank.labels is None else bank.labels[kept]
            digest = hash_names([names[row] for row in kept.tolist()], labels)
            others.sources = (_database_part(whole[0], self.source, digest),)
        return others


def split_queries(queries: Sequence[CodeDatabase]) -> SplitQueries | None:
    """One or more banks of queries as those of a split; None if they are not from a split."""
    drawn = [source for bank in queries for source in _sources(bank)]
    if not drawn or not all(source.part == "queries" and source.protocol for source in drawn):
        return None
    names = itertools.chain.from_iterable(bank.names for bank in queries)
    return SplitQueries(drawn[0], frozenset(names))


def without_queries(
    queries: CodeDatabase, database: CodeDatabase, *, is_one_set: bool = False
) -> CodeDatabase:
    """The database without the rows of the queries, if both are banks of one split.

    Parameters
    ----------
    queries, database
        Banks or code sets. Rows are left out if the queries are the part ``queries`` of a split,
        and the database is the part ``all`` of the same split.
    is_one_set
        Whether it is known that they are of one set of images, as in a run; the database may then
        be kept in step with its folder, without a split.

    Returns
    -------
    CodeDatabase
        The database itself, or the same bank in which these rows count as deleted.
    """
    drawn = split_queries([queries])
    return database if drawn is None else drawn.left_out_of(database, is_one_set=is_one_set)


def _sources(codes: CodeDatabase) -> Sequence[BankSource]:
    return getattr(codes, "sources", ()) if len(codes.names) else ()


def _is_whole(whole: BankSource, drawn: BankSource, *, is_one_set: bool) -> bool:
    if whole.part != "all" or _location(whole) != _location(drawn):
        return False
    is_same_draw = (whole.protocol, whole.seed) == (drawn.protocol, drawn.seed)
    return is_same_draw or (is_one_set and not whole.protocol)


def _location(source: BankSource) -> str:
    return source.dataset if source.root is None else os.path.realpath(source.root)


def _database_part(whole: BankSource, drawn: BankSource, names_sha256: str) -> BankSource:
    """The image list of the split's database, as in a bank that contains only this part."""
    n_images = None
    if whole.n_images is not None and drawn.n_images is not None:
        n_images = whole.n_images - drawn.n_images
    return dataclasses.replace(
        whole,
        protocol=drawn.protocol,
        part="database",
        seed=drawn.seed,
        n_images=n_images,
        names_sha256=names_sha256,
    )
