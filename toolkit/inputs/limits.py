"""Limits on what a file can make hashkit read or allocate; all of them can be raised.

A small file can require any amount of memory, for example as a compressed array, an image of a
single colour, or a sparse file. Readers therefore check sizes before they allocate memory.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown

__all__ = ["LIMITS", "Limits", "TooLargeError", "check_limit", "limits", "set_limits"]

_LEAST: Final = 1


def _limit(default: int, text: str) -> Any:
    """A field with its help text."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest sizes that are read; each field's ``help`` describes it."""

    image_pixels: int = _limit(89_478_485, "Pixels of an image.")
    image_bytes: int = _limit(2**30, "Bytes of an image file.")
    text_bytes: int = _limit(2**30, "Bytes of a text file: list, labels, codes, lines of JSON.")
    json_bytes: int = _limit(2**26, "Bytes of a JSON document, such as config.json.")
    model_bytes: int = _limit(2**31, "Bytes of a model file.")
    array_bytes: int = _limit(
        2**31, "Bytes of an array that a file stores compressed, if the file itself is smaller."
    )


LIMITS: Final = tuple(field.name for field in dataclasses.fields(Limits))
"""Names of the limits."""

_current = Limits()


class TooLargeError(OSError):
    """A file, or something in it, that exceeds a limit; readers convert it into their own error.

    Attributes
    ----------
    strerror
        What was found, what is allowed, and how to raise the limit.
    """


def limits() -> Limits:
    """The limits of this process."""
    return _current


def set_limits(
    *,
    image_pixels: int | None = None,
    image_bytes: int | None = None,
    text_bytes: int | None = None,
    json_bytes: int | None = None,
    model_bytes: int | None = None,
    array_bytes: int | None = None,
) -> Limits:
    """Change limits for the whole process, as ``hashkit COMMAND --limit NAME=NUMBER`` does.

    Parameters
    ----------
    image_pixels, ..., array_bytes
        See `Limits`; None keeps a limit.

    Returns
    -------
    Limits
        The previous limits, for example to restore them.

    Raises
    ------
    ConfigError
        If a limit is not an integer of at least 1.
    """
    global _current
    given = {
        "image_pixels": image_pixels,
        "image_bytes": image_bytes,
        "text_bytes": text_bytes,
        "json_bytes": json_bytes,
        "model_bytes": model_bytes,
        "array_bytes": array_bytes,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if type(value) is not int or value < _LEAST:
            raise ConfigError(
                f"`{name}` must be a whole number from {_LEAST}, not {argument_shown(value)}"
            )
    before, _current = _current, dataclasses.replace(_current, **changes)
    return before


def check_limit(
    name: str, size: int, what: str, path: str | os.PathLike[str], *, on_disk: int = 0
) -> None:
    """Raise TooLargeError if a size exceeds a limit.

    Parameters
    ----------
    name
        A name of `LIMITS`.
    size
        Bytes, or pixels.
    what
        What has this size, for the message: the subject of "... has 5 bytes".
    path
        The file.
    on_disk
        Bytes that the file takes on the disk; this many may be read, whatever the limit.
    """
    allowed = max(getattr(_current, name), on_disk)
    if size > allowed:
        unit = name.rpartition("_")[2]
        # No errno: the remedies for one are about writing.
        raise TooLargeError(
            0,
            f"{what} has {size:,} {unit}, more than the {allowed:,} allowed; if you trust it, "
            f"raise the limit with `hashkit.set_limits({name}={size})`",
            os.fspath(path),
        )
