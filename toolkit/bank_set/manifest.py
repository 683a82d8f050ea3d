"""The manifest of a bank set; docs/bank-set.md is the specification."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

from hashkit.bank.header import LabelKind
from hashkit.bank_set.plan_files import PLAN_NAME
from hashkit.codes import code_size
from hashkit.codesets import check_names
from hashkit.errors import BankError, BankMismatchError
from hashkit.files.writing import write_whole
from hashkit.inputs.json_text import read_json
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.text import shown
from hashkit.messages.os_errors import cannot_write

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "SetManifest",
    "ShardEntry",
    "Slice",
    "finish_command",
    "other_than",
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME: Final = "bankset.json"
FORMAT_VERSION: Final = 1

_FORMAT: Final = "hashkit-bank-set"
_MOST_NAME_BYTES: Final = 255
_IDENTITY: Final = re.compile("[0-9a-f]{32}")
_DIGEST: Final = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Slice:
    """The images that a shard was made from: ``start`` to the image before ``stop`` of a list.

    Attributes
    ----------
    list
        `hashkit.bank.names.hash_names` of the whole list.
    """

    list: str
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise BankError(
                f"expected a slice whose start is between 0 and its stop, found {self.start} to "
                f"{self.stop}"
            )


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """The entry of one shard in a manifest.

    Attributes
    ----------
    file, identity, bytes
        Name of its file in the folder, identity of the bank, and size of the file.
    first_row, n_rows, n_deleted
        Number in the set of its first row; its rows, including deleted ones; and how many were
        deleted when the manifest was written.
    digest
        `hashkit.bank.reader.Bank.rows_digest` of its rows.
    slice
        The images that it was made from; None if unknown.
    model_sha256, runtime, provider, resampler, precision
        As in its header.
    is_growing
        Whether rows are being added, so that it may have more of them than ``n_rows``.
    """

    file: str
    identity: str
    first_row: int
    n_rows: int
    n_deleted: int
    digest: str
    bytes: int
    slice: Slice | None
    model_sha256: str
    runtime: str
    provider: str
    resampler: str
    precision: str
    is_growing: bool = False

    def __post_init__(self) -> None:
        if self.file in ("", ".", "..") or any(one in self.file for one in "/\\\0:"):
            raise BankError(f"expected a file name without a path, found {shown(self.file)}")
        if len(self.file.encode(errors="surrogatepass")) > _MOST_NAME_BYTES:
            raise BankError(f"expected a file name that is shorter, found {shown(self.file)}")
        for name, pattern in (("identity", _IDENTITY), ("digest", _DIGEST)):
            if not pattern.fullmatch(getattr(self, name)):
                found = shown(getattr(self, name))
                raise BankError(f"expected the {name} in hexadecimal digits, found {found}")
        for name in ("first_row", "n_rows", "n_deleted", "bytes"):
            if getattr(self, name) < 0:
                raise BankError(f"expected {name} of 0 or more, found {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class SetManifest:
    """The manifest of a bank set.

    Attributes
    ----------
    identity
        32 hexadecimal digits, drawn when the set was created.
    n_bits, label_kind, class_names, model_sha256, precision
        Those of every shard.
    n_rows
        Rows of all shards, including deleted ones.
    runtime, provider, resampler
        Those of the shards; where they differ, all of them joined by ", ".
    shards
        The shards in the order of their rows.
    created_by
        The program that wrote the manifest.

    Raises
    ------
    BankError
        If the values contradict each other.
    """

    identity: str
    n_bits: int
    label_kind: LabelKind
    class_names: tuple[str, ...]
    model_sha256: str
    precision: str
    n_rows: int
    runtime: str
    provider: str
    resampler: str
    shards: tuple[ShardEntry, ...]
    created_by: str = ""

    def __post_init__(self) -> None:
        if not _IDENTITY.fullmatch(self.identity):
            raise BankError(f"expected the identity in hex digits, found {shown(self.identity)}")
        code_size(self.n_bits)
        check_names(self.class_names, "class_names", BankError)
        if not self.shards:
            raise BankError("expected at least one shard, found none")
        self._check_rows()
        for name in ("file", "identity"):
            counts = Counter(getattr(shard, name) for shard in self.shards)
            value, count = counts.most_common(1)[0]
            if count > 1:
                raise BankError(f"expected each shard once, found the {name} {shown(value)} twice")
        for shard, name in itertools.product(self.shards, ("model_sha256", "precision")):
            if getattr(shard, name) != getattr(self, name):
                raise BankError(
                    f"expected the same {name} for all shards, found another for {shard.file}"
                )
        _check_slices(self.shards)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values, in the order of the file."""
        fields = dataclasses.asdict(self)
        for shard in fields["shards"]:
            if not shard["is_growing"]:
                del shard["is_growing"]
        return {"format": _FORMAT, "format_version": FORMAT_VERSION, **fields}

    def _check_rows(self) -> None:
        first_row = 0
        for number, shard in enumerate(self.shards):
            if shard.first_row != first_row:
                raise BankError(
                    f"expected {first_row} as the first row of {shard.file}, found "
                    f"{shard.first_row}"
                )
            if shard.is_growing and number < len(self.shards) - 1:
                raise BankError(f"expected rows to be added to the last shard, not {shard.file}")
            first_row += shard.n_rows
        if self.n_rows != first_row:
            raise BankError(f"expected {first_row} rows, as the shards have, found {self.n_rows}")


