"""What an index says of itself: its substrings, its costs, and the rows that it is of."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from hashkit.codes import code_size
from hashkit.inputs.numbers import whole_number
from hashkit.multi_index.tables import MAX_LENGTH

__all__ = ["IndexHeader", "header_fields", "header_of"]


@dataclasses.dataclass(frozen=True)
class IndexHeader:
    """The fields of an index file that are not arrays.

    Attributes
    ----------
    n_bits, n_rows
        Number of bits of a code, and of rows.
    substring_lengths, crowding, sample_costs
        As in `hashkit.multi_index.index.MultiIndex`.
    rows_digest
        `hashkit.rows_digest.codes_digest` of the rows: an index is of a database whose first
        `n_rows` rows have it.
    bank_identity, row_generation
        Those of the bank when the index was built, for messages; empty and 0 if unknown.
    """

    n_bits: int
    n_rows: int
    substring_lengths: tuple[int, ...]
    crowding: tuple[float, ...]
    sample_costs: Mapping[int, tuple[int, ...]]
    rows_digest: str
    bank_identity: str = ""
    row_generation: int = 0


def header_fields(header: IndexHeader) -> dict[str, Any]:
    """The fields as JSON-ready values."""
    fields = dataclasses.asdict(header)
    return fields | {"sample_costs": {str(k): costs for k, costs in header.sample_costs.items()}}


def header_of(fields: Mapping[str, Any]) -> IndexHeader:
    """The header from the values of `header_fields`; unknown fields are ignored.

    Raises
    ------
    KeyError, TypeError, ValueError, HashkitError
        If a field is missing or invalid.
    """
    header = IndexHeader(
        n_bits=_natural(fields["n_bits"]),
        n_rows=_natural(fields["n_rows"]),
        substring_lengths=tuple(map(_natural, fields["substring_lengths"])),
        crowding=tuple(map(_finite, fields["crowding"])),
        sample_costs={
            _natural_text(k): tuple(map(_natural, costs))
            for k, costs in _object(fields["sample_costs"]).items()
        },
        rows_digest=_text(fields["rows_digest"], "[0-9a-f]{64}"),
        bank_identity=_text(fields["bank_identity"], "|[0-9a-f]{32}"),
        row_generation=_natural(fields["row_generation"]),
    )
    code_size(header.n_bits)
    lengths = header.substring_lengths
    if sum(lengths) != header.n_bits or not 1 <= min(lengths) <= max(lengths) <= MAX_LENGTH:
        raise ValueError("the substrings do not add up to the code")
    if len(header.crowding) != len(lengths):
        raise ValueError("expected the crowding of each table")
    return header


def _natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"expected a number from 0, found {value!r}")
    return value


def _natural_text(text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise ValueError(f"expected a number of neighbours, found {text!r}")
    return _natural(number)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {value!r}")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value!r}")
    return float(value)


def _text(value: Any, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"expected a text of hexadecimal digits, found {value!r}")
    return value
