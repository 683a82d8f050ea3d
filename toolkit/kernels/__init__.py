"""Compiled inner loops in Numba: search, histograms and multi-index hashing.

No module outside this folder imports Numba. Modules with kernels are imported inside functions,
because loading Numba and compiled code takes a third of a second, which importing hashkit or a
small search must not cost.

Names used here, in `hashkit.retrieval` and in `hashkit.multi_index`:

radius, radii
    The largest distance wanted, inclusive; ``radii``, int64 [q], has one per query.
bound, bounds
    Exclusive limit: only rows at a smaller distance are taken. It starts at radius + 1, and falls
    to the distance of the k-th nearest row as rows are found.
kept
    Mask of the rows to search, bool [n]: neither deleted nor excluded by ``where``. In kernels, an
    empty array stands for all rows.
"""
