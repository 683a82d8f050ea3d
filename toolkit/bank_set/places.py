"""Tells whether a path is a bank set, and where the set is on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from hashkit.bank_set.manifest import MANIFEST_NAME
from hashkit.files.addresses import url_of

__all__ = ["is_bank_set", "on_this_machine"]


def is_bank_set(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address, or a folder with a bank set's manifest, damaged or not."""
    return url_of(path) is not None or (Path(path) / MANIFEST_NAME).is_file()


def on_this_machine(path: str | os.PathLike[str]) -> Path:
    """A path as it is; for an address, the folder with its set in this machine's cache.

    Raises
    ------
    BankError, BankMismatchError, MissingExtraError
        If there is no set at the address, or it cannot be copied.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    from hashkit.bank_set.remote import local_set  # here, because few sets are remote

    return local_set(url)
