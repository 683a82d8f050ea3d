"""Finds all pairs of codes within a radius exactly, as a stream of blocks.

Two methods find the same pairs. With tables of substrings, as in multi-index hashing, each code is
compared only with the codes in the same few buckets. With few codes, or a large radius, it is
faster to compare all codes. A cost model decides before the tables are filled, and again after
that, because only then is it known whether codes crowd in few buckets.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import check_radius
from hashkit.errors import ConfigError
from hashkit.kernels.arrays import read_only
from hashkit.multi_index.costs import COSTS, Workload
from hashkit.multi_index.header import MAX_LENGTH
from hashkit.multi_index.tables import crowding, cut_bits, fill_tables
from hashkit.retrieval.hamming import RowDistances
from hashkit.threads import check_threads, run_parallel

if TYPE_CHECKING:
    from hashkit.kernels.buckets import Tables

__all__ = ["NO_PAIRS", "JoinEngine", "PairBlock", "hamming_join", "joined_pairs"]

JoinEngine: TypeAlias = Literal["auto", "numpy", "scan", "tables"]

_ENGINES: Final = ("auto", "numpy", "scan", "tables")

_BLOCK_PAIRS: Final = 1 << 20
"""Pairs after which a call ends: 8 MB of keys, and 18 MB as a block."""

_CALL_COST: Final = 300_000_000_000
"""Cost, in picoseconds, after which a call ends: Ctrl-C takes effect after a few calls."""

_FILL_ENTRY, _FILL_BUCKET = 15_000, 2_000
"""Cost, in picoseconds, of one entry and of one bucket of a table that is filled."""

_MIN_LENGTH: Final = 4
"""Fewest bits of a substring."""

_NUMPY_BYTES: Final = 64_000_000
"""Bytes of codes, counted once per left code, that NumPy compares while kernels would be loaded."""

_BUDGET: Final = 0.5
"""Maximum cost of one code's search in the tables, as a multiple of the cost of its scan."""

_MAX_LEFT: Final = 256
"""Most left codes per call of a scan; their numbers take 8 bits of a key."""

_MAX_SEARCHED: Final = 1 << 16
"""Most left codes per call of a search in tables."""

_FIRST_WIDTH: Final = 64
"""Left codes of the first call, before the number of their pairs is known."""

_ALL_KEPT: Final = read_only(np.empty(0, np.uint8))

_MAX_ROWS: Final = 1 << 40
"""Most rows: row numbers take 40 bits of a key."""


