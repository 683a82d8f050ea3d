"""Makes the manifest of a set from its banks, and checks that they belong together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hashkit._version import __version__
from hashkit.bank.compatibility import check_model
from hashkit.bank.reader import Bank
from hashkit.bank_set.manifest import SetManifest, ShardEntry, Slice
from hashkit.errors import BankError, BankMismatchError

__all__ = ["manifest_of", "shard_entry", "updated_manifest"]

_OTHER_MODEL: Final = (
    "all shards of a set must come from one model; encode this one again, or remove it"
)
_MADE_BY: Final = ("runtime", "provider", "resampler")


def manifest_of(
    banks: Sequence[Bank],
    slices: Sequence[Slice | None],
    identity: str,
    *,
    allow_other_provider: bool = False,
    folder: Path,
) -> SetManifest:
    """The manifest of a set of banks, which are checked against each other.

    Parameters
    ----------
    banks
        The shards, in the order of their rows.
    slices
        The images that each was made from; None where unknown.
    identity
        Identity of the set.
    allow_other_provider
        Whether shards of different runtimes, providers or resamplers are allowed.
    folder
        The set, for messages.

    Raises
    ------
    BankError
        If a shard is not complete, or has a format version before 3.
    BankMismatchError
        If shards have different models, bits, classes or, unless allowed, providers.
    """
    for bank in banks:
        _check_shard(bank)
        check_model(bank.path, banks[0].header, bank.header, _OTHER_MODEL)
    if not allow_other_provider:
        for name in _MADE_BY:
            _check_same(name, banks, folder)
    header = banks[0].header
    return SetManifest(
        identity=identity,
        n_bits=header.n_bits,
        label_kind=header.label_kind,
        class_names=header.class_names,
        model_sha256=header.model_sha256,
        precision=header.precision,
        **_facts_of_shards(banks, slices),
    )


def shard_entry(bank: Bank, first_row: int, images: Slice | None) -> ShardEntry:
    """The entry of a bank in a manifest."""
    header = bank.header
    return ShardEntry(
        file=bank.path.name,
        identity=bank.identity,
        first_row=first_row,
        n_rows=len(bank),
        n_deleted=bank.n_deleted,
        digest=bank.rows_digest(),
        bytes=bank.path.stat().st_size,
        slice=images,
        model_sha256=header.model_sha256,
        runtime=header.runtime,
        provider=header.provider,
        resampler=header.resampler,
        precision=header.precision,
    )


def updated_manifest(manifest: SetManifest, banks: Sequence[Bank]) -> SetManifest:
    """The manifest of a set whose shards were changed by its own writer."""
    slices = [entry.slice for entry in manifest.shards]
    return dataclasses.replace(manifest, **_facts_of_shards(banks, slices))


def _facts_of_shards(banks: Sequence[Bank], slices: Sequence[Slice | None]) -> dict[str, Any]:
    """The fields of a manifest that change with the shards."""
    first_rows = itertools.accumulate(map(len, banks[:-1]), initial=0)
    shards = zip(banks, first_rows, slices, strict=True)
    return {
        "n_rows": sum(map(len, banks)),
        "shards": tuple(itertools.starmap(shard_entry, shards)),
        "created_by": f"hashkit {__version__}",
        **{name: _all_of(name, banks) for name in _MADE_BY},
    }


def _check_shard(bank: Bank) -> None:
    if bank.format_version < 3:
        raise BankError(
            f"{bank.path}: expected a shard of format version 3 or later, found "
            f"{bank.format_version}: `hashkit convert` writes it again"
        )
    if not bank.is_complete:
        raise BankError(
            f"{bank.path}: expected a complete shard, found one whose encoding was interrupted "
            f"after {len(bank)} rows: finish it first by running its command again"
        )


def _check_same(name: str, banks: Sequence[Bank], folder: Path) -> None:
    """Check the runtime, provider or resampler of all shards; unknown ones are not compared."""
    made_by: dict[str, str] = {}
    for bank in banks:
        made_by.setdefault(getattr(bank.header, name), bank.path.name)
    made_by.pop("", None)
    if len(made_by) > 1:
        (one, file), (other, other_file), *_ = made_by.items()
        raise BankMismatchError(
            f"{folder}: expected shards of one {name}, found {one} in {file} and {other} in "
            f"{other_file}: encode one of them again, or allow others with "
            "`allow_other_provider=True`"
        )


def _all_of(name: str, banks: Sequence[Bank]) -> str:
    """The values that all shards name, each once; one shard may name several."""
    texts = [getattr(bank.header, name) for bank in banks]
    return ", ".join(dict.fromkeys(one for text in texts if text for one in text.split(", ")))
