"""``hashkit doctor``: what is installed, whether it works, and how to fix what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from hashkit.cli.console import emit_json
from hashkit.cli.flags import shown
from hashkit.cli.options import JsonOption
from hashkit.cli.visible import result_console

if TYPE_CHECKING:
    from hashkit.runtimes.health import Check

__all__ = ["doctor"]

_STYLES: Final = {"ok": "green", "absent": "dim", "broken": "bold red"}


def doctor(context: typer.Context, json: JsonOption = False) -> None:
    """Check this installation: packages, runtimes and devices.

    Every installed runtime runs a tiny model, and its result is compared with the known one. The
    exit code is 1 if anything that is installed does not work.

    \b
    Examples:
      hashkit doctor
      hashkit doctor --json
    """  # noqa: D301
    from hashkit.workflow.installation import check_installation

    checks = [
        dataclasses.replace(check, detail=shown(context, check.detail))
        for check in check_installation()
    ]
    is_well = all(check.status != "broken" for check in checks)
    if json:
        emit_json({"ok": is_well, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        _print(checks)
    if not is_well:
        raise typer.Exit(1)


def _print(checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = result_console()
    if not console.is_terminal:
        width = max(len(check.name) for check in checks)
        for check in checks:
            what = f"{check.detail}: {check.remedy}" if check.remedy else check.detail
            line = f"{check.status:6}  {check.name:{width}}  {what}"
            console.print(line, soft_wrap=True)
        return
    table = Table("", "", "", show_header=False, box=None)
    for check in checks:
        status = Text(check.status, style=_STYLES[check.status])
        table.add_row(status, check.name, check.detail)
        if check.remedy:
            table.add_row("", "", check.remedy)
    console.print(table)
