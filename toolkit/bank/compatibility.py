"""Checks whether a job may continue or extend an existing bank."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final, Protocol

from hashkit.bank.commit import Commit
from hashkit.bank.header import BankHeader, BankSource, LabelKind
from hashkit.errors import BankError, BankMismatchError
from hashkit.model_names import shown_sha256

__all__ = [
    "USE_ITS_MODEL",
    "ModelFacts",
    "check_appendable",
    "check_complete",
    "check_model",
    "check_source",
    "join_providers",
]

_HOW_TO_FIX: Final = "write another file, or replace this one with `overwrite=True`"

USE_ITS_MODEL: Final = "give the model that made the bank"
"""What to do about a mismatch when rows are added to a bank that is to be kept."""

_FIXED_FACTS: Final = {
    "n_bits": "codes of this many bits:",
    "model_sha256": "codes of",
    "precision": "codes computed in",
    "label_kind": "labels of the kind",
    "class_names": "the classes",
}
_LIST_FACTS: Final = {
    "dataset": "images of",
    "root": "images below",
    "protocol": "a split by the protocol",
    "part": "the part",
    "seed": "a split with the seed",
    "n_images": "this many images:",
    "names_sha256": "a list of image names and labels with the SHA-256",
}


class ModelFacts(Protocol):
    """What must not differ between codes that are compared: a header, or a set's manifest."""

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file."""

    @property
    def precision(self) -> str:
        """Precision of the model."""

    @property
    def label_kind(self) -> LabelKind:
        """Kind of the labels."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""


def check_model(
    path: Path, expected: ModelFacts, found: ModelFacts, fix: str = _HOW_TO_FIX
) -> None:
    """Check that a bank's bits, model, precision and classes are those of ``expected``.

    Parameters
    ----------
    fix
        What to do otherwise, for the message.

    Raises
    ------
    BankMismatchError
        If one of them differs.
    """
    for name, what in _FIXED_FACTS.items():
        wanted, there = getattr(expected, name), getattr(found, name)
        if name == "model_sha256" and wanted != there:
            wanted, there = shown_sha256(wanted), shown_sha256(there)
        _compare(path, what, wanted, there, fix)


def check_source(path: Path, expected: BankSource | None, found: BankSource | None) -> None:
    """Check that a bank's last image list is ``expected``.

    Raises
    ------
    BankMismatchError
        If it differs.
    """
    if expected is None or found is None:
        known = ["no" if source is None else "yes" for source in (expected, found)]
        _compare(path, "a known image list:", *known)
    elif not expected.is_same_list(found):
        for name, what in _LIST_FACTS.items():
            _compare(path, what, getattr(expected, name), getattr(found, name))


def check_appendable(
    path: Path, source: BankSource | None, sources: tuple[BankSource, ...], commit: Commit
) -> None:
    """Check that a bank is complete and does not contain ``source`` yet.

    Raises
    ------
    BankError
        If the bank is not complete.
    BankMismatchError
        If the bank contains ``source`` already.
    """
    check_complete(path, sources, commit, "append to", ", without `append=True`")
    if source is not None and any(source.is_same_list(other) for other in sources):
        raise BankMismatchError(
            f"{path}: expected images that are not in the bank, but it already contains this list "
            f"of {'' if source.n_images is None else f'{source.n_images} '}images of "
            f"{source.dataset}"
        )


def check_complete(
    path: Path, sources: tuple[BankSource, ...], commit: Commit, what: str, how: str = ""
) -> None:
    """Check that a bank is complete.

    Parameters
    ----------
    what, how
        For the message: what the bank is needed for, and how to finish its encoding first.

    Raises
    ------
    BankError
        If it is not.
    """
    if not commit.is_complete:
        last = f" of {sources[-1].dataset}" if sources else ""
        raise BankError(
            f"{path}: expected a complete bank to {what}, found one whose encoding{last} was "
            f"interrupted after {commit.n_rows} rows: finish that first{how}"
        )


def join_providers(
    path: Path, expected: BankHeader, found: BankHeader, allow_other: bool
) -> BankHeader:
    """Header of a bank to which ``expected``'s runtime, provider and resampler add rows.

    Bits whose logit is near 0 may differ between them, so a mixed bank names all that were used,
    joined by ", ". A resampler that is unknown on either side is not compared: banks of format
    versions 1 and 2 do not name theirs.

    Raises
    ------
    BankMismatchError
        If the bank was made with another one, and ``allow_other`` is False.
    """
    joined = {name: getattr(found, name) for name in ("runtime", "provider", "resampler")}
    for name, taken in joined.items():
        wanted = getattr(expected, name)
        if wanted in taken.split(", ") or (name == "resampler" and not (wanted and taken)):
            continue
        if not allow_other:
            raise BankMismatchError(
                f"{path}: expected a bank made by the {name} {wanted}, found {taken}: "
                "continue with that one, or allow others with `allow_other_provider=True`"
            )
        joined[name] = f"{taken}, {wanted}"
    return dataclasses.replace(found, **joined)


def _compare(
    path: Path, what: str, expected: object, found: object, fix: str = _HOW_TO_FIX
) -> None:
    if expected != found:
        raise BankMismatchError(
            f"{path}: expected {what} {_short(expected)}, found {_short(found)}: {fix}"
        )


def _short(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, tuple):
        value = ", ".join(map(str, value)) or "none"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
