"""``hashkit index``: a bank to the multi-index beside it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashkit.cli.console import all_or_nothing, emit_json, note, progress_bar
from hashkit.cli.options import JsonOption
from hashkit.errors import ConfigError, IndexMismatchError
from hashkit.messages.byte_counts import file_size
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank
    from hashkit.multi_index.index import MultiIndex

__all__ = ["index"]


def index(
    bank: Annotated[
        list[Path],
        typer.Argument(help="Code bank or bank set; each bank or shard gets its own index."),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Build the index again even if it matches the bank.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Build the multi-index of a bank, to search without a scan.

    The index is written beside the bank, as bank.h5.mih. hashkit search uses it if it is faster:
    for small radii and few results on a million rows or more.

    \b
    Examples:
      hashkit index bank.h5
      hashkit index set/
      hashkit search --query img.png --bank bank.h5 --model model.onnx --radius 2
    """  # noqa: D301
    done = [_build(one, overwrite=overwrite) for path in bank for one in _files(path)]
    if json:
        emit_json({"indexes": done})


def _files(path: Path) -> list[Path]:
    """The bank, or the shards of a set that have rows."""
    from hashkit.bank_set.places import on_this_machine
    from hashkit.bank_set.reader import BankSet

    path = on_this_machine(path)
    if not path.is_dir():
        return [path]
    with BankSet.open(path) as banks:
        if not banks.n_rows:
            raise ConfigError(f"{path} has no rows to index")
        return [bank.path for bank in banks if len(bank)]


def _build(path: Path, *, overwrite: bool) -> dict[str, object]:
    from hashkit.bank.reader import Bank
    from hashkit.multi_index.index import index_path

    target = index_path(path)
    with Bank.open(path) as bank:
        if not len(bank):
            raise ConfigError(f"{path} has no rows to index")
        found = None if overwrite else _up_to_date(target, bank)
        if found is not None:
            note(f"{target} matches the bank already: {plural(len(bank), 'row')}")
        built = _built(target, bank) if found is None else found
        return {
            "bank": str(path),
            "index": str(target),
            "was_built": found is None,
            "n_rows": built.n_rows,
            "n_bits": built.n_bits,
            "substring_lengths": list(built.substring_lengths),
            "bytes": built.nbytes,
        }


def _up_to_date(target: Path, bank: Bank) -> MultiIndex | None:
    """The index that is there, if it has all rows of the bank."""
    from hashkit.multi_index.index import MultiIndex

    try:
        found = MultiIndex.open(target, bank)
    except IndexMismatchError:
        return None
    return found if found.n_rows >= len(bank) else None


def _built(target: Path, bank: Bank) -> MultiIndex:
    from hashkit.multi_index.index import MultiIndex

    start = time.monotonic()
    n_rows = len(bank)
    with all_or_nothing(target):
        with progress_bar(f"indexing {bank.path.name}", n_rows, "rows") as bar:
            built = MultiIndex.build(
                bank, progress=lambda done, total: bar.update(done * n_rows // total)
            )
        built.save(target)
    seconds = time.monotonic() - start
    note(
        f"{target}: {plural(n_rows, 'row')} in {plural(built.n_tables, 'table')}"
        f" of {'/'.join(map(str, sorted(set(built.substring_lengths))))} bits, "
        f"{file_size(built.nbytes)}, {seconds:.1f} s"
    )
    return built
