"""Completes what a killed server began: files that have no row yet."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hashkit.bank.reader import Bank
from hashkit.collection.listing import list_folder
from hashkit.errors import HashkitError
from hashkit.workflow.reporter import plural

__all__ = ["files_without_rows", "repaired_text"]

logger: Final = logging.getLogger("hashkit.server")

_MOST_ORPHANS: Final = 256
"""Most files that a start adds: a killed server leaves no more, and others are left to a sync."""

_MOST_NAMED: Final = 3


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
            "%s: %d images are not in the bank; to add them, stop the server and run `%s`",
            folder,
            len(listed),
            shlex.join(["hashkit", "sync", str(folder), "--bank", str(bank.path)]),
        )
        return ()
    return sorted(listed)


def repaired_text(folder: Path, n_files: int, left_out: Sequence[str]) -> str:
    """One line on files that had no row: how many were added, and those that were not."""
    text = f"{folder}: added {plural(n_files - len(left_out), 'image')} that the bank did not have"
    if left_out:
        shown = "; ".join(left_out[:_MOST_NAMED])
        more = "" if len(left_out) <= _MOST_NAMED else "; ..."
        text += f"; {plural(len(left_out), 'file')} could not be added: {shown}{more}"
    return text