class PairBlock(NamedTuple):
    """Consecutive pairs of a join.

    Attributes
    ----------
    left, right
        int64 [m], row numbers in the first and in the second set of codes.
    distance
        uint16 [m], Hamming distances in bits.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.uint16]


def hamming_join(
    codes: NDArray[np.uint8],
    other: NDArray[np.uint8] | None,
    n_bits: int,
    radius: int,
    *,
    engine: JoinEngine = "auto",
    n_threads: int | None = None,
) -> Iterator[PairBlock]:
    """Find all pairs of codes within a radius, exactly, ordered by (left, right).

    Memory does not depend on the number of pairs: a block has about a million of them, or more
    if a single left row has more. All pairs of a left row are in one block. The tables take 8 bytes
    per row and substring.

    Parameters
    ----------
    codes
        Packed codes, uint8 [n, ceil(n_bits / 8)].
    other
        Packed codes of as many bits, uint8 [m, ceil(n_bits / 8)]; None for the pairs within
        ``codes``, each once, with ``left < right``.
    n_bits
        Number of bits of a code.
    radius
        Largest distance, in bits, from 0 to ``n_bits``.
    engine
        ``tables``, or ``scan`` to compare all codes; ``numpy`` does this without compiled kernels;
        ``auto`` decides. The pairs are the same.
    n_threads
        Number of threads; one per CPU by default.

    Returns
    -------
    Iterator
        Blocks of one or more pairs.

    Raises
    ------
    CodesError
        If the codes are not codes of ``n_bits`` bits.
    ConfigError
        If the radius or the number of threads is invalid, or no such engine exists.
    """
    codes = np.ascontiguousarray(check_codes(codes, n_bits))
    is_self = other is None
    right = codes if other is None else np.ascontiguousarray(check_codes(other, n_bits))
    radius = check_radius(radius, n_bits)
    threads = check_threads(n_threads, "n_threads")
    if engine not in _ENGINES:
        raise ConfigError(f"`engine` must be one of {', '.join(_ENGINES)}, not {engine!r}")
    if max(len(codes), len(right)) > _MAX_ROWS:
        raise ConfigError(f"expected at most {_MAX_ROWS:,} codes, found more: join parts of them")
    sides = _Sides(read_only(codes), read_only(right), is_self, n_bits, radius)
    return _joined(sides, engine, threads)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sides:
    """The arguments of a join."""

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    is_self: bool
    n_bits: int
    radius: int

    @property
    def workload(self) -> Workload:
        return Workload(len(self.right), self.right.shape[1])

    def scan_cost(self) -> float:
        """Cost per left code of comparing it with all right ones, with many left codes at once."""
        return self.workload.scan(_MAX_LEFT)


NO_PAIRS: Final = PairBlock(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint16))


def joined_pairs(blocks: Iterable[PairBlock]) -> PairBlock:
    """The pairs of all blocks, in their order."""
    return PairBlock(*map(np.concatenate, zip(NO_PAIRS, *blocks, strict=True)))


class _Found(NamedTuple):
    """The pairs of the first left codes of a call, and how many left codes these are."""

    pairs: PairBlock
    n_done: int


_Engine: TypeAlias = Callable[[int, int], _Found]
"""Finds the pairs of the left codes from one number to another, or of the first of these."""


def _joined(sides: _Sides, engine: JoinEngine, n_threads: int) -> Iterator[PairBlock]:
    n_compared = len(sides.left) * sides.right.size
    if not n_compared:
        return
    if engine == "numpy" or (engine == "auto" and n_compared <= _NUMPY_BYTES):
        yield from _by_numpy(sides)
        return
    tables = None if engine == "scan" else _tables(sides, engine == "tables", n_threads)
    if tables is None:
        most = min(_MAX_LEFT, max(1, int(_CALL_COST / sides.scan_cost())))
        yield from _stream(_Scan(sides), len(sides.left), most, n_threads)
    else:
        yield from _stream(_Search(sides, tables), len(sides.left), _MAX_SEARCHED, n_threads)


def _stream(engine: _Engine, n_left: int, most: int, n_threads: int) -> Iterator[PairBlock]:
    """Yield the pairs in order; a call takes about as many left codes as fill one block."""
    first, width = 0, min(most, _FIRST_WIDTH)
    while first < n_left:
        starts = range(first, min(first + n_threads * width, n_left), width)
        tasks = [functools.partial(engine, at, min(at + width, n_left)) for at in starts]
        largest = 0
        for at, found in zip(starts, run_parallel(tasks), strict=True):
            if len(found.pairs.left):
                yield found.pairs
            first = at + found.n_done
            largest = max(largest, len(found.pairs.left))
            if first < min(at + width, n_left):  # later calls are repeated with fewer codes
                width = max(1, found.n_done or width // 2)
                break
        else:
            if 2 * largest <= _BLOCK_PAIRS:
                width = min(2 * width, most)


class _Scan:
    """Compares all codes."""

    def __init__(self, sides: _Sides) -> None:
        self._sides = sides

    def __call__(self, first: int, last: int) -> _Found:
        from hashkit.kernels.pairs import join_by_scan, place_pairs

        sides = self._sides
        keys, is_done = join_by_scan(
            sides.left, first, last, sides.right, sides.is_self, sides.radius, _BLOCK_PAIRS
        )
        if not is_done:
            return _Found(NO_PAIRS, 0)
        n_pairs = len(keys)
        pairs = PairBlock(
            np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64), np.empty(n_pairs, np.uint16)
        )
        place_pairs(keys, first, *pairs)
        return _Found(pairs, last - first)


class _Search:
    """Searches in tables of the right codes."""

    def __init__(self, sides: _Sides, tables: Tables) -> None:
        self._sides = sides
        self._tables = tables
        self._budget = sides.workload.budget(_BUDGET, 1)

    def __call__(self, first: int, last: int) -> _Found:
        from hashkit.kernels.pairs import DISTANCE_BITS, join_by_tables

        costs = (COSTS.probe, COSTS.entry, COSTS.code)
        keys, ends = join_by_tables(
            self._tables,
            self._sides.left,
            first,
            last,
            self._sides.is_self,
            self._sides.radius,
            _ALL_KEPT,
            self._budget,
            costs,
            _BLOCK_PAIRS,
            _CALL_COST,
        )
        pairs = PairBlock(
            np.repeat(np.arange(first, first + len(ends) - 1), np.diff(ends)),
            (keys >> np.uint64(DISTANCE_BITS)).astype(np.int64),
            (keys & np.uint64((1 << DISTANCE_BITS) - 1)).astype(np.uint16),
        )
        return _Found(pairs, len(ends) - 1)


def _by_numpy(sides: _Sides) -> Iterator[PairBlock]:
    """Compare all codes, one left code at a time."""
    compare = RowDistances(sides.left)
    compare.load(sides.right)
    for left in range(len(sides.left)):
        distances = compare(left)
        near = distances <= sides.radius
        if sides.is_self:
            near[: left + 1] = False
        rows = np.flatnonzero(near)
        if len(rows):
            yield PairBlock(np.full(len(rows), left), rows, distances[rows].astype(np.uint16))


def _tables(sides: _Sides, is_wanted: bool, n_threads: int) -> Tables | None:
    """Tables of the right codes; None if comparing all codes is expected to take less time."""
    lengths = min(_splits(sides), key=functools.partial(_cost, sides), default=())
    scan = sides.scan_cost() * len(sides.left)
    if not lengths or (not is_wanted and _cost(sides, lengths) >= scan):
        return None
    tables = fill_tables(sides.right, lengths, n_threads)
    search = sides.workload.radius(sides.radius, lengths, crowding(tables)) * len(sides.left)
    return tables if is_wanted or search < scan else None


def _splits(sides: _Sides) -> Iterator[tuple[int, ...]]:
    """Lengths of the substrings to choose from.

    If there are more than ``radius`` substrings, near codes have one of the first ``radius + 1`` in
    common, so no others are needed.
    """
    fewest = -(-sides.n_bits // MAX_LENGTH)
    for n_tables in range(fewest, max(fewest, sides.n_bits // _MIN_LENGTH) + 1):
        yield cut_bits(sides.n_bits, len(sides.right), n_tables)[: sides.radius + 1]


def _cost(sides: _Sides, lengths: Sequence[int]) -> float:
    """Expected cost of filling tables and searching for each left code, if codes are uniform."""
    fill = sum(len(sides.right) * _FILL_ENTRY + (_FILL_BUCKET << length) for length in lengths)
    return fill + len(sides.left) * sides.workload.radius(sides.radius, lengths, [0] * len(lengths))
