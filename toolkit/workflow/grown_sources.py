"""What is new, changed or gone in a list of image files since a bank was made from it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.compatibility import check_model
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.interruption import end_last_list
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.codesets import deleted_mask
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import BankError, BankMismatchError
from hashkit.preprocess import decode_usable
from hashkit.runtimes.faults import SkippedImage, read_faults
from hashkit.runtimes.pipeline import EncodeMode
from hashkit.workflow.changed_images import changed_images
from hashkit.workflow.copied_images import check_copies, report_copies
from hashkit.workflow.reporter import Reporter, plural

__all__ = ["SourceState", "Todo", "compare_source", "rows_to_encode"]


@dataclasses.dataclass(frozen=True, eq=False)
class SourceState:
    """Images of a set compared with the rows of a bank that came from the same folder.

    Attributes
    ----------
    new
        int64 [n], rows of the set that have no row in the bank and were not skipped.
    skipped
        int64 [n], rows of the set that could not be used when the bank was made.
    known
        int64 [n, 2], rows of the set and of the bank that have the same name.
    n_gone
        Number of rows of the bank that are not deleted and whose images the set does not have.
    """

    new: NDArray[np.int64]
    skipped: NDArray[np.int64]
    known: NDArray[np.int64]
    n_gone: int


@dataclasses.dataclass(frozen=True, eq=False)
class Todo:
    """What is to be encoded.

    Attributes
    ----------
    rows
        int64 [n], rows of the set; None for all: the writer of the bank skips those that are done.
    mode
        How the bank is opened.
    """

    rows: NDArray[np.int64] | None
    mode: EncodeMode


def compare_source(images: ImageSet, bank: Bank, n_sources: int | None = None) -> SourceState:
    """Compare image files with the rows of a bank, by name, within the set's folder.

    Parameters
    ----------
    n_sources
        How many of the bank's image lists to count; None for all.

    Raises
    ------
    BankError
        If the bank has images of several folders, and its rows cannot be matched to the folders
        because its list of skipped images does not fit.
    """
    rows = dict(_rows_of_folder(images, bank, n_sources))
    faults = {fault.name for fault in _faults_of(images, bank, n_sources)}
    new, skipped, known = [], [], []
    for at, name in enumerate(images.names):
        row = rows.get(name)
        if row is not None:
            known.append((at, row))
        elif name in faults:
            skipped.append(at)
        else:
            new.append(at)
    gone = rows.keys() - set(images.names)
    is_deleted = deleted_mask(bank)
    return SourceState(
        np.array(new, np.int64),
        np.array(skipped, np.int64),
        np.array(known, np.int64).reshape(-1, 2),
        sum(not is_deleted[rows[name]] for name in gone),
    )


def rows_to_encode(
    images: ImageSet, header: BankHeader, path: Path, mode: EncodeMode, reporter: Reporter
) -> Todo:
    """Rows of a set of files that are still to be encoded into an existing bank.

    If an encoding was interrupted and the folder has changed since, the bank is completed with the
    images that it has, and then extended.

    Parameters
    ----------
    header
        The header of a bank of the whole set.

    Raises
    ------
    BankMismatchError
        If the bank follows the folder, has other images of it and is not to be extended, has other
        labels, or was made by another model; or if all images to append are, or were, in it.
    """
    source = header.source
    if source is None or images.root is None or mode == "overwrite" or not path.is_file():
        return Todo(None, mode)
    with Bank.open(path) as bank:
        if any(_is_of_folder(one, images) and one.n_images is None for one in bank.sources):
            raise BankMismatchError(
                f"{path}: expected a bank of a fixed list of images, found one that follows "
                f"{images.root}: use hashkit sync, or write another file"
            )
        if not any(_is_of_folder(one, images) for one in bank.sources):
            if mode == "append" and bank.is_complete:
                check_copies(images, bank, reporter)
            return Todo(None, mode)
        if not bank.is_complete:
            rows = _rest_of_interrupted(images, source, bank)
            if rows is None or len(rows):
                return Todo(rows, mode)
            check_model(path, header, bank.header)
            done = _processed_part(bank)
    if not bank.is_complete:
        end_last_list(path, done)
        reporter.note(
            f"{path}: {images.root} has changed since its encoding was interrupted; continuing "
            "with the images that the bank does not have"
        )
        mode = "append"
    return Todo(_rows_to_add(images, source, path, mode, reporter), mode)


def _rows_to_add(
    images: ImageSet, source: BankSource, path: Path, mode: EncodeMode, reporter: Reporter
) -> NDArray[np.int64] | None:
    """Rows of a set that a complete bank of its folder lacks; None if the bank compares lists."""
    with Bank.open(path) as bank:
        state = compare_source(images, bank)
        if mode == "resume" and bank.sources[-1].is_same_list(source):
            _report_changes(images, state, bank, reporter)
            return None
        _check_labels(images, state, bank)
        if mode == "resume" and source.protocol:
            return None  # another draw of the same folder, which the bank refuses
        if mode == "resume" and (len(state.new) or state.n_gone):
            raise BankMismatchError(_other_images(images, state, bank))
        again = _report_changes(images, state, bank, reporter)
        rows = state.new  # empty, unless they are appended
        if mode == "append":
            rows = np.sort(np.append(_with_usable(images, state), np.array(again, np.int64)))
        what = f"encoding {len(rows):,}" if len(rows) else "nothing to encode"
        reporter.note(
            f"{path}: {len(state.known):,} of {plural(len(images), 'image')} of {images.root} are "
            f"already in the bank; {what}"
        )
        _check_not_repeated(images.subset(rows), bank)
        report_copies(images, state.new if mode == "append" else rows, bank, reporter)
        return rows


def _check_not_repeated(images: ImageSet, bank: Bank) -> None:
    """Refuse images that are equal to a list of the bank, which would take them for that list."""
    digest = hash_names(images.names, images.labels)
    if len(images) and any(
        _is_of_folder(one, images) and one.names_sha256 == digest for one in bank.sources
    ):
        raise BankMismatchError(
            f"{bank.path}: expected images that were not appended before, found the same "
            f"{plural(len(images), 'image')} again (for example {images.names[0]}), whose rows "
            "have been deleted: make the bank again with `overwrite=True`"
        )


def _rest_of_interrupted(
    images: ImageSet, source: BankSource, bank: Bank
) -> NDArray[np.int64] | None:
    """Rows of the list whose encoding was interrupted; empty if the folder has changed since.

    None if the list is the whole set, or of another folder or draw, which the bank checks.
    """
    last = bank.sources[-1]
    if last.is_same_list(source) or not _is_of_folder(last, images) or last.protocol:
        return None
    before = compare_source(images, bank, len(bank.sources) - 1)
    rows = _with_usable(images, before)
    rest = images.subset(rows)
    is_same = hash_names(rest.names, rest.labels) == last.names_sha256
    return rows if is_same else np.zeros(0, np.int64)


def _processed_part(bank: Bank) -> BankSource:
    """The last image list of a bank, cut to the images that it has processed."""
    number = len(bank.sources) - 1
    skipped = {
        fault.row: fault.name
        for fault in read_faults(bank.path)
        if fault.source == number and fault.row < bank.n_consumed
    }
    n_rows = bank.n_consumed - len(skipped)
    encoded = iter(bank.names[len(bank) - n_rows : len(bank)])
    names = [skipped[row] if row in skipped else next(encoded) for row in range(bank.n_consumed)]
    # Labels of skipped images are not known: the digest is of the names alone.
    return dataclasses.replace(
        bank.sources[-1], n_images=len(names), names_sha256=hash_names(names, None)
    )


def _rows_of_folder(
    images: ImageSet, bank: Bank, n_sources: int | None
) -> Iterator[tuple[str, int]]:
    """Name and row of every row that came from a set's folder."""
    sources = bank.sources[:n_sources]
    if n_sources is None and all(_is_of_folder(one, images) for one in sources):
        yield from ((name, row) for row, name in enumerate(bank.names))
        return
    skipped = [0] * len(bank.sources)
    for fault in read_faults(bank.path):
        if fault.source < len(skipped):
            skipped[fault.source] += 1
    counts = [
        (one.n_images or 0) - missing for one, missing in zip(bank.sources, skipped, strict=True)
    ]
    growing = [number for number, one in enumerate(bank.sources) if one.n_images is None]
    if bank.is_complete and len(growing) == 1:  # the rows that no other list has
        counts[growing[0]] = max(0, len(bank) - sum(counts))
    if bank.is_complete and sum(counts) != len(bank):
        raise BankError(
            f"{bank.path}: expected {sum(counts)} rows of its {len(counts)} image lists, found "
            f"{len(bank)}, so that rows and folders cannot be matched: encode into another bank"
        )
    stops = np.cumsum(counts)
    for one, count, stop in zip(sources, counts, stops.tolist(), strict=False):
        if _is_of_folder(one, images):
            names = bank.names[stop - count : stop]
            yield from ((name, row) for row, name in enumerate(names, stop - count))


