"""Replaces a bank by one that is made beside it, with another model or columns for files."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np

from hashkit.bank.editor import BankEditor
from hashkit.bank.files import write_errors
from hashkit.bank.header import BankHeader
from hashkit.bank.names import rows_named
from hashkit.bank.reader import Bank
from hashkit.bank_set.joined import AnyBank
from hashkit.collection.labelling import FolderLabels
from hashkit.collection.plan import Plan, known_rows, make_plan
from hashkit.collection.removals import RemovedRows, removed_rows_path
from hashkit.collection.sync import SyncJob, apply_plan, new_header
from hashkit.collection.todo import Done
from hashkit.errors import BankError
from hashkit.files.writing import publish

__all__ = ["beside_path", "check_readable", "replace_bank"]


def beside_path(path: Path) -> Path:
    """Path of the bank that is made to replace the one at ``path``."""
    return path.with_name(f"{path.stem}.next{path.suffix}")


def replace_bank(bank: Bank, plan: Plan, labels: FolderLabels, job: SyncJob) -> Done:
    """Encode a folder beside a bank, and let the new bank replace it; the lock is the caller's.

    If it is killed, the bank is as it was, and the same call continues.

    Parameters
    ----------
    bank
        The bank to replace.
    plan
        How the folder differs from the bank. Images that it counts as changed are encoded with the
        others.

    Raises
    ------
    BankError
        If images of the bank cannot be read now, so that their rows would be lost, unless
        ``job.allow_removals``; or if a file cannot be written.
    """
    check_readable(bank, plan, allow_removals=job.allow_removals)
    beside, encoder = beside_path(bank.path), job.load_encoder()
    header = dataclasses.replace(
        new_header(encoder, plan.listing.folder),
        label_kind=bank.header.label_kind,
        class_names=bank.header.class_names,
    )
    with _editor_of(beside, header) as editor:
        with Bank.open(beside) as so_far:
            removed = RemovedRows(beside, so_far.identity)
            known = known_rows(so_far, removed)
            rest = make_plan(plan.listing, known, checksum=False, n_workers=job.n_workers)
            encoded = apply_plan(editor, so_far, rest, removed, labels, job)
        with Bank.open(beside) as made:
            done = _changes_in_folder(bank, made, plan, encoded)
            RemovedRows(bank.path, made.identity).add(removed.rows)
            names = [plan.listing.names[at] for at in plan.left_deleted[:, 0].tolist()]
            rows = [row for some in rows_named(made.names, names).values() for row in some]
        editor.apply(deleted=rows)
        removed_rows_path(beside).unlink(missing_ok=True)
    with write_errors(bank.path):
        publish(beside, bank.path)
    with contextlib.suppress(OSError):
        Path(f"{beside}.lock").unlink()
    return done


def check_readable(bank: AnyBank, plan: Plan, *, allow_removals: bool) -> None:
    """Refuse to replace a bank if some of its images cannot be read now.

    Raises
    ------
    BankError
        If there are any, unless ``allow_removals``.
    """
    if len(plan.kept) and not allow_removals:
        raise BankError(
            f"{bank.path}: expected to read all its images again, found {len(plan.kept):,} that "
            f"cannot be read (for example {bank.names[int(plan.kept[0])]}): make them readable, or "
            "delete their rows with `allow_removals=True`"
        )


def _changes_in_folder(bank: Bank, made: Bank, plan: Plan, encoded: Done) -> Done:
    """What changed in the folder.

    If the old bank knew nothing about its files, images whose code of the same model differs count
    as changed.
    """
    broken = {fault.name for fault in encoded.faults}
    names = plan.listing.names
    added = [at for at in plan.added.tolist() if names[at] not in broken]
    changed = [(at, row) for at, row in plan.changed.tolist() if names[at] not in broken]
    n_known = len(changed)
    if bank.files is None and bank.header.model_sha256 == made.header.model_sha256:
        codes = dict(zip(made.names, np.asarray(made.codes), strict=True))
        before = np.asarray(bank.codes)
        same = [np.array_equal(codes.get(names[at], ()), before[row]) for at, row in changed]
        changed = [pair for pair, is_same in zip(changed, same, strict=True) if not is_same]
    return Done(
        len(added),
        len(changed),
        len(plan.moved),
        len(plan.vanished),
        encoded.encoded,
        encoded.faults,
        n_known - len(changed),
    )


def _editor_of(beside: Path, header: BankHeader) -> BankEditor:
    """Continue the bank that is being made, or begin it."""
    if not beside.exists():
        return BankEditor.create(beside, header)
    with Bank.open(beside) as found:
        source = found.header.source
        if source is None or source.n_images is not None:
            raise BankError(
                f"{beside}: expected no other bank of this name, since the new codes are collected "
                "there: rename it"
            )
        same = ("n_bits", "model_sha256", "precision", "label_kind", "class_names")
        is_same = all(getattr(found.header, name) == getattr(header, name) for name in same)
        is_same &= header.source is not None and header.source.root == source.root
    if is_same:
        return BankEditor.open(beside)
    return BankEditor.create(beside, header, overwrite=True)
