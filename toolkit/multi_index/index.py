"""Multi-index hashing: finds the rows near a query exactly, without comparing all rows.

Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", arXiv
1307.2982. The codes are split into substrings, and for each substring a table lists the rows by its
value. A row within distance r of a query differs from it in few bits in at least one substring, so
only few buckets of the tables need to be probed (`kernels/bucket_search.py` has the proof).
docs/multi-index.md describes when this is useful, and the file format.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import check_radius
from hashkit.errors import ConfigError, IndexMismatchError
from hashkit.inputs.arguments import checked_arguments, real_number, whole_number
from hashkit.kernels.arrays import read_only
from hashkit.multi_index.binding import IndexedRows, digested, is_same_memory, is_start_of, mismatch
from hashkit.multi_index.costs import COSTS, DEFAULT_BUDGET, SAMPLED_TOP_K, Workload
from hashkit.multi_index.file import Contents, read_index, unfit, write_index
from hashkit.multi_index.header import IndexHeader
from hashkit.multi_index.results import MultiIndexResult, SearchedPart, joined, nothing
from hashkit.multi_index.tables import Progress, assemble_tables, crowding, cut_bits, fill_tables
from hashkit.threads import check_threads, run_parallel

if TYPE_CHECKING:
    from hashkit.kernels.buckets import Tables

__all__ = ["MultiIndex", "MultiIndexResult", "Progress", "index_path"]

_N_SAMPLES: Final = 32
_PARALLEL_COST: Final = 200_000_000  # picoseconds below which starting threads gains nothing
_ALL_KEPT: Final = read_only(np.empty(0, np.uint8))


def index_path(bank_path: str | os.PathLike[str]) -> Path:
    """Path of a bank's index: beside the bank, with ``.mih`` appended to its name."""
    path = Path(bank_path)
    return path.with_name(path.name + ".mih")


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class MultiIndex:
    """Tables of the substrings of codes; made by `build` or `open`.

    The codes are not copied, so they can be those of a mapped bank. An index covers the first rows
    of a database. It stays valid when rows are added or deleted; a search compares added rows one
    by one.

    Attributes
    ----------
    n_bits
        Number of bits of a code.
    substring_lengths
        Number of bits of each table's substring, longer ones first; they differ by at most 1.
    crowding
        For each table, the mean number of rows in a row's bucket, including the row itself.
    sample_costs
        By number of neighbours, the cost of finding them for each of some sampled rows, in the unit
        of `COSTS`. A row whose search was abandoned costs more than a scan.
    """

    n_bits: int
    substring_lengths: tuple[int, ...]
    crowding: tuple[float, ...]
    sample_costs: Mapping[int, tuple[int, ...]]
    _tables: Tables
    _header: IndexHeader

    @classmethod
    @checked_arguments
    def build(
        cls,
        database: IndexedRows,
        n_bits: int | None = None,
        *,
        n_tables: int | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> MultiIndex:
        """Build the tables of codes.

        Parameters
        ----------
        database
            A bank or code set, or packed codes, uint8 [n, ceil(n_bits / 8)]; copied only if they
            are not contiguous. Deleted rows are included.
        n_bits
            Number of bits of a code: required for an array.
        n_tables
            Number of substrings; by default chosen so that each bucket holds a few rows.
        n_threads
            Number of threads, each filling one table at a time; one per CPU by default.
        progress
            Called from any of the threads, one call at a time.

        Raises
        ------
        CodesError
            If the codes are not codes of ``n_bits`` bits.
        ConfigError
            If ``n_tables`` gives substrings without bits or of more than 24 bits.
        """
        source = digested(database, n_bits)
        codes = check_codes(source.codes, source.n_bits, "database codes")
        lengths = cut_bits(source.n_bits, len(codes), n_tables)
        tables = fill_tables(codes, lengths, check_threads(n_threads, "n_threads"), progress)
        header = IndexHeader(
            source.n_bits,
            len(codes),
            lengths,
            crowding(tables),
            {},
            source.rows_digest(len(codes)),
            source.identity,
            source.row_generation,
        )
        costs = cls._of(header, tables)._measure_samples()
        texts = {str(top_k): measured_costs for top_k, measured_costs in costs.items()}
        return cls._of(dataclasses.replace(header, sample_costs=texts), tables)

    @classmethod
    @checked_arguments
    def open(cls, path: str | os.PathLike[str], database: IndexedRows) -> MultiIndex:
        """Open a saved index, mapped from its file, for the database whose first rows it covers.

        Parameters
        ----------
        database
            A bank, whose digest is computed from its checksums; or a code set or packed codes,
            uint8 [n, size], which are read completely: half a second per gigabyte.

        Raises
        ------
        IndexMismatchError
            If there is no such file, it is not an index, it is damaged, or it does not match the
            first rows of the database. To fix any of these, build the index again.
        """
        contents = read_index(Path(path))
        header = contents.header
        n_bits = header.n_bits if isinstance(database, np.ndarray) else None
        source = digested(database, n_bits)
        reason = mismatch(header, source)
        if reason is not None:
            raise unfit(Path(path), reason)
        tables = assemble_tables(
            source.codes[: header.n_rows],
            header.substring_lengths,
            contents.offsets,
            contents.rows,
            contents.sketches,
        )
        return cls._of(header, tables)

    @checked_arguments
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file atomically.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        tables = self._tables
        contents = Contents(self._header, tables.offsets, tables.rows, tables.sketches)
        write_index(Path(path), contents)

    @classmethod
    def _of(cls, header: IndexHeader, tables: Tables) -> MultiIndex:
        return cls(
            header.n_bits,
            header.substring_lengths,
            header.crowding,
            {int(top_k): costs for top_k, costs in header.sample_costs.items()},
            tables,
            header,
        )

    def __repr__(self) -> str:
        lengths = "+".join(str(length) for length in self.substring_lengths)
        return f"<MultiIndex: {self.n_rows} codes of {self.n_bits} bits, cut into {lengths}>"

    @property
    def n_rows(self) -> int:
        """Number of rows of the database."""
        return len(self._tables.codes)

    @property
    def n_tables(self) -> int:
        """Number of tables, one per substring."""
        return len(self.substring_lengths)

    @property
    def nbytes(self) -> int:
        """Size of the tables in bytes, without the codes."""
        return self._tables.offsets.nbytes + self._tables.rows.nbytes + self._tables.sketches.nbytes

    def is_of(
        self, codes: Sequence[NDArray[np.uint8]], rows_digest: Callable[[int], str] | None = None
    ) -> bool:
        """Whether the index matches the first rows of a database.

        Parameters
        ----------
        codes
            uint8 [n_i, size], the parts of the database. They are compared with the index's codes,
            unless they share the same memory, such as those of one open bank.
        rows_digest
            Returns the digest of the database's first rows, which avoids the comparison.
        """
        own = self._tables.codes
        if rows_digest is None or is_same_memory(own, codes[0]):
            return is_start_of(own, codes)
        return rows_digest(self.n_rows) == self._header.rows_digest

    def search(
        self,
        query_codes: NDArray[np.uint8],
        *,
        radius: int | None = None,
        top_k: int | None = None,
        kept: NDArray[Any] | None = None,
        budget: float = DEFAULT_BUDGET,
        n_threads: int | None = None,
    ) -> MultiIndexResult:
        """Find the rows near each query: the same as by a scan, in the same order.

        Parameters
        ----------
        query_codes
            Packed codes, uint8 [q, ceil(n_bits / 8)].
        radius
            Largest distance, in bits, from 0 to the bits of a code.
        top_k
            Number of rows per query, 0 or more; with ``radius``, at most this many within it.
        kept
            bool or uint8 [n], the rows to search: false or 0 leaves a row out; all by default.
        budget
            Maximum cost of a query before it is abandoned, as a multiple of the cost of a scan. So
            a search and the scans of abandoned queries take at most ``1 + budget`` times as long as
            scanning alone. With ``math.inf`` no query is abandoned.
        n_threads
            Number of threads, each searching for part of the queries; one per CPU by default.

        Returns
        -------
        MultiIndexResult
            Abandoned queries are marked and have no entries; use a scan for them.

        Raises
        ------
        CodesError
            If the query codes do not have ``n_bits`` bits.
        ConfigError
            If neither ``radius`` nor ``top_k`` is given, or an argument is invalid.
        IndexMismatchError
            If the tables are damaged.
        """
        query_codes = check_codes(query_codes, self.n_bits, "query codes")
        search_radius, limit = self._limits(radius, top_k)
        kept = _checked_kept(kept, self.n_rows)
        budget = real_number(budget, "budget", 0, is_finite=False)
        n_threads = check_threads(n_threads, "n_threads")
        if not limit or not len(query_codes):
            return joined([nothing(len(query_codes))])
        allowed = self._workload().budget(budget, len(query_codes))
        run = functools.partial(
            self._run, kept=kept, radius=search_radius, limit=limit, budget=allowed
        )
        n_parts = self._n_parts(len(query_codes), radius, top_k, n_threads)
        if n_parts == 1:
            return joined([run(query_codes)])
        parts = np.array_split(query_codes, n_parts)
        return joined(run_parallel([functools.partial(run, part) for part in parts]))

    def relative_cost(
        self, n_queries: int, *, radius: int | None = None, top_k: int | None = None
    ) -> float:
        """Expected cost of a query, as a multiple of the cost of its scan.

        With ``radius``, the number of buckets to probe is known. For ``top_k``, the cost was
        measured for sampled rows when the index was built, so it holds for queries like them.

        Parameters
        ----------
        n_queries
            Number of queries in the batch; a scan reads the database once for all of them.

        Raises
        ------
        ConfigError
            If neither ``radius`` nor ``top_k`` is given, or one is negative.
        """
        _, limit = self._limits(radius, top_k)
        if not limit or not n_queries:
            return 0.0
        workload = self._workload()
        return self._cost(workload, n_queries, radius, top_k) / workload.scan(n_queries)

    def predicts_gain(
        self, n_queries: int, *, radius: int | None = None, top_k: int | None = None
    ) -> bool:
        """Whether a search is expected to be faster than a scan; see `relative_cost`."""
        return self.relative_cost(n_queries, radius=radius, top_k=top_k) < 1

    def _workload(self) -> Workload:
        return Workload(self.n_rows, self._tables.codes.shape[1])

    def _cost(
        self, workload: Workload, n_queries: int, radius: int | None, top_k: int | None
    ) -> float:
        costs = []
        if radius is not None:
            costs.append(workload.radius(radius, self.substring_lengths, self.crowding))
        if top_k is not None:
            costs.append(workload.nearest(top_k, self.sample_costs, n_queries))
        return min(costs)

    def _n_parts(
        self, n_queries: int, radius: int | None, top_k: int | None, n_threads: int
    ) -> int:
        """Number of parts of the queries that are worth a thread each."""
        if n_queries == 1 or n_threads == 1:
            return 1
        cost = self._cost(self._workload(), n_queries, radius, top_k) * n_queries
        return min(n_threads, n_queries) if cost >= _PARALLEL_COST else 1

    def _limits(self, radius: int | None, top_k: int | None) -> tuple[int, int]:
        """Radius and number of rows, limited by the number of bits and of rows."""
        if radius is None and top_k is None:
            raise ConfigError("a search needs `top_k` or `radius`: neither was given")
        limit, reach = self.n_rows, self.n_bits
        if top_k is not None:
            limit = min(whole_number(top_k, "top_k", 0), limit)
        if radius is not None:
            reach = check_radius(radius, reach)
        return reach, limit

    def _run(
        self,
        query_codes: NDArray[np.uint8],
        *,
        kept: NDArray[np.uint8],
        radius: int,
        limit: int,
        budget: int,
    ) -> SearchedPart:
        from hashkit.kernels.bucket_search import search_tables

        costs = (COSTS.probe, COSTS.entry, COSTS.code)
        found = SearchedPart(
            *search_tables(self._tables, read_only(query_codes), kept, radius, limit, budget, costs)
        )
        if found.is_damaged:
            raise IndexMismatchError("the tables of the index are damaged: build the index again")
        return found

    def _measure_samples(self) -> dict[int, tuple[int, ...]]:
        """Measure `sample_costs` for rows spread over the database."""
        n_samples = min(_N_SAMPLES, self.n_rows)
        rows = np.linspace(0, self.n_rows - 1, n_samples).astype(np.int64)
        budget = self._workload().budget(1, 1)
        measured = {}
        for top_k in SAMPLED_TOP_K:
            limit = min(top_k + 1, self.n_rows)  # each row also finds itself
            run = functools.partial(
                self._run, kept=_ALL_KEPT, radius=self.n_bits, limit=limit, budget=budget
            )
            found = [run(self._tables.codes[row : row + 1]) for row in rows]
            measured[top_k] = tuple(int(one.spent[0]) for one in found)
        return measured


def _checked_kept(kept: NDArray[Any] | None, n_rows: int) -> NDArray[np.uint8]:
    if kept is None:
        return _ALL_KEPT
    if kept.dtype not in (np.bool_, np.uint8) or kept.shape != (n_rows,):
        raise ConfigError(
            f"`kept` must be bool or uint8 [{n_rows}], not {kept.dtype} {list(kept.shape)}"
        )
    return read_only(np.ascontiguousarray(kept).view(np.uint8))