def _faults_of(images: ImageSet, bank: Bank, n_sources: int | None) -> Iterator[SkippedImage]:
    are_of_folder = [_is_of_folder(one, images) for one in bank.sources[:n_sources]]
    for fault in read_faults(bank.path):
        if fault.source < len(are_of_folder) and are_of_folder[fault.source]:
            yield fault


def _is_of_folder(source: BankSource, images: ImageSet) -> bool:
    if source.root is None or images.root is None:
        return False
    return os.path.realpath(source.root) == os.path.realpath(images.root)


def _with_usable(images: ImageSet, state: SourceState) -> NDArray[np.int64]:
    """The new images, and the skipped ones that can be used by now: rows in order."""
    usable = [row for row in state.skipped.tolist() if decode_usable(images.source(row))]
    return np.sort(np.append(state.new, np.array(usable, np.int64)))


def _check_labels(images: ImageSet, state: SourceState, bank: Bank) -> None:
    if images.labels is None or bank.labels is None or not len(state.known):
        return
    ours, theirs = images.labels[state.known[:, 0]], bank.labels[state.known[:, 1]]
    if ours.shape != theirs.shape:
        return  # another kind of labels, which the bank refuses
    differs = (ours != theirs).reshape(len(ours), -1).any(axis=1)
    if differs.any():
        first = images.names[state.known[np.argmax(differs), 0]]
        raise BankMismatchError(
            f"{bank.path}: expected the labels that the bank has, found other labels of "
            f"{plural(int(differs.sum()), 'image')} (for example {first}): write another file, or "
            "replace this one with `overwrite=True`"
        )


