"""The arguments of a search, checked."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown, whole_number
from hashkit.inputs.masks import unmasked

__all__ = ["Engine", "check_oversample", "check_settings", "chosen_rows", "split_rows"]

Engine: TypeAlias = Literal["auto", "scan", "index"]

_ENGINES: Final = get_args(Engine)


def check_oversample(oversample: int | None, has_logits: bool, radius: int | None) -> int | None:
    """The ``oversample`` of a search, checked against the other arguments; None if not given."""
    if oversample is None:
        return None
    oversample = whole_number(oversample, "oversample", 1, sys.maxsize)
    if not has_logits:
        raise ConfigError(
            "`oversample` needs the queries' logits, found none: give `logits`, or leave "
            "`oversample` out"
        )
    if radius is not None:
        raise ConfigError(
            "`oversample` cannot be combined with `radius`: all rows within a radius are found "
            "anyway; leave one of the two out"
        )
    return oversample


def check_settings(
    top_k: int | None, radius: int | None, engine: object, *, has_index: bool
) -> None:
    """Raise `ConfigError` unless a number of rows or a radius is given, and a known engine."""
    if top_k is None and radius is None:
        raise ConfigError("a search needs `top_k` or `radius`: neither was given")
    if not isinstance(engine, str) or engine not in _ENGINES:
        shown = argument_shown(engine)
        raise ConfigError(f"`engine` must be one of {', '.join(_ENGINES)}, not {shown}")
    if engine == "index" and not has_index:
        raise ConfigError(
            '`engine="index"` needs an index of the database, found none: build one with '
            "`hashkit index` or MultiIndex.build"
        )


def chosen_rows(where: NDArray[Any], n_rows: int) -> NDArray[np.bool_]:
    """``where`` as bool [n_rows]."""
    where = _checked_rows(where, n_rows)
    if where.dtype == np.bool_:
        return where
    chosen = np.zeros(n_rows, dtype=np.bool_)
    chosen[where] = True
    return chosen


def split_rows(where: NDArray[Any], first_rows: Sequence[int], n_rows: int) -> list[NDArray[Any]]:
    """``where`` for each of several parts of a database, in the part's own row numbers.

    Parameters
    ----------
    first_rows
        The first row of each part, in order; the parts have ``n_rows`` rows in all.
    """
    where = _checked_rows(where, n_rows)
    ranges = itertools.pairwise([*first_rows, n_rows])
    if where.dtype == np.bool_:
        return [where[first:stop] for first, stop in ranges]
    return [where[(where >= first) & (where < stop)] - first for first, stop in ranges]


def _checked_rows(where: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """``where`` as bool [n_rows] or integer [m], from 0 to ``n_rows - 1``."""
    where = unmasked(where, "`where`", ConfigError)
    try:
        where = np.asarray(where)
    except (ValueError, TypeError):
        raise ConfigError(
            f"`where` must be bool [{n_rows}] or row numbers [m], not {argument_shown(where)}"
        ) from None
    if where.ndim == 1 and not where.size:  # an empty list, whose type says nothing
        return np.empty(0, dtype=np.int64)
    if where.dtype == np.bool_ and where.shape == (n_rows,):
        return where
    if not np.issubdtype(where.dtype, np.integer) or where.ndim != 1:
        found = f"{where.dtype} {list(where.shape)}" if where.ndim else argument_shown(where.item())
        raise ConfigError(f"`where` must be bool [{n_rows}] or row numbers [m], not {found}")
    if len(where) and not 0 <= where.min() <= where.max() < n_rows:
        raise ConfigError(
            f"`where` must be rows from 0 to {n_rows - 1}, found {where.min()} to {where.max()}"
        )
    return where
