"""Lines of text files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hashkit.errors import HashkitError
from hashkit.inputs.opening import open_file, read_file
from hashkit.messages.os_errors import cannot_read

__all__ = ["decode_text", "read_numbered_lines", "shown", "stream_numbered_lines"]

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_ENDS: Final = re.compile("\r\n|\r|\n")
_REMEDY: Final = "save the file as UTF-8"
_MAX_SHOWN: Final = 40
_BLOCK_BYTES: Final = 1 << 20
_LONGEST_LINE: Final = 16 << 20


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
        If the file cannot be read or is not UTF-8; the message names the line.
    """
    try:
        data = read_file(path, "text_bytes")
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None
    kept = list(
        _not_comments(
            _LINE_ENDS.split(decode_text(data, str(path), error, what, remedy)),
            1,
            keep_spaces=keep_spaces,
        )
    )
    while kept and not kept[-1][1]:
        kept.pop()
    return kept


def stream_numbered_lines(
    path: Path,
    error: type[HashkitError],
    what: str = "text",
    remedy: str = _REMEDY,
    *,
    keep_spaces: bool = False,
) -> Iterator[tuple[int, str]]:
    """The lines of `read_numbered_lines` without blank ones, for a file of any size.

    Raises
    ------
    HashkitError
        If the file cannot be read, is not UTF-8, or has a line of more than 16 MiB.
    """
    first = 1
    try:
        for block in _whole_lines(path, error):
            text = decode_text(block, str(path), error, what, remedy, first_line=first)
            lines = _LINE_ENDS.split(text)
            yield from (
                (at, line)
                for at, line in _not_comments(lines, first, keep_spaces=keep_spaces)
                if line
            )
            first += len(lines) - 1
    except OSError as fault:
        raise error(cannot_read(fault, path)) from None


def _not_comments(lines: list[str], first: int, *, keep_spaces: bool) -> Iterator[tuple[int, str]]:
    """The lines that are not comments, with their numbers from ``first``."""
    for number, line in enumerate(lines, start=first):
        text = line.strip()
        if not text.startswith("#"):
            yield number, line if keep_spaces and text == line.strip(" ") and text else text


def _whole_lines(path: Path, error: type[HashkitError]) -> Iterator[bytes]:
    """The bytes of a file in blocks that end where a line ends."""
    with open_file(path) as file:
        rest = b""
        while piece := file.read(_BLOCK_BYTES):
            rest += piece
            # A carriage return at the end may be half of a line break.
            end = rest.rfind(b"\n") + 1 or rest.rfind(b"\r", 0, len(rest) - 1) + 1
            if end:
                yield rest[:end]
                rest = rest[end:]
            elif len(rest) > _LONGEST_LINE:
                raise error(
                    f"{path}: expected lines of at most {_LONGEST_LINE >> 20} MiB, found a longer "
                    "one: break the lines, or give a list of images"
                )
        if rest:
            yield rest


def decode_text(
    data: bytes,
    path: str,
    error: type[HashkitError],
    what: str = "text",
    remedy: str = _REMEDY,
    *,
    first_line: int = 1,
) -> str:
    """UTF-8 text, without a byte order mark.

    Parameters
    ----------
    first_line
        Number of the line that ``data`` begins with, for messages.

    Raises
    ------
    HashkitError
        If it is not UTF-8; the message names the line.
    """
    if first_line == 1 and data.startswith(_UTF16):
        raise error(f"{path}: expected {what} in UTF-8, found UTF-16: {remedy}")
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as fault:
        before = fault.object[: fault.start].decode("latin-1")
        line = len(_LINE_ENDS.findall(before)) + first_line
        raise error(
            f"{path}, line {line}: expected {what} in UTF-8, "
            f"found the byte 0x{fault.object[fault.start]:02x}: {remedy}"
        ) from None


def shown(text: str) -> str:
    """A piece of a file for a message: quoted, escaped, at most 40 characters of it."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
