"""Imports pyarrow, which reads Parquet files, when it is needed."""

from __future__ import annotations

from typing import Any

from hashkit.errors import MissingExtraError

__all__ = ["load_pyarrow"]


def load_pyarrow() -> Any:
    """Import pyarrow with its Parquet module.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "a Parquet file") from None
    return pyarrow
