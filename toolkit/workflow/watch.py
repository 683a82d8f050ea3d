"""``hashkit sync --watch``: a bank that follows its folder until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hashkit.collection.replacing import beside_path
from hashkit.collection.watching import FolderWatch
from hashkit.errors import HashkitError
from hashkit.files.private import is_private_name
from hashkit.workflow.reporter import Reporter
from hashkit.workflow.sync import FolderSync
from hashkit.workflow.sync_report import SyncReport

__all__ = ["watch"]

_RETRY_SECONDS: Final = 10.0
"""Wait after a failure, such as a bank that another process is writing."""


def watch(folder: FolderSync, reporter: Reporter) -> Iterator[SyncReport]:
    """Update a bank to match its folder now and after each change, without an end.

    Failures are noted, and the sync is tried again: a folder that vanished may come back.

    Raises
    ------
    MissingExtraError
        If the extra ``watch`` is not installed.
    HashkitError
        If the first sync fails.
    """
    changes = FolderWatch(folder.folder, lambda path: not _is_own(Path(path), folder.bank))
    yield folder.run()
    reporter.note(f"watching {folder.folder}; Ctrl-C ends this")
    failure = ""
    while True:
        try:
            changes.wait(_RETRY_SECONDS if failure else None)
            report = folder.run()
        except (HashkitError, OSError) as error:
            if str(error) != failure:
                reporter.note(f"warning: {error}; trying again")
            failure = str(error)
            continue
        failure = ""
        yield report


def _is_own(path: Path, bank: Path) -> bool:
    """Whether a file is one that a sync writes: the bank or a file beside it."""
    if is_private_name(path.name):
        return True
    if bank.is_dir():
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(bank))
    if os.path.realpath(path.parent) != os.path.realpath(bank.parent):
        return False
    return path.name.startswith((bank.name, beside_path(bank).name))
