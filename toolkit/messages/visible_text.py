"""Text in which names and values from files cannot act on a terminal, or pose as another message.

A file or a class may have any name, and a terminal obeys what is printed: escape sequences move the
cursor, change the title or the clipboard, and make links; other characters reverse the direction of
text, or hide it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["visible"]

_HIDDEN: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters; ESC, and CSI in one byte, are among them
    "\xad\u034f\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff"  # invisible; joiners are letters' own
    "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and a sign that are blank
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of text
    "\u2028\u2029"  # line and paragraph separators
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # annotations, formats
    "\U000e0000-\U000e007f"  # tags
    "\ud800-\udfff"  # lone surrogates: bytes of names that are not UTF-8
    "]"
)
_BYTES: Final = range(0xDC80, 0xDD00)
"""Surrogates by which Python keeps bytes that are not UTF-8."""


def visible(text: str) -> str:
    r"""The text with ``\x1b``, ``\u202e`` and so on in place of control and hidden characters.

    Line breaks and tabs are replaced too: a name with a line break could pose as a message.
    """
    return _HIDDEN.sub(_escaped, text)


def _escaped(character: re.Match[str]) -> str:
    number = ord(character[0])
    if number in _BYTES:
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x100:
        return {9: "\\t", 10: "\\n", 13: "\\r"}.get(number, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
