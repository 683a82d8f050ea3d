"""Search with the shards of a database in a cluster; the answers equal those of one machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.part_query import PartQuery
from hashkit.retrieval.parts import search_parts

if TYPE_CHECKING:
    from hashkit.cluster.groups import ShardGroups
    from hashkit.retrieval.arguments import Engine
    from hashkit.retrieval.neighbours import Neighbours, Ranking

__all__ = ["search_groups"]


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
    """Find the nearest rows of each query; see `hashkit.search` for what is not here.

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
