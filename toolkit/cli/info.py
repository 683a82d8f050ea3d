"""``hashkit info``: the contents of a file or folder at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hashkit.cli.console import emit_json
from hashkit.cli.options import JsonOption, model_or_path
from hashkit.errors import CodesError, HashkitError
from hashkit.runtimes.builtin import advice_on_missing

__all__ = ["info"]


def info(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            parser=model_or_path,
            help="Bank, bank set, ONNX model, run folder or file of codes.",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Show what is in a bank, a model, a run or a file of codes.

    \b
    Examples:
      hashkit info bank.h5
      hashkit info runs/first model.onnx codes.parquet
      hashkit info bank.h5 --json
    """  # noqa: D301
    from hashkit.cli.info_output import print_facts

    found = [_facts(path) for path in paths]
    if json:
        emit_json({"paths": found})
        return
    for facts in found:
        print_facts(facts)


def _facts(path: Path) -> dict[str, Any]:
    from hashkit.bank_set.manifest import other_than
    from hashkit.bank_set.places import is_bank_set
    from hashkit.formats import FORMATS, format_of
    from hashkit.formats.bank import BANK
    from hashkit.workflow.file_facts import bank_facts, codes_facts, model_facts
    from hashkit.workflow.run_facts import run_facts
    from hashkit.workflow.set_facts import set_facts
    from hashkit.workflow.unfinished_set import is_unfinished_set, unfinished_set_facts

    if is_bank_set(path):
        return set_facts(path)
    if is_unfinished_set(path):
        return unfinished_set_facts(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise HashkitError(
                f"{path}: expected a run folder, a bank set or a file, found a folder without "
                f"config.json or bankset.json: {other_than(path)}"
            )
        return run_facts(path)
    if path.suffix == ".onnx":
        return model_facts(path)
    if not path.exists():
        raise HashkitError(f"{path}: there is no such file or folder: {advice_on_missing(path)}")
    try:
        kind = format_of(path)
    except CodesError:
        raise HashkitError(
            f"{path}: expected a run folder, a bank set, an ONNX model (.onnx) or codes "
            f"({' '.join(FORMATS)}), found something else"
        ) from None
    return bank_facts(path) if kind is BANK else codes_facts(path)