def read_manifest(folder: Path) -> SetManifest:
    """The manifest of a bank set.

    Raises
    ------
    BankError
        If the folder has none, or it is damaged.
    BankMismatchError
        If it has a later format version.
    """
    if folder.is_file():
        raise BankError(
            f"{folder}: expected the folder of a bank set, found a file; `Bank.open` opens a bank"
        )
    path = folder / MANIFEST_NAME
    remedy = f"{finish_command(folder)} writes it again"
    try:
        fields = read_json(path, BankError, remedy)
    except FileNotFoundError:
        raise BankError(
            f"{folder}: expected a bank set, found a folder without {MANIFEST_NAME}: "
            f"{other_than(folder)}"
        ) from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise BankError(f"{path}: expected the manifest of a bank set, found other JSON: {remedy}")
    version = fields.get("format_version")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION:
        raise BankMismatchError(
            f"{path}: expected format version {FORMAT_VERSION}, found {version}: use a newer "
            "hashkit"
        )
    if version != FORMAT_VERSION:
        raise BankError(
            f"{path}: expected format version {FORMAT_VERSION}, found {shown(repr(version))}: "
            f"{remedy}"
        )
    return dataclass_from(
        SetManifest, fields, name=str(path), error=BankError, remedy=remedy, may_have_more=True
    )


def write_manifest(folder: Path, manifest: SetManifest) -> None:
    """Write the manifest of a bank set, whole or not at all.

    Raises
    ------
    BankError
        If it cannot be written.
    """
    path = folder / MANIFEST_NAME
    text = json.dumps(manifest.to_dict(), indent=2) + "\n"
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise BankError(cannot_write(error, path)) from error


def other_than(folder: Path) -> str:
    """What a folder that is not a bank set may be instead, for messages: shards or images."""
    if (folder / PLAN_NAME).is_file() or any(folder.glob("shard-*.h5")):
        return f"{finish_command(folder)} writes it once all shards are complete"
    bank = folder.with_name(f"{folder.name}.h5") if folder.name else None
    if bank is not None and bank.is_file():
        return f"the bank of its images may be {bank}"
    return f"if it has images, `hashkit sync {folder} --model lite0` makes their bank"


def finish_command(folder: str | os.PathLike[str]) -> str:
    """The command that checks the shards of a folder and writes its manifest, for messages."""
    return f"`hashkit encode --finish {os.fspath(folder)}`"


def _check_slices(shards: tuple[ShardEntry, ...]) -> None:
    """Check that no image of a list is in two shards."""
    known = [(shard.slice, shard.file) for shard in shards if shard.slice is not None]
    known.sort(key=lambda pair: (pair[0].list, pair[0].start, pair[0].stop))
    for (before, file), (after, other) in itertools.pairwise(known):
        if before.list == after.list and after.start < before.stop and after.stop > after.start:
            raise BankError(
                f"expected slices that do not overlap, found images {after.start} to "
                f"{min(before.stop, after.stop)} in {file} and in {other}"
            )
