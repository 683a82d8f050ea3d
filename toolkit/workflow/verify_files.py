"""Reads a bank, an index or a model from end to end, and finds what is damaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hashkit.bank.reader import Bank
from hashkit.bank.verification import find_faults
from hashkit.bank_set.manifest import read_manifest
from hashkit.bank_set.reader import open_shard
from hashkit.errors import BankError, HashkitError
from hashkit.rows_digest import BLOCK_ROWS
from hashkit.workflow.reporter import SILENT, Reporter, plural

__all__ = [
    "Fault",
    "Verification",
    "check_rows",
    "verify_bank",
    "verify_embedder",
    "verify_index",
    "verify_model",
    "verify_set",
    "with_model_faults",
]


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that is damaged, or that does not belong together.

    Attributes
    ----------
    message
        One line for a person.
    column, block, first_row, last_row
        The dataset, the block and its rows, for damage of a bank's rows; otherwise None.
    """

    message: str
    column: str | None = None
    block: int | None = None
    first_row: int | None = None
    last_row: int | None = None


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was checked of one file.

    Attributes
    ----------
    path
        The file, or the run folder for what belongs to no single file.
    kind
        ``code bank``, ``bank set``, ``multi-index``, ``ONNX model``, ``checkpoint``, ``embedder``,
        ``features`` or ``run``.
    checked
        What was checked, one line.
    faults
        What is wrong; empty if nothing is.
    sha256
        For a model, the SHA-256 of its file; for a bank, that of the model that it names; empty if
        unknown.
    """

    path: Path
    kind: str
    checked: str
    faults: tuple[Fault, ...]
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = dataclasses.asdict(self) | {"path": str(self.path)}
        del fields["sha256"]
        return fields


def verify_bank(path: Path, reporter: Reporter = SILENT) -> Verification:
    """Check every block of a bank, with progress in rows."""
    try:
        with Bank.open(path) as bank:
            faults = tuple(
                Fault(
                    f"{path}: damaged: {fault}; restore a copy of the bank, or make it again with "
                    "`overwrite=True`",
                    fault.column,
                    fault.block,
                    fault.first_row,
                    fault.last_row,
                )
                for fault in _row_faults(bank, reporter)
            )
            return Verification(
                path, "code bank", _bank_text(bank), faults, bank.header.model_sha256
            )
    except BankError as error:
        return Verification(path, "code bank", "its header", (Fault(str(error)),))


def verify_set(folder: Path, reporter: Reporter = SILENT) -> list[Verification]:
    """Check the manifest of a bank set against its shards, and every block of each shard.

    The rows of a shard are compared with its checksums, and these with the manifest's digest.
    """
    try:
        manifest = read_manifest(folder)
    except BankError as error:
        return [Verification(folder, "bank set", "its manifest", (Fault(str(error)),))]
    faults: list[Fault] = []
    found: list[Verification] = []
    for entry in manifest.shards:
        try:
            open_shard(folder, manifest, entry).close()
        except BankError as error:
            faults.append(Fault(str(error)))
        if (folder / entry.file).exists():
            found.append(verify_bank(folder / entry.file, reporter))
    n_shards = plural(len(manifest.shards), "shard")
    checked = f"its manifest against {n_shards} of {plural(manifest.n_rows, 'row')}"
    return [Verification(folder, "bank set", checked, tuple(faults)), *found]


def check_rows(bank: Bank, reporter: Reporter = SILENT) -> None:
    """Check every block of a bank that is about to be copied.

    Raises
    ------
    BankError
        At the first block that is damaged.
    """
    for fault in _row_faults(bank, reporter):
        raise BankError(
            f"{bank.path}: damaged: {fault}; `hashkit verify` lists every fault: restore a copy of "
            "the bank, or encode its images again"
        )


def verify_index(path: Path) -> Verification:
    """Check the arrays of an index, and that it matches the first rows of the bank beside it."""
    from hashkit.multi_index.file import changed_arrays, unfit
    from hashkit.workflow.index_state import index_state

    checked = "its header, tables and bank"
    faults: list[HashkitError] = []
    try:
        faults += [
            unfit(path, f"damaged: {name} do not match their checksum")
            for name in changed_arrays(path)
        ]
        with Bank.open(path.with_suffix("")) as bank:
            state = index_state(bank)
            if state is not None and state.n_rows is not None:
                checked += f", {state.n_rows:,} of {plural(len(bank), 'row')}"
            elif state is not None:
                faults.append(HashkitError(state.problem))
    except HashkitError as error:
        faults.append(error)
    return Verification(path, "multi-index", checked, tuple(Fault(str(one)) for one in faults))


def verify_model(path: Path) -> Verification:
    """Check that a model opens, keeps the contract and gives codes."""
    import numpy as np

    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.settings import RuntimeSettings

    try:
        encoder = Encoder.open(path, RuntimeSettings(device="cpu"))
        encoder.run(np.zeros((1, *encoder.manifest.size, 3), np.uint8))
    except HashkitError as error:
        return Verification(path, "ONNX model", "its file", (Fault(str(error)),))
    sha256 = encoder.model_sha256
    checked = (
        f"loads, meets the contract and gives codes of {encoder.n_bits} bits; SHA-256 {sha256}"
    )
    return Verification(path, "ONNX model", checked, (), sha256)


def verify_embedder(path: Path) -> Verification:
    """Check the embedder of a run on frozen features, which an export depends on."""
    from hashkit.features.embedder import read_embedder

    faults: tuple[Fault, ...] = ()
    try:
        checked = f"graph, SHA-256 {read_embedder(path).sha256}"
    except HashkitError as error:
        checked, faults = "its file", (Fault(str(error)),)
    return Verification(path, "embedder", checked, faults)


def with_model_faults(found: Sequence[Verification]) -> list[Verification]:
    """The same; if one model is among them, with a fault for each bank made by another model."""
    models = [checked for checked in found if checked.kind == "ONNX model" and checked.sha256]
    if len(models) != 1:
        return list(found)
    (model,) = models
    return [
        dataclasses.replace(checked, faults=(*checked.faults, _other_model(checked, model)))
        if checked.kind == "code bank" and checked.sha256 not in ("", model.sha256)
        else checked
        for checked in found
    ]


def _other_model(bank: Verification, model: Verification) -> Fault:
    return Fault(
        f"{bank.path}: expected codes of {model.path}, SHA-256 {model.sha256}, found codes of the "
        f"model {bank.sha256}: the model was changed or exported again since; make the bank again "
        "with `overwrite=True`"
    )


def _row_faults(bank: Bank, reporter: Reporter) -> Iterator[Any]:
    with reporter.progress(f"checking {bank.path.name}", len(bank), "rows") as bar:
        yield from find_faults(bank, bar.update)


def _bank_text(bank: Bank) -> str:
    n_blocks = -(-len(bank) // BLOCK_ROWS)
    rows = f"{plural(len(bank), 'row')} in {plural(n_blocks, 'block')}"
    state = "" if bank.is_complete else "; the bank is not complete yet"
    if bank.has_checksums:
        return f"header, deleted rows and checksums of {rows}{state}"
    return (
        f"values of {rows}{state}; format version {bank.format_version} has no checksums, and "
        "`hashkit convert` makes a bank that has them"
    )
