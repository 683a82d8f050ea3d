"""Cuts the shards of a database into groups of about equal size, one for each actor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["group_bounds"]


def group_bounds(sizes: Sequence[int], n_groups: int) -> list[tuple[int, int]]:
    """First shard of each group, and the one behind its last.

    Groups are consecutive, none is empty, and there are fewer than ``n_groups`` if there are fewer
    shards.

    Parameters
    ----------
    sizes
        Rows of each shard.
    """
    n_groups = max(1, min(n_groups, len(sizes)))
    total, ends = sum(sizes), list(itertools.accumulate(sizes))
    bounds = [0]
    for number in range(1, n_groups):
        # The cut that is nearest to an equal share, with a shard left for every other group.
        least, most = bounds[-1] + 1, len(sizes) - (n_groups - number)
        share = total * number / n_groups
        bounds.append(min(range(least, most + 1), key=lambda cut: abs(ends[cut - 1] - share)))
    return list(itertools.pairwise([*bounds, len(sizes)]))
