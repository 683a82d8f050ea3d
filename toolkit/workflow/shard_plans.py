"""Plans of bank sets: which images every shard is made of, and by which model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hashkit.bank_set.manifest import MANIFEST_NAME
from hashkit.bank_set.plan_files import MAX_SHARDS, PLAN_NAME
from hashkit.datasets.slices.plan import Plan, SourceFile, read_plan, write_plan
from hashkit.datasets.slices.planning import write_slices
from hashkit.datasets.slices.spool import spooled
from hashkit.errors import BankError, BankMismatchError, DatasetError
from hashkit.files.addresses import check_local
from hashkit.files.locking import LockHeldError, lock_file
from hashkit.inputs.arguments import whole_number
from hashkit.messages.os_errors import cannot_write
from hashkit.preprocess import resampler
from hashkit.runtimes.encoder import Encoder
from hashkit.workflow.encoding import DEFAULT_OPTIONS, EncodeOptions
from hashkit.workflow.images_to_shard import ImagesToShard
from hashkit.workflow.reporter import SILENT, Reporter, plural

__all__ = ["ImagesToShard", "check_encoder", "plan_shards", "planned"]

_FIX: Final = "name another folder with `out=...`, or replace the set with `overwrite=True`"


def plan_shards(
    wanted: ImagesToShard,
    n_shards: int,
    folder: Path,
    encoder: Encoder,
    options: EncodeOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
) -> Plan:
    """Cut a list into slices, and write them and the plan into the folder of a set.

    If the folder has a plan of the same list, model and number of shards, the plan is used as it
    is. A list file is then read again only if it has changed since, and a folder of images is not
    read again. If a slice file is missing, the images are listed again to write it.

    Raises
    ------
    ConfigError
        If ``n_shards`` is out of range.
    BankMismatchError
        If the folder has another plan, or a set without one.
    DatasetError
        If the list or the plan cannot be read.
    BankError
        If the folder cannot be written.
    """
    n_shards = whole_number(n_shards, "shards", 1, MAX_SHARDS)
    try:
        check_local(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, reporter):
            found = read_plan(folder)
            if found is None:
                _check_new(folder)
                return _planned(wanted, n_shards, folder, encoder, reporter)
            _check_same(folder, found, wanted, n_shards, encoder, reporter)
    except OSError as error:
        raise BankError(cannot_write(error, folder)) from error
    check_encoder(folder, found, encoder, options)
    return found


def planned(folder: Path) -> Plan:
    """The plan of a set's folder.

    Raises
    ------
    BankError
        If it has none.
    DatasetError
        If it is damaged.
    """
    plan = read_plan(folder)
    if plan is None:
        raise BankError(
            f"{folder}: expected the folder of a bank set with {PLAN_NAME}, found none: `hashkit "
            f"encode LIST --model MODEL --shards N --out {folder}` plans one"
        )
    return plan


def check_encoder(folder: Path, plan: Plan, encoder: Encoder, options: EncodeOptions) -> None:
    """Check that a model computes the codes that the other shards have.

    Raises
    ------
    BankMismatchError
        If it is another model, or, unless that is allowed, another runtime or provider.
    """
    found = _model_fields(encoder)
    for name, value in found.items():
        expected = getattr(plan, name)
        is_provider = name in ("runtime", "provider", "resampler")
        if value == expected or (is_provider and options.allow_other_provider):
            continue
        fix = "use that one, or allow others with `allow_other_provider=True`"
        raise BankMismatchError(
            f"{folder}: expected shards made with the {name} {expected}, found {value}: "
            f"{fix if is_provider else _FIX}"
        )


def _planned(
    wanted: ImagesToShard, n_shards: int, folder: Path, encoder: Encoder, reporter: Reporter
) -> Plan:
    listing = wanted.listing(encoder.manifest, reporter)
    files = listing.files()  # before they are read, so that a change is noticed
    with spooled(listing, folder, with_labels=wanted.labels != "none") as spool:
        slices = write_slices(folder, spool, n_shards)
        plan = Plan(
            images=str(listing.images),
            kind=listing.kind,
            root=None if listing.root is None else str(listing.root),
            settings=wanted.settings(),
            files=files,
            n_images=spool.n_images,
            list=spool.digest,
            label_kind=spool.label_kind,
            class_names=spool.class_names,
            slices=slices,
            **_model_fields(encoder),
        )
    write_plan(folder, plan)
    reporter.note(
        f"{folder}: {plural(plan.n_images, 'image')} of {plan.images} in "
        f"{plural(n_shards, 'shard')}"
    )
    return plan


def _check_new(folder: Path) -> None:
    """Check that a folder without a plan has no set: such a set has no fixed list of images."""
    if (folder / MANIFEST_NAME).is_file() or any(folder.glob("shard-*.h5")):
        raise BankMismatchError(
            f"{folder}: expected a new folder, or one with {PLAN_NAME}, found a bank set without "
            "it, which follows a folder or was made in another way: update it with "
            f"`hashkit sync FOLDER --bank {folder}`, {_FIX}"
        )


def _check_same(
    folder: Path,
    plan: Plan,
    wanted: ImagesToShard,
    n_shards: int,
    encoder: Encoder,
    reporter: Reporter,
) -> None:
    """Check that a plan has the wanted list and number of shards; write missing slices again."""
    if len(plan.slices) != n_shards:
        raise BankMismatchError(
            f"{folder}: expected a bank set of {plural(n_shards, 'shard')}, found the plan of one "
            f"of {len(plan.slices)}: {_FIX}"
        )
    is_same = plan.settings == wanted.settings()
    has_slices = all((folder / one.file).is_file() for one in plan.slices)
    is_same_path = plan.images == str(wanted.path)
    if is_same and has_slices and is_same_path and _are_unchanged(plan.files):
        return
    if is_same:
        listing = wanted.listing(encoder.manifest, reporter)
        with spooled(listing, folder, with_labels=wanted.labels != "none") as spool:
            for _ in spool.blocks():
                pass
            root = None if listing.root is None else str(listing.root)
            is_same = (spool.digest, root) == (plan.list, plan.root)
            if is_same and not has_slices:
                write_slices(folder, spool, n_shards)
    if not is_same:
        raise BankMismatchError(
            f"{folder}: expected a bank set of {wanted.path}, found the plan of "
            f"{plural(plan.n_images, 'image')} of {plan.images}, another list or the same one "
            f"before it changed: {_FIX}"
        )


def _are_unchanged(files: tuple[SourceFile, ...]) -> bool:
    try:
        return all(SourceFile.of(Path(file.path)) == file for file in files)
    except DatasetError:
        return False


def _model_fields(encoder: Encoder) -> dict[str, Any]:
    """What is the same for all shards, in the order in which it is compared."""
    return {
        "n_bits": encoder.n_bits,
        "model_sha256": encoder.model_sha256,
        "precision": encoder.precision,
        "runtime": encoder.runtime,
        "provider": encoder.provider,
        "resampler": resampler(),
    }


@contextlib.contextmanager
def _locked(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Let one process plan at a time; the others then find its plan."""
    path = folder / f"{PLAN_NAME}.lock"
    try:
        lock = lock_file(path)
    except LockHeldError:
        reporter.note(f"{folder}: waiting for another process that plans this set")
        lock = lock_file(path, seconds=-1)
    try:
        yield
    finally:
        lock.release()
