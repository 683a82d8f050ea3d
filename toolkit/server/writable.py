"""What a server needs to take images: the bank's lock, and a folder that belongs to the bank."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hashkit.bank.editor import BankEditor
from hashkit.bank.header import BankHeader, BankSource
from hashkit.errors import BankError, ConfigError
from hashkit.messages.os_errors import cannot_write
from hashkit.preprocess import resampler
from hashkit.runtimes.encoder import Encoder

__all__ = ["TOKEN_VARIABLE", "folder_source", "open_editor", "token_of"]

TOKEN_VARIABLE: Final = "HASHKIT_TOKEN"  # noqa: S105 - the name of the variable

_LEAST_LENGTH: Final = 16


def token_of(environment: Mapping[str, str]) -> str:
    """The token that clients which write must give.

    Raises
    ------
    ConfigError
        If it is missing, short, or has characters that no header takes.
    """
    token = environment.get(TOKEN_VARIABLE, "")
    is_plain = token.isascii() and token.isprintable() and " " not in token
    if len(token) >= _LEAST_LENGTH and is_plain:
        return token
    found = "none" if not token else f"one of {len(token)}" if is_plain else "other characters"
    raise ConfigError(
        f"`writable` needs a token of at least {_LEAST_LENGTH} letters and digits in the "
        f"environment variable {TOKEN_VARIABLE}, found {found}: docs/server.md shows how to "
        "make one"
    )


def folder_source(folder: Path) -> BankSource:
    """The source of a bank whose images are a folder that changes."""
    root = os.path.realpath(folder)
    return BankSource(str(root), str(root), "", "all", None, None, "")


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
    if not bank.exists():
        return BankEditor.create(bank, _header(encoder, folder_source(folder)))
    editor = BankEditor.open(bank)
    try:
        _check_folder(bank, editor, folder)
    except BaseException:
        editor.close()
        raise
    return editor


def _check_folder(bank: Path, editor: BankEditor, folder: Path) -> None:
    if not editor.header.has_names:
        raise BankError(f"{bank}: expected a bank with names, to add images, found only codes")
    roots = {
        None if source.root is None else os.path.realpath(source.root) for source in editor.sources
    }
    if editor.n_rows and roots != {os.path.realpath(folder)}:
        found = ", ".join(sorted(str(root or "no folder") for root in roots)) or "no folder"
        raise ConfigError(
            f"`writable`: expected the folder of the bank's images, {found}, found {folder}: name "
            "that folder, or start with a new bank"
        )
    if not editor.n_rows:
        editor.set_source(folder_source(folder))


def _header(encoder: Encoder, source: BankSource) -> BankHeader:
    return BankHeader(
        n_bits=encoder.n_bits,
        manifest=encoder.manifest,
        model_sha256=encoder.model_sha256,
        runtime=encoder.runtime,
        provider=encoder.provider,
        precision=encoder.precision,
        class_names=(),
        label_kind="none",
        source=source,
        resampler=resampler(),
        has_files=True,
    )
