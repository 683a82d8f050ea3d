"""Whether a bank can follow a folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from hashkit.bank.header import BankSource
from hashkit.bank.interruption import end_last_list
from hashkit.bank.reader import Bank
from hashkit.bank_set.joined import AnyBank
from hashkit.errors import BankMismatchError

__all__ = ["check_follows", "end_interrupted", "folders_of", "followed_folder", "follows"]


def follows(source: BankSource | None, folder: Path) -> bool:
    """Whether an image list is that of a bank that follows ``folder``, a real path."""
    return source is not None and source.n_images is None and source.root == str(folder)


def folders_of(bank: AnyBank) -> list[str]:
    """Real paths of the folders that a bank's image lists name, sorted."""
    return sorted({os.path.realpath(one.root) for one in bank.sources if one.root is not None})


def followed_folder(bank: AnyBank) -> str | None:
    """The folder with which `hashkit sync` keeps a bank in step; None if there is none."""
    growing = [source.root for source in bank.sources if source.n_images is None]
    return growing[-1] if growing else None


def check_follows(bank: AnyBank) -> None:
    """Check that a bank was made from one whole folder of images, or from no known list.

    Images that were added one by one may be there too.

    Raises
    ------
    BankMismatchError
        If it was made from something else.
    """
    if not bank.header.has_names and len(bank):
        raise BankMismatchError(
            f"{bank.path}: expected a bank with the names of its images, found one without names: "
            "name another bank with `bank=...`"
        )
    sources = [one for one in bank.sources if one.root is not None or one.n_images is not None]
    other = [_other_list_text(one) for one in sources]
    folders = folders_of(bank)
    if len(folders) > 1:
        other.append(f"images of {' and '.join(folders)}")
    found = next(filter(None, other), None)
    if found is not None:
        raise BankMismatchError(
            f"{bank.path}: expected a bank of one folder of images, found {found}: name another "
            "bank with `bank=...`"
        )


def end_interrupted(bank: Bank) -> None:
    """Complete a bank whose encoding was interrupted, so that a sync can continue."""
    if not bank.is_complete and bank.sources:
        done = dataclasses.replace(bank.sources[-1], n_images=bank.n_consumed)
        end_last_list(bank.path, done)


def _other_list_text(source: BankSource) -> str | None:
    """What a list contains if it is not a whole folder, for messages; otherwise None."""
    if source.root is None:
        return f"one of {source.dataset}"
    if source.protocol:
        return f"the part {source.part} of a split of {source.dataset}"
    if Path(source.dataset).is_file():
        return f"one of the list {source.dataset}"
    return None