def _other_images(images: ImageSet, state: SourceState, bank: Bank) -> str:
    found = [f"{len(state.new):,} that are new"] if len(state.new) else []
    found += [f"{state.n_gone:,} fewer"] if state.n_gone else []
    fix = "add the new ones with `append=True`, or " if len(state.new) else ""
    n_images = len(state.known) + state.n_gone
    return (
        f"{bank.path}: expected the {n_images:,} images of {images.root} that the bank has, found "
        f"{' and '.join(found)}: {fix}make the bank again with `overwrite=True`"
    )


def _report_changes(
    images: ImageSet, state: SourceState, bank: Bank, reporter: Reporter
) -> list[int]:
    """Warn of images that have changed under their name, and of rows whose images are gone.

    Returns the rows of the set that have changed and whose rows of the bank are deleted: these can
    be encoded again.
    """
    if state.n_gone:
        reporter.note(
            f"warning: {plural(state.n_gone, 'row')} of {bank.path} are of images that are no "
            f"longer in {images.root}; hashkit delete removes rows"
        )
    if not len(state.known):
        return []
    if bank.files is None:
        reporter.note(
            f"{bank.path} has no sizes, times and digests of its image files, so images that "
            "changed under their names are not detected"
        )
        return []
    changed = changed_images(images, state.known, bank)
    is_deleted = bank.deleted
    stale = [images.names[at] for at, row in changed if is_deleted is None or not is_deleted[row]]
    if stale:
        reporter.note(
            f"warning: {plural(len(stale), 'image')} changed since they were encoded (for example "
            f"{stale[0]}), and {bank.path} has the old codes: delete these rows with "
            "hashkit delete and append the folder, or make the bank again"
        )
    return [at for at, row in changed if is_deleted is not None and is_deleted[row]]
