"""Moves duplicates into another folder, with a journal by which every move can be undone.

The journal is on the disk before the first file moves. Each of its entries says where a file was,
where it goes, and its digest, so the files themselves show what a killed process has done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from hashkit.collection.duplicates import DuplicateGroup
from hashkit.collection.facts import ImageFacts, has_changed
from hashkit.errors import ConfigError, HashkitError
from hashkit.files.moving import blake2b_of, is_same_file, move_file
from hashkit.files.writing import make_parents, write_whole
from hashkit.inputs.json_text import read_json
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.text import shown
from hashkit.messages.os_errors import cannot_write, os_error_line

__all__ = ["MoveReport", "UndoReport", "check_target", "move_duplicates", "undo_moves"]

_VERSION: Final = 1


@dataclasses.dataclass(frozen=True)
class _Move:
    """One file: where it was, where it goes, and its 16-byte BLAKE2b digest, hexadecimal."""

    source: str
    target: str
    digest: str


@dataclasses.dataclass(frozen=True)
class _Journal:
    """The content of a journal."""

    hashkit_dedup: int
    moves: tuple[_Move, ...]


@dataclasses.dataclass(frozen=True)
class MoveReport:
    """What was moved.

    Attributes
    ----------
    journal
        Path of the journal, which can undo the moves; None if there was nothing to move.
    moved
        Old and new path of each file that was moved.
    faults
        Files that were not moved, one line each.
    """

    journal: Path | None
    moved: tuple[tuple[Path, Path], ...]
    faults: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class UndoReport:
    """What was moved back.

    Attributes
    ----------
    restored
        Number of files that are back where they were.
    n_unmoved
        Number of files that were never moved, or were back already.
    faults
        Files that could not be moved back, one line each.
    """

    restored: int
    n_unmoved: int
    faults: tuple[str, ...]


def check_target(folder: Path, images: Path | None) -> None:
    """Check the folder to which duplicates are to be moved.

    Raises
    ------
    ConfigError
        If it is a file, or within the folder of the images, where they would be found again.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder to move duplicates to, found a file")
    if images is not None and _real(folder).is_relative_to(_real(images)):
        raise ConfigError(
            f"{folder}: expected a folder outside {images}, found one within it, where the "
            "duplicates would be found again: choose another"
        )


def move_duplicates(
    groups: Sequence[DuplicateGroup],
    folder: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
    *,
    begun: Callable[[Path], None] | None = None,
) -> MoveReport:
    """Move the duplicates of groups into a folder; the image to keep stays.

    A file is left where it is if it or the image to keep has changed since they were compared, if
    it is a link, or if it cannot be moved. No file is ever replaced.

    Parameters
    ----------
    groups
        The groups of `Duplicates.groups` to move, each unchanged.
    folder
        Where they go, under their names; made if it does not exist.
    progress
        Called with the number of files done, and of all files.
    begun
        Called with the journal's path before the first file moves.

    Returns
    -------
    MoveReport
        With ``journal``, the path for `undo_moves` (None if nothing was moved), ``moved``, pairs of
        the old and the new path, and ``faults``, one line per file that was not moved.

    Raises
    ------
    ConfigError
        If ``folder`` is a file, or within the folder of the images.
    HashkitError
        If the journal cannot be written. In both cases nothing was moved.
    """
    target = Path(folder).absolute()
    faults: list[str] = []
    chosen = list(_movable(groups, faults))
    for images in {_folder_of(image) for image in chosen}:
        check_target(target, images)
    if not chosen:
        return MoveReport(None, (), tuple(faults))
    moves = [
        _Move(str(image.path), str(path), image.file_digest.hex())
        for image, path in zip(chosen, _free_names(target, chosen), strict=True)
    ]
    journal = _write_journal(target, moves)
    if begun is not None:
        begun(journal)
    if progress is not None:
        progress(0, len(moves))
    moved = []
    for done, (image, one) in enumerate(zip(chosen, moves, strict=True), 1):
        source, path = Path(one.source), Path(one.target)
        if has_changed(image):
            faults.append(f"{source}: changed since it was compared; left there")
        else:
            try:
                move_file(source, path, image.file_digest)
                moved.append((source, path))
            except OSError as error:
                faults.append(f"{source}: left there ({os_error_line(error)})")
        if progress is not None:
            progress(done, len(moves))
    return MoveReport(journal, tuple(moved), tuple(faults))


def undo_moves(
    journal: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
) -> UndoReport:
    """Move files back to where they were, by the journal of `move_duplicates`.

    It may be repeated, and continues what a killed process began.

    Parameters
    ----------
    journal
        `MoveReport.journal`: a file in the folder to which they were moved.
    progress
        Called with the number of files done, and of all files.

    Returns
    -------
    UndoReport
        With ``restored`` and ``n_unmoved``, numbers of files, and ``faults``, one line per file.

    Raises
    ------
    HashkitError
        If there is no such journal, or it is damaged.
    """
    journal = Path(journal)
    moves = _read_journal(journal)
    home = _real(journal.absolute().parent)
    n_restored, n_unmoved, faults = 0, 0, []
    if progress is not None:
        progress(0, len(moves))
    for done, one in enumerate(reversed(moves), 1):
        try:
            fault, is_restored = _undo(one, home)
        except OSError as error:
            fault, is_restored = f"{one.target}: left there ({os_error_line(error)})", False
        if fault:
            faults.append(fault)
        n_restored += is_restored
        n_unmoved += not fault and not is_restored
        if progress is not None:
            progress(done, len(moves))
    for parent in sorted({Path(one.target).parent for one in moves}, reverse=True):
        _remove_empty(parent, journal.absolute().parent)
    return UndoReport(n_restored, n_unmoved, tuple(faults))


