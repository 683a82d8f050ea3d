"""Completes what a killed server began: files that have no row yet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hashkit.bank.reader import Bank
from hashkit.collection.listing import list_folder
from hashkit.errors import HashkitError

__all__ = ["files_without_rows"]

logger: Final = logging.getLogger("hashkit.server")

_MOST_ORPHANS: Final = 256
"""Files that a start adds; more were not left by a killed server, and are the work of a sync."""


def files_without_rows(folder: Path, bank: Bank) -> Sequence[str]:
    """Names of images in a folder that no row of a bank has, deleted or not.

    None are given if there are more than `_MOST_ORPHANS`, with a warning.
    """
    try:
        listed = set(list_folder(folder).names)
    except HashkitError as error:
        logger.warning("%s", error)
        return ()
    listed.difference_update(bank.names)
    if len(listed) > _MOST_ORPHANS:
        logger.warning(
            "%d images of %s are not in the bank: stop the server, and add them with hashkit sync",
            len(listed),
            folder,
        )
        return ()
    return sorted(listed)
