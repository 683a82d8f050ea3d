"""Distinguishes addresses of object stores from paths on this machine."""

from __future__ import annotations

import os
import re
from typing import Final

from hashkit.errors import BankError

__all__ = ["SCHEMES", "check_local", "url_of"]

SCHEMES: Final = {"file": ("fsspec", "cluster"), "gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}
"""The package that reads each kind of address, and the extra that installs it."""

_URL: Final = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)", re.DOTALL)


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The address that a path is, such as ``s3://bucket/set``; None if it is a path.

    `pathlib` turns two slashes into one, so ``s3:/bucket/set`` is the same address.
    """
    match = _URL.fullmatch(os.fspath(path))
    if match is None:
        return None
    scheme, rest = match[1], match[2].rstrip("/")
    return f"file:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def check_local(path: str | os.PathLike[str]) -> None:
    """Check that what will be written or changed is on this machine.

    Raises
    ------
    BankError
        If it is the address of an object store.
    """
    if (url := url_of(path)) is not None:
        raise BankError(
            f"{url}: expected a path of this machine to write to, found an address of an object "
            "store, which is only read: write to a path, then copy the files with the store's own "
            "tool, such as `aws s3 sync`, bankset.json last"
        )
