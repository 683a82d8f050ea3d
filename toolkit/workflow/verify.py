"""Reads files and runs from end to end, and finds what is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hashkit.bank_set.manifest import other_than
from hashkit.bank_set.places import is_bank_set, on_this_machine
from hashkit.errors import HashkitError
from hashkit.features.embedder import is_embedder
from hashkit.formats import format_named
from hashkit.formats.bank import BANK
from hashkit.runs.run import Run
from hashkit.runtimes.builtin import advice_on_missing
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.verify_files import (
    Verification,
    verify_bank,
    verify_embedder,
    verify_index,
    verify_model,
    verify_set,
    with_model_faults,
)
from hashkit.workflow.verify_run import verify_run

__all__ = ["verify_paths"]

_INDEX_SUFFIX: Final = ".mih"


def verify_paths(paths: Sequence[Path], reporter: Reporter = SILENT) -> list[Verification]:
    """Verify banks, bank sets, indexes, ONNX models and run folders.

    If banks and exactly one model are among them, the banks must have been made by that model.

    Raises
    ------
    HashkitError
        If a path is missing, or is something else.
    """
    paths = [on_this_machine(path) for path in paths]
    for path in paths:
        _check_kind(path)
    found: list[Verification] = []
    for path in paths:
        if is_bank_set(path):
            found += verify_set(path, reporter)
        elif path.is_dir():
            found += verify_run(path, reporter)
        elif path.suffix == ".onnx" and _is_embedder(path):
            found.append(verify_embedder(path))
        elif path.suffix == ".onnx":
            found.append(verify_model(path))
        elif path.suffix == _INDEX_SUFFIX:
            found.append(verify_index(path))
        else:
            found.append(verify_bank(path, reporter))
    return with_model_faults(found)


def _is_embedder(path: Path) -> bool:
    """Whether a file is an embedder, or was one before it was damaged."""
    run = Run(path.parent)
    return is_embedder(path) or (path.name == run.embedder_path.name and run.config_path.is_file())


def _check_kind(path: Path) -> None:
    expected = "expected a bank, a bank set, an index (.mih), an ONNX model (.onnx) or a run folder"
    if not path.exists():
        raise HashkitError(
            f"{path}: {expected}, found no such file or folder: {advice_on_missing(path)}"
        )
    if path.is_dir():
        if not (is_bank_set(path) or (path / "config.json").is_file()):
            raise HashkitError(
                f"{path}: {expected}, found a folder without config.json or bankset.json: "
                f"{other_than(path)}"
            )
    elif path.suffix not in (".onnx", _INDEX_SUFFIX):
        try:
            is_bank = format_named(path) is BANK
        except HashkitError:
            is_bank = False
        if not is_bank:
            raise HashkitError(
                f"{path}: {expected}, found something else; `hashkit convert` makes a bank of codes"
            )
