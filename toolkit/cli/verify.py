"""``hashkit verify``: whether files still hold what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashkit.cli.console import TERMINAL, emit_json
from hashkit.cli.flags import shown
from hashkit.cli.options import JsonOption, model_or_path
from hashkit.messages.visible_text import visible

__all__ = ["verify"]


def verify(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            parser=model_or_path,
            help="Bank, bank set, index, ONNX model or run folder.",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Read banks, models and runs, and list what is damaged.

    This includes bank sets and indexes. The exit code is 1 if anything is damaged. For a bank,
    every block of every column is compared with its checksum. For a bank set, the manifest is
    compared with the shards, and each shard is checked. For an index, its tables and rows are
    checked; for a run, all of its files.

    \b
    Examples:
      hashkit verify bank.h5
      hashkit verify bank.h5.mih runs/first
      hashkit verify bank.h5 model.onnx --json
    """  # noqa: D301
    from hashkit.workflow.verify import verify_paths

    found = verify_paths(paths, TERMINAL)
    faults = [fault for check in found for fault in check.faults]
    if json:
        emit_json({"checks": [check.to_dict() for check in found], "n_faults": len(faults)})
    else:
        for check in found:
            state = "damaged" if check.faults else "ok"
            text = shown(context, f"{check.path}: {state} ({check.kind}: {check.checked})")
            print(visible(text))
        for fault in faults:
            print(visible(shown(context, fault.message)))
    if faults:
        raise typer.Exit(1)
