"""Whether the index beside a bank still fits it, for the commands that change banks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.errors import IndexMismatchError
from hashkit.workflow.reporter import Reporter

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank

__all__ = ["IndexState", "index_state", "partial_index_text", "report_index"]


@dataclasses.dataclass(frozen=True)
class IndexState:
    """The index beside a bank.

    Attributes
    ----------
    path
        The index file.
    n_rows
        Rows of the bank that it covers, the first ones; None if it cannot be used.
    problem
        Why it cannot be used, and how to fix that; empty if it can.
    """

    path: Path
    n_rows: int | None
    problem: str = ""


def index_state(bank: Bank) -> IndexState | None:
    """State of the index beside a bank; None if there is none."""
    from hashkit.multi_index.binding import mismatch
    from hashkit.multi_index.file import read_index, unfit
    from hashkit.multi_index.index import index_path

    path = index_path(bank.path)
    if not path.is_file():
        return None
    try:
        header = read_index(path).header
        reason = mismatch(header, bank)
        if reason is not None:
            raise unfit(path, reason)
    except IndexMismatchError as error:
        return IndexState(path, None, str(error))
    return IndexState(path, header.n_rows)


def report_index(bank_path: Path, reporter: Reporter) -> None:
    """Say whether the index beside a bank has become useless, or covers only some of its rows."""
    from hashkit.bank.reader import Bank
    from hashkit.multi_index.index import index_path

    if not index_path(bank_path).is_file():
        return
    with Bank.open(bank_path) as bank:
        state, n_rows = index_state(bank), len(bank)
    if state is None:
        return
    if state.n_rows is None:
        reporter.note(f"warning: the index is out of date: {state.problem}")
    elif state.n_rows < n_rows:
        reporter.note(partial_index_text(state.path, state.n_rows, n_rows))


def partial_index_text(path: Path, n_indexed: int, n_rows: int) -> str:
    """One line about an index of the first rows of a bank that has grown."""
    return (
        f"{path}: covers the first {n_indexed:,} of {n_rows:,} rows, and a search compares the "
        f"others one by one; `hashkit index {path.with_suffix('')}` includes them"
    )
