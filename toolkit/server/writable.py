"""What a server needs to take images: the bank's lock, and a folder that belongs to the bank."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hashkit.bank.editor import BankEditor
from hashkit.bank.reader import Bank
from hashkit.collection.bank_of_folder import check_follows, follows
from hashkit.collection.sync import folder_source, new_header
from hashkit.errors import BankError, ConfigError
from hashkit.messages.os_errors import cannot_write
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import header_of_codes

__all__ = ["open_editor", "token_of"]

_TOKEN_VARIABLE: Final = "HASHKIT_TOKEN"  # noqa: S105 - the name of the variable

_LEAST_LENGTH: Final = 16


def token_of(environment: Mapping[str, str]) -> str:
    """The token that clients which write must give.

    Raises
    ------
    ConfigError
        If it is missing, short, or has characters that no header takes.
    """
    token = environment.get(_TOKEN_VARIABLE, "")
    is_plain = token.isascii() and token.isprintable() and " " not in token
    if len(token) >= _LEAST_LENGTH and is_plain:
        return token
    found = "none" if not token else f"one of {len(token)}" if is_plain else "other characters"
    raise ConfigError(
        f"`writable` needs a token of at least {_LEAST_LENGTH} letters and digits in the "
        f"environment variable {_TOKEN_VARIABLE}, found {found}: docs/server.md shows how to "
        "make one"
    )


def open_editor(bank: Path, folder: Path, encoder: Encoder) -> BankEditor:
    """Open a bank to add images of a folder; neither has to exist.

    Raises
    ------
    ConfigError
        If the folder cannot be made, or the bank's images are in another one.
    BankLockedError
        If another process writes the bank.
    BankError
        If the bank cannot be opened or made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`writable`: {cannot_write(error, folder)}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"`writable`: {folder} may not be written by this user")
    root = Path(os.path.realpath(folder))
    if not bank.exists():
        return BankEditor.create(bank, new_header(encoder, root))
    with Bank.open(bank) as opened:
        _check_folder(opened, root)
    editor = BankEditor.open(bank)
    try:
        # The header then names all devices and versions that codes were computed with.
        header = header_of_codes(encoder, editor.header)
        editor.admit(header, allow_other_provider=True)
        if not (editor.sources and follows(editor.sources[-1], root)):
            editor.set_source(folder_source(root))
    except BaseException:
        editor.close()
        raise
    return editor


def _check_folder(bank: Bank, root: Path) -> None:
    if not bank.header.has_names:
        raise BankError(f"{bank.path}: expected a bank with names, to add images, found only codes")
    if not len(bank):
        return
    check_follows(bank)
    roots = {os.path.realpath(one.root) for one in bank.sources if one.root is not None}
    if roots != {str(root)}:
        found = ", ".join(sorted(roots)) or "no folder"
        raise ConfigError(
            f"`writable`: expected the folder of the bank's images, {found}, found {root}: name "
            "that folder, or start with a new bank"
        )
