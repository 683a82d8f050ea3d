"""Search with the shards of a database in a cluster; the answers equal those of one machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.part_query import PartQuery
from hashkit.retrieval.parts import search_parts
from hashkit.workflow.narrowing import check_classes

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank
    from hashkit.cluster.groups import ShardGroups
    from hashkit.retrieval.arguments import Engine
    from hashkit.retrieval.neighbours import Neighbours, Ranking
    from hashkit.workflow.search_answers import Question

__all__ = ["GroupSearcher", "search_groups"]


class GroupSearcher:
    """Searches banks whose shards are open in a cluster, as a `Searcher` of the workflow.

    Raises
    ------
    ConfigError
        If no bank has one of the classes.
    """

    def __init__(self, groups: ShardGroups, banks: Sequence[Bank], question: Question) -> None:
        check_classes(banks, question.labels)
        self._groups = groups
        self._n_bits = banks[0].n_bits

    def __call__(
        self,
        query_codes: NDArray[np.uint8],
        question: Question,
        *,
        left_out: Sequence[int] = (),
        logits: NDArray[np.float32] | None = None,
    ) -> Ranking | Neighbours:
        """See `hashkit.workflow.search_answers.Searcher`."""
        return search_groups(
            self._groups,
            query_codes,
            self._n_bits,
            top_k=question.top_k,
            radius=question.radius,
            labels=question.labels,
            left_out=left_out,
            logits=logits,
            oversample=question.oversample,
            engine=question.engine,
        )


def search_groups(
    groups: ShardGroups,
    query_codes: NDArray[np.uint8],
    n_bits: int,
    *,
    top_k: int | None = None,
    radius: int | None = None,
    where: NDArray[Any] | None = None,
    labels: Sequence[str] = (),
    left_out: Sequence[int] = (),
    logits: NDArray[np.floating[Any]] | None = None,
    oversample: int | None = None,
    engine: Engine = "auto",
) -> Ranking | Neighbours:
    """Find the nearest rows of each query; see `hashkit.search` for the other parameters.

    Parameters
    ----------
    labels
        Classes to search; empty for all rows.
    left_out
        Rows to leave out, numbered over all shards.

    Raises
    ------
    CodesError, ConfigError
        As `hashkit.search` does.
    ClusterError
        If the cluster fails.
    """
    query = PartQuery.checked(
        query_codes,
        n_bits,
        top_k=top_k,
        radius=radius,
        logits=logits,
        oversample=oversample,
        engine=engine,
    )
    parts = [part.filtered(labels, left_out) for part in groups.parts]
    return search_parts(
        query,
        parts,
        where=where,
        database_offsets=groups.offsets,
        together=groups.together,
    )
