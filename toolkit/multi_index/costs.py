"""What searches cost: by the tables of an index, and by a scan of the database.

All costs are in picoseconds of the machine that docs/multi-index.md names, which
``tests/benchmarks/bench_multi_index.py`` measures anew. Only their ratios matter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["COSTS", "DEFAULT_BUDGET", "SAMPLED_TOP_K", "Costs", "Workload"]


@dataclasses.dataclass(frozen=True)
class Costs:
    """What the parts of a search cost, in picoseconds.

    Attributes
    ----------
    query
        Beginning and ending the search of one query.
    probe
        Looking into a bucket, mostly waiting for its memory.
    entry
        Comparing the sketch of one entry of it.
    code
        Reading the code of an entry whose sketch is near, and keeping its row.
    scan_word
        Comparing 8 bytes of a code with a query in a scan.
    stream_word
        Bringing 8 bytes of a code to the processor in a scan, once for all its queries.
    """

    query: int = 350_000
    probe: int = 27_000
    entry: int = 1_100
    code: int = 80_000
    scan_word: int = 190
    stream_word: int = 350


COSTS: Final = Costs()

DEFAULT_BUDGET: Final = 0.5
"""What a query may cost before it is given up, as a multiple of its scan. Few queries cost an
index between a half and the whole of a scan, and all that cost more lose the less."""

SAMPLED_TOP_K: Final = (1, 10, 100, 1000)
"""Numbers of neighbours for which an index measures what they cost."""

_UNLIMITED: Final = 1 << 62


@dataclasses.dataclass(frozen=True)
class Workload:
    """Searches of one database.

    Attributes
    ----------
    n_rows, size
        Rows of the database, and bytes of a code.
    """

    n_rows: int
    size: int

    def scan(self, n_queries: int) -> float:
        """What a scan costs one of ``n_queries`` queries, 1 or more, that are scanned together."""
        n_words = self.n_rows * -(-self.size // 8)
        return n_words * (COSTS.scan_word + COSTS.stream_word / n_queries)

    def budget(self, share: float, n_queries: int) -> int:
        """What a query may cost; ``share`` is a multiple of its scan, ``math.inf`` any."""
        return int(min(share * self.scan(n_queries), _UNLIMITED)) if share else 0

    def radius(self, radius: int, lengths: Sequence[int], crowding: Sequence[float]) -> float:
        """What the search of one query within ``radius`` is expected to cost.

        The number of buckets is known. They are taken to hold as many rows as all buckets in the
        mean, and more by what shares a bucket with a row of the database beyond that mean: rows
        that crowd there are likely near, so that their codes are read.
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
        """What the search of one query's ``top_k`` nearest rows is expected to cost.

        It is what the sampled rows cost for the next larger number of neighbours, with the scan
        of those that go beyond the budget. For more neighbours than were sampled, all do.
        """
        scan = self.scan(n_queries)
        budget = DEFAULT_BUDGET * scan
        samples = next((sample_costs[k] for k in sorted(sample_costs) if k >= top_k), ())
        if not samples:
            return budget + scan
        costs = [cost if cost <= budget else budget + scan for cost in samples]
        return COSTS.query + sum(costs) / len(costs)
