"""Small bank sets, for the tests of code that reads and changes them."""

from __future__ import annotations

from pathlib import Path

from bank_samples import make_header, make_source, rows_of

from hashkit.bank.writer import BankWriter
from hashkit.bank_set.finishing import finish, shard_name
from hashkit.formats import save_codes
from hashkit.formats.bank_set import write_bank_set

SHARDS = (range(6), range(6, 6), range(6, 20))
"""Images of `write_shards`: one shard is empty, and the others differ in size."""


def write_shard(folder: Path, number: int, images, **fields) -> Path:
    """A complete shard of images of `bank_samples`."""
    path = folder / shard_name(number)
    folder.mkdir(exist_ok=True)
    header = make_header(source=make_source(n_images=len(images)), **fields)
    with BankWriter.create(path, header, n_rows=len(images), n_name_bytes=200) as writer:
        writer.write(*rows_of(images), n_consumed=len(images))
        writer.complete()
    return path


def write_shards(folder: Path, shards=SHARDS, **fields) -> Path:
    """A bank set of images of `bank_samples`."""
    for number, images in enumerate(shards):
        write_shard(folder, number, images, **fields)
    finish(folder)
    return folder


def set_of(folder: Path, codes, n_shards: int) -> tuple[Path, Path]:
    """A bank of codes, and a bank set of the same rows."""
    bank = folder / "one.h5"
    save_codes(bank, codes)
    write_bank_set(folder / "set", codes, n_shards)
    return bank, folder / "set"
