"""What a server needs to take images: the bank's lock, and a folder that belongs to the bank."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hashkit.bank.editor import BankEditor
from hashkit.bank.reader import Bank
from hashkit.collection.bank_of_folder import check_follows, folders_of, follows
from hashkit.collection.sync import folder_source, new_header
from hashkit.errors import BankError, ConfigError
from hashkit.messages.os_errors import cannot_write
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import header_of_codes

__all__ = ["WritableBank", "token_of"]

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
    found = "none" if not token else f"{len(token)}" if is_plain else "other characters"
    raise ConfigError(
        f"`writable` needs a token of at least {_LEAST_LENGTH} letters and digits in the "
        f"environment variable {_TOKEN_VARIABLE}, found {found}: for example `export "
        f"{_TOKEN_VARIABLE}=$(python3 -c 'import secrets; print(secrets.token_urlsafe())')`"
    )


class WritableBank:
    """A bank that takes the images of a folder; other programs cannot write it until it is closed.

    Parameters
    ----------
    editor
        The bank, open for changes.
    folder
        The folder.
    encoder
        The model that encodes its images.

    Attributes
    ----------
    editor, folder
        As given.
    """

    def __init__(self, editor: BankEditor, folder: Path, encoder: Encoder) -> None:
        self.editor = editor
        self.folder = folder
        self._encoder = encoder

    @classmethod
    def open(cls, path: Path, folder: Path, encoder: Encoder) -> WritableBank:
        """Open a bank to add images of a folder; neither has to exist.

        Raises
        ------
        ConfigError
            If the folder cannot be made.
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
            raise ConfigError(f"`writable`: this user has no permission to write to {folder}")
        root = Path(os.path.realpath(folder))
        if path.exists():
            return cls(BankEditor.open(path), root, encoder)
        return cls(BankEditor.create(path, new_header(encoder, root)), root, encoder)

    def adopt(self, bank: Bank) -> None:
        """Prepare the editor's bank for images of the folder; ``bank`` is the same, for reading.

        Raises
        ------
        ConfigError
            If its images are in another folder.
        BankError
            If it cannot take images of the model.
        """
        _check_folder(bank, self.folder)
        # The header then names all devices and versions that codes were computed with.
        header = header_of_codes(self._encoder, self.editor.header)
        self.editor.admit(header, allow_other_provider=True)
        if not (self.editor.sources and follows(self.editor.sources[-1], self.folder)):
            self.editor.set_source(folder_source(self.folder))

    def close(self) -> None:
        """Release the bank."""
        self.editor.close()


def _check_folder(bank: Bank, root: Path) -> None:
    if not bank.header.has_names:
        raise BankError(
            f"{bank.path}: expected a bank with names to add images to, found only codes"
        )
    if not len(bank):
        return
    check_follows(bank)
    folders = folders_of(bank)
    if folders != [str(root)]:
        found = ", ".join(folders) or "no folder"
        raise ConfigError(
            f"`writable`: expected the folder of the bank's images, {found}, found {root}: name "
            "that folder, or start with a new bank"
        )
