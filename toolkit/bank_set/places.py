"""Where a bank set is on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from hashkit.files.addresses import url_of

__all__ = ["on_this_machine"]


def on_this_machine(path: str | os.PathLike[str]) -> Path:
    """A path as it is; of an address, the folder of this machine's cache with the set of it.

    Raises
    ------
    BankError, BankMismatchError, MissingExtraError
        If there is no set at the address, or it cannot be copied.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    from hashkit.bank_set.remote import local_set  # here, as few sets are elsewhere

    return local_set(url)
