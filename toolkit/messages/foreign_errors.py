"""Messages of other libraries' exceptions, as one line of plain text."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["foreign_message", "root_message"]

_MAX_LENGTH: Final = 300

_ESCAPE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[ -/]*[0-~]?"
)
_SENTENCE_END: Final = re.compile(r"[.!;:](?= )")


def foreign_message(error: BaseException, max_length: int = _MAX_LENGTH) -> str:
    """Message of an exception of another library as one line; the name of its type if it is empty.

    Escape sequences and control characters are removed, and lines are joined. A text longer than
    ``max_length`` ends after a sentence, or otherwise after a word, with ``...``.
    """
    return _shortened(_plain(str(error)) or type(error).__name__, max_length)


def root_message(error: BaseException, max_length: int = _MAX_LENGTH) -> str:
    """First paragraph of an exception's original cause, in the form of `foreign_message`.

    For libraries that wrap the reason in messages about themselves, such as torch's exporter.
    """
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen and str(cause).strip():
        seen.add(id(cause))
        error = cause
    paragraph = re.split(r"\n\s*\n", str(error).strip())[0]
    return _shortened(_plain(paragraph) or type(error).__name__, max_length)


def _plain(text: str) -> str:
    text = _ESCAPE.sub("", text)
    # A character that does not print may be a control character or change the reading direction.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shortened(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    kept = text[: max_length - 4]
    ends = [found.start() for found in _SENTENCE_END.finditer(kept)]
    if ends and ends[-1] > max_length // 3:
        return kept[: ends[-1]].rstrip() + " ..."
    return kept.rpartition(" ")[0] + " ..." if " " in kept else kept + " ..."