def _movable(groups: Sequence[DuplicateGroup], faults: list[str]) -> Iterator[ImageFacts]:
    for group in groups:
        if group.keep.path is None:
            faults.append(f"{group.keep.name}: the file was not found; its group is left")
            continue
        if has_changed(group.keep):
            faults.append(f"{group.keep.name}: changed since it was compared; its group is left")
            continue
        for one in group.duplicates:
            if one.image.path is None or not one.image.file_digest:
                faults.append(f"{one.image.name}: the file was not found; nothing to move")
            elif one.image.is_link:
                faults.append(f"{one.image.name}: a link, not a file; left there")
            else:
                yield dataclasses.replace(one.image, path=one.image.path.absolute())


def _folder_of(image: ImageFacts) -> Path | None:
    """The folder in which an image has its name; None if its path does not end in its name."""
    path, name = image.path or Path(), PurePath(image.name)
    n_parts = len(name.parts)
    return path.parents[n_parts - 1] if path.parts[-n_parts:] == name.parts else None


def _free_names(folder: Path, images: Sequence[ImageFacts]) -> Iterator[Path]:
    """For each image, a path in the folder that is not taken, on any file system.

    A killed move may have left the image's own file at the path; such a path counts as free.
    """
    taken: set[str] = set()
    for image in images:
        pure, source = PurePath(image.name), image.path or Path()
        below = pure if not pure.anchor and ".." not in pure.parts else PurePath(pure.name)
        for number in itertools.count(1):
            last = below.name if number == 1 else f"{below.stem} ({number}){below.suffix}"
            path = folder / below.with_name(last)
            key = str(path).casefold()
            is_free = not os.path.lexists(path) or is_same_file(path, source)
            if key not in taken and is_free:
                break
        taken.add(key)
        yield path


def _write_journal(folder: Path, moves: Sequence[_Move]) -> Path:
    now = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = folder / f"hashkit-dedup-{now}-{secrets.token_hex(3)}.json"
    document = dataclasses.asdict(_Journal(_VERSION, tuple(moves)))
    try:
        make_parents(path)
        write_whole(path, json.dumps(document, indent=1).encode())
    except OSError as error:
        raise HashkitError(cannot_write(error, path)) from None
    return path


def _read_journal(path: Path) -> tuple[_Move, ...]:
    what = "the journal of hashkit dedup"
    try:
        fields: Any = read_json(path, HashkitError)
    except FileNotFoundError:
        raise HashkitError(f"{path}: expected {what}, found no such file") from None
    journal = dataclass_from(_Journal, fields, name=f"{path}: {what}", error=HashkitError)
    if journal.hashkit_dedup != _VERSION:
        raise HashkitError(
            f"{path}: expected version {_VERSION} of {what}, found {journal.hashkit_dedup}: "
            "update hashkit"
        )
    for text in itertools.chain.from_iterable((one.source, one.target) for one in journal.moves):
        if not _is_absolute(text):
            raise HashkitError(
                f"{path}: expected absolute paths in {what}, found {shown(text)}: use the journal "
                "as it was written"
            )
    return journal.moves


def _is_absolute(path: str) -> bool:
    """Whether a text is an absolute path that a file can have."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return "\0" not in path and Path(path).is_absolute()


def _undo(one: _Move, home: Path) -> tuple[str, bool]:
    """Undo one move; returns what is wrong, if anything, and whether the file came back.

    Files are taken only from ``home``, the journal's folder, so a journal from somebody else cannot
    move or remove anything elsewhere.
    """
    source, target = Path(one.source), Path(one.target)
    if not _real(target.parent).is_relative_to(home):
        return f"{target}: left there: put the journal back where it was written", False
    if not os.path.lexists(target):
        missing = f"{target}: neither there nor at {source}"
        return ("" if os.path.lexists(source) else missing), False
    if not os.path.lexists(source):
        if blake2b_of(target).hex() != one.digest:
            return f"{target}: changed since it was moved; left there", False
        move_file(target, source, bytes.fromhex(one.digest))
        return "", True
    # Both exist: the process was killed before it removed the source, or they are other files.
    is_whole = blake2b_of(source).hex() == one.digest
    if not is_whole or (target.stat().st_size and blake2b_of(target).hex() != one.digest):
        return f"{target}: left there, as {source} is there too and differs", False
    target.unlink()
    return "", False


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and its parents below ``top`` that are empty now."""
    with contextlib.suppress(OSError):
        while folder != top and folder.is_relative_to(top):
            folder.rmdir()
            folder = folder.parent


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
