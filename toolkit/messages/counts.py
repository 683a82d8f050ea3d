"""Counts with their nouns, for messages."""

from __future__ import annotations

__all__ = ["plural"]


def plural(count: int, noun: str, several: str = "") -> str:
    """A count and its noun: ``1 image``, ``1,200 images``; ``several`` where an s is not enough."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
