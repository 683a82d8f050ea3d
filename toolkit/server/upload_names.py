"""Names of uploads: paths below a folder, on every system, and nothing else."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Final

from hashkit.imaging.formats import readable_suffixes
from hashkit.messages.visible_text import visible
from hashkit.server.failures import RequestError

__all__ = ["check_root", "folded", "upload_path"]

_MOST_BYTES: Final = 1000
_MOST_PART_BYTES: Final = 200
"""Longest name of one folder or file; the temporary name of the file must fit too."""

_NOT_ON_WINDOWS: Final = frozenset('<>:"|?*')
_DEVICES: Final = frozenset(
    {
        *("con", "prn", "aux", "nul", "conin$", "conout$"),
        *(f"{kind}{n}" for kind in ("com", "lpt") for n in "0123456789\u00b9\u00b2\u00b3"),
    }
)
"""Names that Windows reserves for devices, with any suffix; a superscript counts as its digit."""


def folded(name: str) -> str:
    """A text that is the same for two names of one file on Windows or macOS.

    Both ignore case, and macOS also ignores whether an accent is a part of its letter or follows
    it.
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_root(folder: Path) -> None:
    """Check that the folder of uploads, a real path, is still where it was.

    If it, or a folder above it, was replaced by a link, all uploads would go elsewhere. If a disk
    was unmounted, a folder made again would not be on that disk.

    Raises
    ------
    RequestError
        503 if it is not.
    """
    if os.path.realpath(folder) != str(folder) or not folder.is_dir():
        raise RequestError(
            503,
            "no image can be added or removed now, as the folder of uploads is gone or was "
            "replaced by a link",
            {"Retry-After": "30"},
        )


def upload_path(folder: Path, name: str) -> Path:
    """Path of an upload below a folder, which no link leads out of.

    The name is a path with forward slashes. Its parts neither begin with a dot nor have characters
    or names that a system treats in its own way.

    Raises
    ------
    RequestError
        If the name is anything else, does not end as an image file does, or a link leads out of
        the folder.
    """
    _check_name(name)
    root = Path(os.path.realpath(folder))
    path = root / name
    if not Path(os.path.realpath(path.parent)).is_relative_to(root):
        raise RequestError(422, f"{name[:80]!r} leads out of the folder of uploads")
    return path


def _check_name(name: str) -> None:
    parts = name.split("/")
    fault = next((fault for part in parts if (fault := _fault_of(part)) is not None), None)
    if fault is None and len(name.encode(errors="replace")) > _MOST_BYTES:
        fault = f"more than {_MOST_BYTES} bytes"
    if fault is not None:
        raise RequestError(
            422, f"expected a name such as album/cat.jpg, found {fault} in {name[:80]!r}"
        )
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of a name, not of a path here
    if suffix not in (known := readable_suffixes()):
        raise RequestError(
            422, f"expected a name that ends in {', '.join(sorted(known))}, found {name[-40:]!r}"
        )


def _fault_of(part: str) -> str | None:
    if not part:
        return "an empty part"
    if part.startswith("."):
        return "a part that begins with a dot"
    if part.endswith((".", " ")) or part.startswith(" "):
        return "a part with a space or a dot at its end"
    if "\\" in part or any(character in _NOT_ON_WINDOWS for character in part):
        return "a character that some system does not allow"
    if visible(part) != part:
        return "a character that is not shown"
    if "\N{REPLACEMENT CHARACTER}" in part:
        return "text that is not UTF-8"
    if part.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        return "the name of a device"
    return f"a part of more than {_MOST_PART_BYTES} bytes" if _is_long(part) else None


def _is_long(part: str) -> bool:
    return len(part.encode()) > _MOST_PART_BYTES
