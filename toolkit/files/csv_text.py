"""Tables of comma-separated values as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from hashkit.messages.visible_text import visible

__all__ = ["csv_text"]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""A line with the columns, and a line for each row, each ended by a line feed.

    A field with a comma or a quote is enclosed in double quotes, and a double quote in it is
    doubled (RFC 4180). Control characters, including line breaks, and bytes of names that are not
    UTF-8 are written as ``\x1b``, ``\n``, ``\xff`` and so on, as on a terminal
    (`hashkit.messages.visible_text`): people print such files, and a row is one line. JSON output
    has the original names.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([visible(one) if isinstance(one, str) else one for one in row])
    return text.getvalue()
