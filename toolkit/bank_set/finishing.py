"""Makes a bank set from complete shards: checks them, and writes the manifest last."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hashkit.bank.layout import new_identity
from hashkit.bank.reader import Bank
from hashkit.bank_set.entries import manifest_of
from hashkit.bank_set.manifest import (
    MANIFEST_NAME,
    SetManifest,
    Slice,
    read_manifest,
    write_manifest,
)
from hashkit.errors import BankError, BankLockedError, BankMismatchError
from hashkit.files.addresses import check_local
from hashkit.files.locking import LockHeldError, lock_file
from hashkit.inputs.arguments import checked_arguments_but
from hashkit.messages.os_errors import cannot_write

__all__ = ["finish", "locked_set", "shard_name", "shard_numbers"]

_SHARD: Final = re.compile(r"shard-(\d{5,})\.h5")
_SHOWN: Final = 5
_LOCK_SECONDS: Final = 30.0


def shard_name(number: int) -> str:
    """File name of a shard, counted from 0."""
    return f"shard-{number:05}.h5"


def shard_numbers(names: Iterable[str]) -> set[int]:
    """Numbers of the shards among files, by their names."""
    numbers = {name: int(found[1]) for name in names if (found := _SHARD.fullmatch(name))}
    return {number for name, number in numbers.items() if shard_name(number) == name}


@checked_arguments_but("slices")
def finish(
    folder: str | os.PathLike[str],
    *,
    slices: Mapping[str, Slice] | None = None,
    allow_other_provider: bool = False,
) -> SetManifest:
    """Check the shards of a folder and write its manifest, which makes it a bank set.

    The shards are ``shard-00000.h5`` and so on. A set that has a manifest keeps its identity, the
    order of its shards, and their slices.

    Parameters
    ----------
    folder
        The folder with the shards, all of them complete.
    slices
        The images of each shard, in order, by the name of its file; every file must exist. None if
        unknown: the shards are then the files in the folder, numbered without a gap.
    allow_other_provider
        Whether shards of different runtimes, providers or resamplers are allowed.

    Raises
    ------
    BankError
        If a shard is missing, not complete, or has a format version before 3.
    BankMismatchError
        If shards have different models, bits, classes or, unless allowed, providers.
    BankLockedError
        If another process is changing the set.
    """
    check_local(folder)
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise BankError(f"{folder}: expected a folder of shards, found {found}")
    expected = None if slices is None else list(slices)
    _files(folder, _earlier(folder), expected)  # before a lock is left in some other folder
    with locked_set(folder):
        before = _earlier(folder)
        files = _files(folder, before, expected)
        banks = [Bank.open(folder / file) for file in files]
        _check_names(folder, before, banks)
        known: dict[str, Slice | None] = {}
        if slices is not None:
            known |= slices
        elif before is not None:
            known = {shard.file: shard.slice for shard in before.shards}
        manifest = manifest_of(
            banks,
            [known.get(file) for file in files],
            new_identity() if before is None else before.identity,
            allow_other_provider=allow_other_provider,
            folder=folder,
        )
        write_manifest(folder, manifest)
        return manifest


@contextlib.contextmanager
def locked_set(folder: Path, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """Lock a set for one writer of its manifest.

    Parameters
    ----------
    seconds
        How long to wait for another process.

    Raises
    ------
    BankLockedError
        If another process holds the lock until then.
    """
    path = folder / f"{MANIFEST_NAME}.lock"
    try:
        lock = lock_file(path, seconds)
    except LockHeldError:
        waited = f", still after {seconds:g} s" if seconds else ""
        raise BankLockedError(
            f"{folder}: another process is changing this bank set{waited}; wait for it to end"
        ) from None
    except OSError as error:
        raise BankError(cannot_write(error, path)) from error
    try:
        yield
    finally:
        lock.release()


def _earlier(folder: Path) -> SetManifest | None:
    """The manifest that the folder has; None if there is none, or it is damaged."""
    try:
        return read_manifest(folder)
    except BankMismatchError:
        raise
    except BankError:
        return None


def _files(folder: Path, before: SetManifest | None, expected: Sequence[str] | None) -> list[str]:
    """Names of the shards in the order of their rows."""
    names = {path.name for path in folder.iterdir()}
    found = {number: shard_name(number) for number in shard_numbers(names)}
    if expected is None and before is not None:
        listed = [shard.file for shard in before.shards]
        files = [*listed, *(found[n] for n in sorted(found) if found[n] not in listed)]
        missing = [file for file in listed if not (folder / file).is_file()]
    else:
        files = [*(expected or map(shard_name, range(max(found, default=-1) + 1)))]
        missing = [file for file in files if file not in names]
        if extra := sorted(set(found.values()) - set(files)):
            raise BankError(
                f"{folder}: expected {len(files)} shards, found {_listed(extra)} too: move what "
                "does not belong to this set to another folder"
            )
    if not files:
        raise BankError(
            f"{folder}: expected shards, {shard_name(0)} and so on, found none: `hashkit encode "
            "LIST --shards N --out SET` makes them"
        )
    if missing:
        number = files.index(missing[0]) + 1
        n_shards = "N" if expected is None and before is None else str(len(files))
        raise BankError(
            f"{folder}: expected {len(files)} shards, found that {_listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: `hashkit encode LIST --model MODEL "
            f"--shard {number}/{n_shards} --out {folder}` makes {missing[0]}"
        )
    return files


def _check_names(folder: Path, before: SetManifest | None, banks: Sequence[Bank]) -> None:
    """Check that no shard has the name of another one: rows would change their numbers."""
    known = {} if before is None else {one.identity: one.file for one in before.shards}
    for bank in banks:
        file = known.get(bank.identity, bank.path.name)
        if file != bank.path.name:
            raise BankMismatchError(
                f"{folder}: expected each shard under its own name, found {file} as "
                f"{bank.path.name}: rename it to {file} again"
            )


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(files[:_SHOWN]) + more
