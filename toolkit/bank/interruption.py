"""Ends the encoding of an image list early, so that a bank can be extended by other lists."""

from __future__ import annotations

import dataclasses
import os

from hashkit.bank.bankfile import BankFile
from hashkit.bank.files import existing_bank, locked
from hashkit.bank.header import BankSource
from hashkit.errors import BankError

__all__ = ["end_last_list"]


def end_last_list(path: str | os.PathLike[str], done: BankSource) -> None:
    """Complete a bank whose encoding was interrupted, with the part of its last list that is done.

    All committed rows stay. If the process is killed, the bank is as before or as after.

    Parameters
    ----------
    done
        The last image list, cut to the images that the bank has processed.

    Raises
    ------
    BankLockedError
        If another process is writing the bank.
    BankError
        If the bank is complete, ``done`` does not have as many images as the bank has processed,
        its last rows do not match their checksums, or it cannot be read or written.
    """
    path = existing_bank(path)
    with locked(path), BankFile(path) as file:
        commit, layout = file.committed, file.layout
        if commit.is_complete or not layout.sources or done.n_images != commit.n_consumed:
            raise BankError(
                f"{path}: expected a bank that was interrupted after {done.n_images} images, found "
                f"{'a complete one' if commit.is_complete else f'{commit.n_consumed} images'}"
            )
        file.check_last_block()
        file.rebuild(
            dataclasses.replace(layout.header, source=done),
            (*layout.sources[:-1], done),
            max(commit.n_rows, 1),
            max(commit.n_name_bytes, 1) if layout.header.has_names else 0,
            dataclasses.replace(commit, is_complete=True),
        )
