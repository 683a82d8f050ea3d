"""The content of an image file, read once: for decoding, and to recognise the file later."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os

from hashkit.errors import ImageError
from hashkit.inputs.limits import TooLargeError
from hashkit.inputs.opening import read_with_status

__all__ = ["FileContent", "read_image_file"]


@dataclasses.dataclass(frozen=True)
class FileContent:
    """An image file in memory.

    Attributes
    ----------
    name
        Its path.
    data
        Its bytes.
    mtime_ns
        Time of its last change, nanoseconds since 1970.
    """

    name: str
    data: bytes
    mtime_ns: int

    def digest(self) -> bytes:
        """BLAKE2b of 16 bytes, as ``b2sum -l 128`` prints it.

        On a CPU without instructions for SHA-256, it takes half as long as SHA-256.
        """
        return self._digest

    @functools.cached_property
    def _digest(self) -> bytes:
        return hashlib.blake2b(self.data, digest_size=16).digest()


def read_image_file(path: str | os.PathLike[str]) -> FileContent:
    """Read an image file.

    Raises
    ------
    ImageError
        If it is missing, cannot be read, is too large, or is being written.
    """
    name = os.fspath(path)
    try:
        data, before, after = read_with_status(name, "image_bytes")
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file", "missing") from None
    except TooLargeError as error:
        raise ImageError(f"{name}: {error.strerror}", "too-large") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason})", "missing") from None
    if (len(data), before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(
            f"{name}: another program changed it while it was being read; try again later",
            "truncated",
        )
    return FileContent(name, data, before.st_mtime_ns)
