"""Sizes of files as text."""

from __future__ import annotations

__all__ = ["file_size"]


def file_size(n_bytes: int) -> str:
    """A size in bytes with a suitable unit: ``12 bytes``, ``3.4 MB``."""
    size, unit = float(n_bytes), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
