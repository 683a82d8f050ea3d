"""Keeps libtiff from printing errors on standard error, which Pillow raises as well.

Pillow turns off libtiff's warnings, for the whole process, but not its errors. They would appear
between the lines of a command, without the name of the file.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path

import PIL

__all__ = ["silence_libtiff"]


@functools.cache
def silence_libtiff() -> None:
    """Turn off the messages of the libtiff that Pillow's wheels contain.

    Other builds of Pillow still print them. The paths for macOS and Windows have not been tried.
    """
    for path in _libraries():
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))  # the one that Pillow has loaded
            library.TIFFSetErrorHandler(None)
            library.TIFFSetErrorHandlerExt(None)


def _libraries() -> Iterator[Path]:
    package = Path(PIL.__file__).parent
    for folder in (package.parent / "pillow.libs", package / ".dylibs"):
        yield from folder.glob("libtiff*")
