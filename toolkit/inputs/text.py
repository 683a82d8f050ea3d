"""Lines of text files."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Final

from hashkit.errors import HashkitError
from hashkit.inputs.opening import read_file

__all__ = ["decode_text", "read_numbered_lines", "shown"]

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_ENDS: Final = re.compile("\r\n|\r|\n")
_REMEDY: Final = "save the file as UTF-8"
_MAX_SHOWN: Final = 40


def read_numbered_lines(
    path: Path,
    error: type[HashkitError],
    what: str = "text",
    remedy: str = _REMEDY,
    *,
    keep_spaces: bool = False,
) -> list[tuple[int, str]]:
    """Line numbers, from 1, and stripped text of the lines that are not comments.

    A line that begins with ``#`` is a comment. Blank lines are kept, except those at the end; lines
    end as on Linux, Windows or early macOS.

    Parameters
    ----------
    error
        The exception to raise.
    what, remedy
        What the file should contain, and how to correct another encoding, for messages.
    keep_spaces
        Whether spaces, but not tabs, stay at the beginning and end of a line that is not blank.

    Raises
    ------
    HashkitError
        If the file cannot be read or is not UTF-8, with the line.
    """
    try:
        data = read_file(path, "text_bytes")
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None
    lines = _LINE_ENDS.split(decode_text(data, str(path), error, what, remedy))
    numbered = [(number, line, line.strip()) for number, line in enumerate(lines, start=1)]
    kept = [
        (number, line if keep_spaces and text == line.strip(" ") and text else text)
        for number, line, text in numbered
        if not text.startswith("#")
    ]
    while kept and not kept[-1][1]:
        kept.pop()
    return kept


def decode_text(
    data: bytes,
    path: str,
    error: type[HashkitError],
    what: str = "text",
    remedy: str = _REMEDY,
) -> str:
    """UTF-8 text, without a byte order mark.

    Raises
    ------
    HashkitError
        If it is not UTF-8, with the number of the line.
    """
    if data.startswith(_UTF16):
        raise error(f"{path}: expected {what} in UTF-8, found UTF-16: {remedy}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = fault.object[: fault.start].decode("latin-1")
        raise error(
            f"{path}, line {len(_LINE_ENDS.findall(before)) + 1}: expected {what} in UTF-8, "
            f"found the byte 0x{fault.object[fault.start]:02x}: {remedy}"
        ) from None


def shown(text: str) -> str:
    """A piece of a file for a message: quoted, escaped, at most 40 characters of it."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
