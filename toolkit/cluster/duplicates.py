"""Finds the near codes of banks with the nodes of a cluster: one task per pair of shards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hashkit._version import __version__
from hashkit.cluster.engine import Engine, Resources
from hashkit.cluster.pair_jobs import near_rows
from hashkit.cluster.shard_group import ShardFile
from hashkit.cluster.tasks import results_of_tasks
from hashkit.collection.join import PairBlock, joined_pairs
from hashkit.errors import HashkitError
from hashkit.workflow.near_codes import check_number_of_pairs
from hashkit.workflow.reporter import SILENT, Reporter, plural

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank

__all__ = ["pairs_of_shards"]

_ONE_CPU: Final = Resources(cpus=1)


def pairs_of_shards(
    engine: Engine, banks: Sequence[Bank], radius: int, reporter: Reporter = SILENT
) -> PairBlock:
    """All pairs of near rows of several banks, numbered over all of them, in any order.

    One row stands for all rows of a bank that have the same code.

    Raises
    ------
    ConfigError
        If there are too many pairs.
    HashkitError
        If a task failed.
    """
    files = [ShardFile.of(bank) for bank in banks]
    starts = np.cumsum([0, *(file.n_rows for file in files)]).tolist()
    shards = [shard for shard, file in enumerate(files) if file.n_rows]
    tasks = {
        (first, second): (
            files[first],
            None if first == second else files[second],
            radius,
            1,
            __version__,
        )
        for first, second in itertools.combinations_with_replacement(shards, 2)
    }
    found: list[PairBlock] = []
    n_found = 0

    def lost(pairs: Sequence[tuple[int, int]]) -> None:
        again = f"comparing {plural(len(pairs), 'pair')} of shards again"
        reporter.note(f"warning: a process or node of the cluster was lost; {again}")

    with reporter.progress("comparing shards", len(tasks), "pairs of shards") as bar:
        for (first, second), block in results_of_tasks(engine, near_rows, tasks, _ONE_CPU, lost):
            if isinstance(block, HashkitError):
                raise block
            left, right = block.left + starts[first], block.right + starts[second]
            found.append(PairBlock(left, right, block.distance))
            n_found += len(left)
            check_number_of_pairs(n_found, radius)
            bar.update(len(found))
    return joined_pairs(found)
