"""The fields of an index file: its substrings, its costs, and the rows that it covers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

from hashkit.codes import code_size
from hashkit.errors import IndexMismatchError

__all__ = ["MAX_LENGTH", "IndexHeader"]

MAX_LENGTH: Final = 24
"""Most bits of a substring. A table has a bucket for each value, so 24 bits take 64 MiB."""


@dataclasses.dataclass(frozen=True)
class IndexHeader:
    """The fields of an index file that describe it, without its arrays.

    Attributes
    ----------
    n_bits, n_rows
        Number of bits of a code, and of rows.
    substring_lengths, crowding
        As in `hashkit.multi_index.index.MultiIndex`.
    sample_costs
        The same, but the numbers of neighbours are texts.
    rows_digest
        `hashkit.rows_digest.codes_digest` of the rows; an index belongs to a database whose first
        `n_rows` rows have this digest.
    bank_identity, row_generation
        Those of the bank when the index was built, for messages; empty and 0 if unknown.

    Raises
    ------
    IndexMismatchError, CodesError
        If a value is out of range.
    """

    n_bits: int
    n_rows: int
    substring_lengths: tuple[int, ...]
    crowding: tuple[float, ...]
    sample_costs: Mapping[str, tuple[int, ...]]
    rows_digest: str
    bank_identity: str
    row_generation: int

    def __post_init__(self) -> None:
        code_size(self.n_bits)
        lengths = self.substring_lengths
        costs = [cost for costs in self.sample_costs.values() for cost in costs]
        is_possible = (
            sum(lengths) == self.n_bits
            and 1 <= min(lengths) <= max(lengths) <= MAX_LENGTH
            and len(self.crowding) == len(lengths)
            and min(self.n_rows, self.row_generation, *costs, 0) == 0
            and all(re.fullmatch("[0-9]{1,18}", top_k) for top_k in self.sample_costs)
            and re.fullmatch("[0-9a-f]{64}", self.rows_digest)
            and re.fullmatch("|[0-9a-f]{32}", self.bank_identity)
        )
        if not is_possible:
            raise IndexMismatchError("its fields do not agree with each other")
