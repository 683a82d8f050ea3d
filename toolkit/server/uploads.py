"""Images that clients add and remove: a file in a folder, and a row of the bank.

The file comes first, whole and on the disk, then the row, in one commit of all that wait. A process
that is killed in between leaves a file without a row, which the next start or `hashkit sync` adds.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.bank.reader import Bank
from hashkit.collection.labelling import FolderLabels
from hashkit.errors import BankError, ConfigError
from hashkit.files.writing import make_parents, sync_folder, write_new
from hashkit.imaging.content import read_image_file
from hashkit.server.batching import Batcher
from hashkit.server.failures import RequestError
from hashkit.server.live_bank import LiveBank
from hashkit.server.upload_names import check_root, folded, upload_path
from hashkit.server.writable import WritableBank

__all__ = ["NewImage", "Uploads"]

logger: Final = logging.getLogger("hashkit.server")


@dataclasses.dataclass(frozen=True, eq=False)
class NewImage:
    """An image to add: its name, the bytes of its file, and its code.

    ``data`` is None for a file that is in the folder already.
    """

    name: str
    data: bytes | None
    code: NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class _Removal:
    name: str


_Change: TypeAlias = NewImage | _Removal
_Outcome: TypeAlias = int | RequestError
"""The row that was added, or the number of rows removed; or why nothing was done."""


class Uploads:
    """Adds images to a folder and a bank, and removes them, in one thread.

    Parameters
    ----------
    place
        The folder, and the bank open for changes; it is closed with this object.
    bank
        What is searched.
    most
        Changes that are made in one commit.

    Attributes
    ----------
    folder
        The folder.

    Raises
    ------
    ConfigError, BankError
        If the bank cannot take images of the folder.
    """

    def __init__(self, place: WritableBank, bank: LiveBank, most: int) -> None:
        self.folder = place.folder
        self._place = place
        self._editor = place.editor
        self._bank = bank
        self._labels: FolderLabels | None = self._adopted(bank.latest.banks[0])
        self._changes: Batcher[_Change, _Outcome] = Batcher(self._apply, most, "uploads")

    def check_new(self, name: str) -> None:
        """Check that an image of this name can be added.

        Raises
        ------
        RequestError
            422 if the name cannot be one, 409 if there is such an image, 503 if the bank or the
            folder takes none now.
        """
        path = upload_path(self.folder, name)
        check_root(self.folder)
        self._check_free(name, path)
        if self._bank.fault:
            raise _no_changes(self._bank.fault)

    async def add(self, image: NewImage) -> int:
        """Add an image; returns its row.

        Raises
        ------
        RequestError
            409 if there is one of this name.
        """
        return _checked(await self._changes(image))

    async def remove(self, name: str) -> None:
        """Remove the file and the rows of a name.

        Raises
        ------
        RequestError
            404 if there are none.
        """
        _checked(await self._changes(_Removal(name)))

    def close(self) -> None:
        """End the thread, and release the bank."""
        self._changes.close()
        self._place.close()

    def _adopted(self, bank: Bank) -> FolderLabels:
        """Prepare the bank for images of the folder; the rule by which it labels them."""
        self._place.adopt(bank)
        return FolderLabels.of_rows(self._editor.header, bank.names, bank.labels)

    def _follow(self) -> FolderLabels:
        """If another program has replaced the bank's file, continue with the new one.

        Returns the rule by which it labels images.
        """
        self._bank.current()
        if self._bank.fault:
            raise _no_changes(self._bank.fault)
        try:
            if self._editor.reopen():
                self._labels = None
            if self._labels is None:
                self._labels = self._adopted(self._bank.current().banks[0])
        except (BankError, ConfigError) as error:
            logger.error("no image is added or removed: %s", error)
            raise _no_changes(
                "the file that replaced it is damaged, incomplete or of other images"
            ) from None
        return self._labels

    def _apply(self, changes: Sequence[_Change]) -> list[_Outcome]:
        """Make changes in their order; a removal ends a commit, as it may remove a new image."""
        check_root(self.folder)
        labels = self._follow()
        outcomes: list[_Outcome] = []
        new: list[NewImage] = []
        for change in changes:
            if isinstance(change, NewImage):
                new.append(change)
                continue
            outcomes += self._add(new, labels)
            new = []
            outcomes.append(self._remove(change.name))
        return outcomes + self._add(new, labels)

    def _add(self, images: Sequence[NewImage], labels: FolderLabels) -> list[_Outcome]:
        outcomes: list[_Outcome] = [0] * len(images)
        written: list[tuple[int, NewImage, Path]] = []
        names: set[str] = set()  # of images that no row has yet
        try:
            for number, image in enumerate(images):
                try:
                    if folded(image.name) in names:
                        raise _exists(image.name)
                    written.append((number, image, self._write_image(image)))
                except RequestError as error:
                    outcomes[number] = error
                else:
                    names.add(folded(image.name))
            rows = self._commit([(image, path) for _, image, path in written], labels)
        except BaseException:
            for _, image, path in written:
                if image.data is not None:
                    path.unlink(missing_ok=True)
            raise
        for (number, _, _), row in zip(written, rows, strict=True):
            outcomes[number] = row
        return outcomes

    def _write_image(self, image: NewImage) -> Path:
        path = upload_path(self.folder, image.name)
        self._check_free(image.name, None if image.data is None else path)
        if image.data is not None:
            try:
                make_parents(path)
                write_new(path, image.data)
            except (FileExistsError, NotADirectoryError):
                self._check_free(image.name, path)  # says what was made in the meantime
                raise _exists(image.name) from None
        return path

    def _check_free(self, name: str, path: Path | None) -> None:
        """Raise if an image has this name or one like it, or if something is at its path."""
        now = self._bank.current()
        like = [now.bank.names[row] for row in now.rows_like(name)]
        if name in like:
            raise _exists(name)
        if like:
            raise RequestError(
                409,
                f"there is already an image named {like[0][:80]!r}, which some systems treat "
                f"as the same as {name[:80]!r}",
            )
        if path is None:
            return
        if path.is_dir():
            raise RequestError(409, f"there is a folder named {name[:80]!r}")
        if path.exists():
            raise _exists(name)
        existing = next(folder for folder in path.parents if os.path.lexists(folder))
        if not existing.is_dir():
            file = existing.relative_to(self.folder).as_posix()
            raise RequestError(
                409, f"expected {file[:80]!r} to be a folder, found an image of this name"
            )

    def _commit(self, images: Sequence[tuple[NewImage, Path]], labels: FolderLabels) -> range:
        if not images:
            return range(0)
        names = [image.name for image, _ in images]
        files = ImageFiles.unknown(len(images))
        for row, (_, path) in enumerate(images):
            content = read_image_file(path)
            files.set(row, len(content.data), content.mtime_ns, content.digest())
        return self._editor.apply(
            np.stack([image.code for image, _ in images]),
            names,
            labels.labels_of(names, [None] * len(names)),
            files=files,
        )

    def _remove(self, name: str) -> _Outcome:
        now = self._bank.current()
        rows, path = now.rows_named(name), self._file_of(name)
        # On a system that ignores case, the file may be that of another row.
        if not rows and (path is None or now.rows_like(name)):
            return RequestError(404, f"there is no image named {name[:80]!r}")
        # In this order, as a row without a file would be a hit without a picture.
        if rows:
            self._editor.apply(deleted=rows)
        if path is not None:
            path.unlink()
            sync_folder(path.parent)
        return len(rows)

    def _file_of(self, name: str) -> Path | None:
        """The file of an upload; None if there is none, or an upload cannot have the name."""
        try:
            path = upload_path(self.folder, name)
        except RequestError:
            return None
        return path if path.is_file() else None


def _exists(name: str) -> RequestError:
    return RequestError(409, f"there is already an image named {name[:80]!r}")


def _no_changes(reason: str) -> RequestError:
    return RequestError(
        503,
        f"no image can be added or removed now, because the bank was replaced: {reason}; the "
        "server's log has the details",
        {"Retry-After": "30"},
    )


def _checked(outcome: _Outcome) -> int:
    if isinstance(outcome, RequestError):
        raise outcome
    return outcome
