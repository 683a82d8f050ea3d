"""Masked arrays of NumPy: their entries without a value must not pass as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hashkit.errors import CodesError, HashkitError

__all__ = ["unmasked"]


def unmasked(value: Any, what: str, error: Callable[[str], HashkitError] = CodesError) -> Any:
    """Convert a masked array without masked entries to a plain array; others are unchanged.

    Some functions of NumPy use the numbers under a mask, and others leave them out.

    Parameters
    ----------
    what
        What it is, for the message.

    Raises
    ------
    HashkitError
        ``error``, if entries are masked, including in the arrays of a list.
    """
    if isinstance(value, list | tuple):
        n_masked = sum(_n_masked(one) for one in value if isinstance(one, np.ma.MaskedArray))
    elif isinstance(value, np.ma.MaskedArray):
        n_masked = _n_masked(value)
        value = value.data
    else:
        return value
    if n_masked:
        number = "one masked entry" if n_masked == 1 else f"{n_masked:,} masked entries"
        raise error(
            f"{what} must have a value in every entry, found {number}: leave these rows out, or "
            "fill them, for example `labels.filled(-1)` where a label is unknown"
        )
    return value


def _n_masked(array: np.ma.MaskedArray[Any, Any]) -> int:
    return int(np.count_nonzero(np.ma.getmaskarray(array)))
