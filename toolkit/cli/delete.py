"""``hashkit delete``: rows that search and evaluation skip from now on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hashkit.cli.console import TERMINAL, emit_json, note
from hashkit.cli.options import JsonOption
from hashkit.errors import BankError, ConfigError
from hashkit.workflow.reporter import plural

__all__ = ["delete"]


def delete(
    bank: Annotated[Path, typer.Argument(help="Code bank or bank set.")],
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Name of an image; may be repeated."),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option("--rows", metavar="ROWS", help="Row numbers and ranges, such as 3,7-9."),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore deleted rows instead.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete rows of a bank, so that search and evaluation skip them.

    Nothing is rewritten, row numbers do not change, and --restore undoes it. hashkit convert makes
    a bank without the deleted rows.

    \b
    Examples:
      hashkit delete bank.h5 --name cats/0012.jpg --name cats/0013.jpg
      hashkit delete bank.h5 --rows 3,7-9
      hashkit delete bank.h5 --rows 3,7-9 --restore
      hashkit delete set/ --rows 1000000
    """  # noqa: D301
    from hashkit.bank_set.editing import delete_rows, restore_rows
    from hashkit.bank_set.joined import as_one
    from hashkit.bank_set.opening import open_bank_or_set, open_banks
    from hashkit.workflow.index_state import report_index

    if not name and rows is None:
        raise ConfigError("name the rows: --name NAME, or --rows 3,7-9")
    with open_bank_or_set(bank) as opened:
        rows_of_bank = as_one(opened)
        wanted = set(_parse_rows(rows or "", len(rows_of_bank)))
        wanted.update(_rows_of(bank, rows_of_bank.names, name or []))
    change = restore_rows if restore else delete_rows
    n_changed = change(bank, sorted(wanted))
    shards = open_banks(bank)
    n_rows, n_deleted = sum(map(len, shards)), sum(shard.n_deleted for shard in shards)
    _note_result(bank, n_changed, len(wanted), n_rows, n_deleted, restore=restore)
    for shard in shards:
        report_index(shard.path, TERMINAL)
    if json:
        emit_json(
            {
                "bank": str(bank),
                "rows": sorted(wanted),
                "n_changed": n_changed,
                "n_rows": n_rows,
                "n_deleted": n_deleted,
            }
        )


def _note_result(
    bank: Path, n_changed: int, n_wanted: int, n_rows: int, n_deleted: int, *, restore: bool
) -> None:
    did, was = ("restored", "not deleted") if restore else ("deleted", "already deleted")
    same = n_wanted - n_changed
    rest = f" ({same:,} {'was' if same == 1 else 'were'} {was})" if same else ""
    note(
        f"{bank}: {did} {plural(n_changed, 'row')}{rest}; "
        f"{n_deleted:,} of {plural(n_rows, 'row')} deleted now"
    )


def _rows_of(bank: Path, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Rows with the given names, all of which must exist."""
    from hashkit.bank.names import rows_named

    if not wanted:
        return []
    found = rows_named(names, wanted)
    missing = [name for name, rows in found.items() if not rows]
    if missing:
        more = f" and {plural(len(missing) - 1, 'other name')}" if len(missing) > 1 else ""
        raise BankError(f"{bank}: has no row named {missing[0]!r}{more}; nothing was changed")
    return [row for rows in found.values() for row in rows]


def _parse_rows(text: str, n_rows: int) -> list[int]:
    """Row numbers of ``3,7-9``.

    Raises
    ------
    ConfigError
        If it is something else, or a row is not in the bank.
    """
    rows: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.isascii() and end.isdigit() for end in ends):
            raise ConfigError(f"--rows must be row numbers and ranges, as 3,7-9, not {part!r}")
        low, high = map(int, ends)
        if low > high or high >= n_rows:
            raise ConfigError(f"--rows: expected rows from 0 to {n_rows - 1}, found {part}")
        rows.extend(range(low, high + 1))
    return rows
