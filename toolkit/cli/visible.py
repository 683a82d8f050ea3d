"""Log records and results for a terminal, safe from control characters in names from files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hashkit.messages.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["VisibleFormatter", "result_console"]


class VisibleFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's message in one line."""
        return visible(super().format(record))


def result_console() -> Console:
    """Console for results on standard output; texts, cells and titles are made `visible`."""
    from rich.console import Console

    class Results(Console):
        """Renders texts as they are: a name is neither markup nor an emoji."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(visible(text), **options)

    return Results(markup=False, emoji=False, highlight=False)
