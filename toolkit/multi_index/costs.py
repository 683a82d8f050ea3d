"""The cost of a search with the tables of an index, and of a scan of the database.

All costs are in picoseconds, measured on the machine described in docs/multi-index.md with
``tests/benchmarks/bench_multi_index.py``. Only their ratios matter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["COSTS", "DEFAULT_BUDGET", "SAMPLED_TOP_K", "Costs", "Workload"]


@dataclasses.dataclass(frozen=True)
class Costs:
    """Costs of the parts of a search, in picoseconds.

    Attributes
    ----------
    query
        Fixed cost of one query.
    probe
        Probing a bucket, mostly waiting for its memory.
    entry
        Comparing the sketch of one of its entries.
    code
        Reading the code of an entry whose sketch is near, and adding its row to the result.
    scan_word
        Comparing 8 bytes of a code with a query in a scan.
    stream_word
        Reading 8 bytes of a code from memory in a scan, once for all its queries.
    """

    query: int = 350_000
    probe: int = 27_000
    entry: int = 1_100
    code: int = 80_000
    scan_word: int = 190
    stream_word: int = 350


COSTS: Final = Costs()

DEFAULT_BUDGET: Final = 0.5
"""Maximum cost of a query before it is given up, as a multiple of the cost of its scan. Few queries
cost between half a scan and a whole one, and a lower limit makes a given-up query cheaper."""

SAMPLED_TOP_K: Final = (1, 10, 100, 1000)
"""Numbers of neighbours for which an index measures the cost when it is built."""

_UNLIMITED: Final = 1 << 62


@dataclasses.dataclass(frozen=True)
class Workload:
    """The size of a database, from which the cost of a search follows.

    Attributes
    ----------
    n_rows, size
        Number of rows of the database, and bytes per code.
    """

    n_rows: int
    size: int

    def scan(self, n_queries: int) -> float:
        """Cost of a scan per query, for ``n_queries`` queries, 1 or more, scanned together."""
        n_words = self.n_rows * -(-self.size // 8)
        return n_words * (COSTS.scan_word + COSTS.stream_word / n_queries)

    def budget(self, share: float, n_queries: int) -> int:
        """Maximum cost of a query: ``share`` times its scan; ``math.inf`` for no limit."""
        return int(min(share * self.scan(n_queries), _UNLIMITED)) if share else 0

    def radius(self, radius: int, lengths: Sequence[int], crowding: Sequence[float]) -> float:
        """Expected cost of the search for one query within ``radius``.

        The number of buckets is known. Each is assumed to hold the mean number of rows. At each
        step, the rows by which ``crowding`` exceeds that mean are added: rows that crowd in one
        bucket are likely near, so their codes are read.
        """
        cost = float(COSTS.query)
        for step in range(radius + 1):
            distance, table = divmod(step, len(lengths))
            n_probes = math.comb(lengths[table], distance)
            mean = self.n_rows / (1 << lengths[table])
            crowd = max(crowding[table] - max(mean, 1), 0)
            cost += n_probes * (COSTS.probe + mean * COSTS.entry)
            cost += crowd * (COSTS.entry + COSTS.code)
        return cost

    def nearest(
        self, top_k: int, sample_costs: Mapping[int, Sequence[int]], n_queries: int
    ) -> float:
        """Expected cost of the search for one query's ``top_k`` nearest rows.

        It is the mean cost of the sampled rows for the next larger number of neighbours, plus a
        scan for those that exceed the budget. Beyond the largest sampled number, all exceed it.
        """
        scan = self.scan(n_queries)
        budget = DEFAULT_BUDGET * scan
        samples = next((sample_costs[k] for k in sorted(sample_costs) if k >= top_k), ())
        if not samples:
            return budget + scan
        costs = [cost if cost <= budget else budget + scan for cost in samples]
        return COSTS.query + sum(costs) / len(costs)
