"""Opens what a command was given as a bank: a file, or a bank set."""

from __future__ import annotations

import os
from pathlib import Path

from hashkit.bank.reader import Bank
from hashkit.bank_set.reader import BankSet
from hashkit.files.addresses import url_of

__all__ = ["banks_of", "open_bank_or_set", "open_banks"]


def open_bank_or_set(path: str | os.PathLike[str]) -> Bank | BankSet:
    """Open a bank, or the bank set of a folder or an address.

    Raises
    ------
    BankError
        If it cannot be opened; for a folder without a manifest, it says how to write one.
    BankMismatchError
        If it has a later format version.
    """
    is_set = url_of(path) is not None or Path(path).is_dir()
    return BankSet.open(path) if is_set else Bank.open(path)


def open_banks(path: str | os.PathLike[str]) -> list[Bank]:
    """The bank of a file, or the shards of a bank set in their order.

    Raises
    ------
    BankError, BankMismatchError
        See `open_bank_or_set`.
    """
    return banks_of(open_bank_or_set(path))


def banks_of(opened: Bank | BankSet) -> list[Bank]:
    """A bank alone, or the shards of a bank set in their order."""
    return [opened] if isinstance(opened, Bank) else list(opened)
