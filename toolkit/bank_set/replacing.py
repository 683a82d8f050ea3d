"""Puts the shards of a new set in the place of those of an existing one."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from hashkit.bank_set.finishing import locked_set, shard_name, shard_numbers
from hashkit.bank_set.manifest import read_manifest, write_manifest
from hashkit.bank_set.plan_files import remove_plan

__all__ = ["replace_set"]


def replace_set(folder: Path, new: Path) -> None:
    """Replace the shards of a set by those of ``new``, a set on the same disk, which loses them.

    The new shards get names of their own, then the manifest is written, and then the earlier
    shards are removed with their indexes and plan: readers of the earlier set keep their files. The
    identity stays.

    Raises
    ------
    BankError
        If a set cannot be read, or the manifest cannot be written.
    OSError
        If a file cannot be moved.
    """
    with locked_set(folder):
        before, made = read_manifest(folder), read_manifest(new)
        taken = shard_numbers(path.name for path in folder.iterdir())
        first = max(taken) + 1 if min(taken, default=len(made.shards)) < len(made.shards) else 0
        shards = []
        for number, shard in enumerate(made.shards, first):
            (new / shard.file).rename(folder / shard_name(number))
            shards.append(dataclasses.replace(shard, file=shard_name(number)))
        write_manifest(
            folder, dataclasses.replace(made, identity=before.identity, shards=tuple(shards))
        )
        for old in before.shards:
            for name in (old.file, f"{old.file}.mih", f"{old.file}.lock"):
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
        remove_plan(folder)
