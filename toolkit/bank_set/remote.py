"""Bank sets in object stores: shards are copied to a cache of this machine, checked, and mapped.

In the cache, ``sets/`` has a folder for each address, with the manifest and a link for each shard
to a file in ``shards/``, whose name identifies its content. A copy is used again as long as the
manifest and the store describe the same file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, NoReturn

from hashkit.bank.reader import Bank
from hashkit.bank.verification import find_faults
from hashkit.bank_set.manifest import MANIFEST_NAME, ShardEntry, read_manifest
from hashkit.errors import BankError
from hashkit.files.cache import cache_folder, cannot_write_in_cache, make_room
from hashkit.files.copying import copy_progress
from hashkit.files.private import private_folder
from hashkit.files.remote import copy_remote, read_remote, remote_key
from hashkit.files.writing import make_parents, write_whole
from hashkit.inputs.limits import limits
from hashkit.inputs.opening import read_file, read_text
from hashkit.messages.byte_counts import file_size
from hashkit.meter import Meter

__all__ = ["RemoteShard", "local_set", "remote_shard"]

_log = logging.getLogger(__name__)

_ORIGIN: Final = "origin.txt"
_AT_ONCE: Final = 4


@dataclasses.dataclass(frozen=True)
class RemoteShard:
    """A shard in an object store; other processes and machines can copy it.

    Attributes
    ----------
    url
        Address of its file.
    entry
        Its entry in the manifest.
    """

    url: str
    entry: ShardEntry

    def local(self) -> Path:
        """The file in this machine's cache, copied there first if necessary.

        Raises
        ------
        BankError
            If it cannot be copied, or is not the shard of the manifest.
        MissingExtraError
            If the package that reads such addresses is not installed.
        """
        path = self.place()
        if not _is_there(path, self.entry.bytes):
            make_room(_shards(), self.entry.bytes, {path})
            self.fetch(path, lambda _: None)
        return path

    def place(self) -> Path:
        """Path of its copy in the cache, for the content that the store has now.

        Raises
        ------
        BankError, MissingExtraError
            As `local` does.
        """
        with self._present():
            key, n_bytes = remote_key(self.url)
        if n_bytes != self.entry.bytes:
            self._refuse(f"a file of {self.entry.bytes:,} bytes", f"one of {n_bytes:,}")
        text = f"{self.entry.digest} {self.entry.identity} {key}"
        return _shards() / f"{hashlib.sha256(text.encode()).hexdigest()}.h5"

    def fetch(self, path: Path, moved: Callable[[int], None]) -> None:
        """Copy it to the cache; ``moved`` gets the bytes since its last call, and may end the copy.

        Raises
        ------
        BankError, MissingExtraError
            As `local` does.
        """
        with self._present():
            copy_remote(self.url, path, self._check, moved)

    @contextlib.contextmanager
    def _present(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise BankError(
                f"{self.url}: expected a shard of {self.entry.n_rows} rows, found no such file: "
                "upload it, and the manifest of the set after it"
            ) from None

    def _check(self, path: Path) -> None:
        """Check that a copy is the shard of the manifest, and whole."""
        with Bank.open(path) as bank:
            if bank.identity != self.entry.identity:
                self._refuse(f"the identity {self.entry.identity[:12]}", bank.identity[:12])
            digest = bank.rows_digest(min(self.entry.n_rows, len(bank)))
            if digest != self.entry.digest:
                self._refuse(f"rows of the digest {self.entry.digest[:12]}", digest[:12])
            for fault in find_faults(bank):
                self._refuse("an undamaged copy", f"{fault.column} damaged: {fault.reason}")

    def _refuse(self, expected: str, found: str) -> NoReturn:
        raise BankError(
            f"{self.url}: expected {expected}, found {found}: upload the shard again, and the "
            "manifest of the set after it"
        )


def local_set(url: str) -> Path:
    """A folder on this machine with the complete bank set of an address.

    Raises
    ------
    BankError
        If there is no set, it cannot be copied, or the cache has no room.
    BankMismatchError
        If the manifest has a later format version.
    MissingExtraError
        If the package that reads such addresses is not installed.
    """
    folder = cache_folder() / "sets" / hashlib.sha256(url.encode()).hexdigest()[:32]
    try:
        manifest = read_remote(f"{url}/{MANIFEST_NAME}", limits().json_bytes)
    except FileNotFoundError:
        raise BankError(
            f"{url}: expected the folder of a bank set, found no {MANIFEST_NAME} there: upload the "
            "shards of a set, and its manifest after them"
        ) from None
    _write_folder(folder, url, manifest)
    shards = [RemoteShard(f"{url}/{entry.file}", entry) for entry in _entries(folder, url)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        places = list(pool.map(RemoteShard.place, shards))
        needed = [
            (shard, place)
            for shard, place in zip(shards, places, strict=True)
            if not _is_there(place, shard.entry.bytes)
        ]
        n_bytes = sum(shard.entry.bytes for shard, _ in needed)
        make_room(_shards(), n_bytes, set(places))
        if needed:
            _log.info("%s: copying %s in %d shards", url, file_size(n_bytes), len(needed))
        _Copies(url, n_bytes).run(pool, needed)
    for shard, place in zip(shards, places, strict=True):
        _link(folder / shard.entry.file, place)
    return folder


class _Copies:
    """Copies that run at once: their progress, and the end of all when one of them fails."""

    def __init__(self, url: str, n_bytes: int) -> None:
        progress = copy_progress()
        shown = None if progress is None else functools.partial(progress, url)
        self._meter = Meter(n_bytes, shown)
        self._is_over = False

    def run(self, pool: ThreadPoolExecutor, needed: Sequence[tuple[RemoteShard, Path]]) -> None:
        """Copy shards; the first exception is raised, and the other copies are abandoned."""
        futures = [pool.submit(shard.fetch, place, self._moved) for shard, place in needed]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            self._is_over = True  # so that Ctrl-C does not wait until whole shards are copied
            for future in futures:
                future.cancel()

    def _moved(self, n_bytes: int) -> None:
        if self._is_over:
            raise BankError("the copy was cancelled")
        self._meter.add(n_bytes)


def remote_shard(path: Path) -> RemoteShard | None:
    """Where the shard at a path below `local_set` was copied from; None for another file."""
    folder = path.parent
    if folder.parent != _sets() or not (folder / _ORIGIN).is_file():
        return None
    url = read_text(folder / _ORIGIN)
    for entry in _entries(folder, url):
        if entry.file == path.name:
            return RemoteShard(f"{url}/{entry.file}", entry)
    return None


def _sets() -> Path:
    return cache_folder() / "sets"


def _shards() -> Path:
    return cache_folder() / "shards"


def _entries(folder: Path, url: str) -> tuple[ShardEntry, ...]:
    """The shards of a copied manifest; errors name its address."""
    try:
        return read_manifest(folder).shards
    except BankError as error:
        text = str(error).replace(os.fspath(folder), url)
        raise type(error)(text) from None


def _write_folder(folder: Path, url: str, manifest: bytes) -> None:
    try:
        make_parents(folder / MANIFEST_NAME)
        for name, data in ((_ORIGIN, url.encode()), (MANIFEST_NAME, manifest)):
            path = folder / name
            if not path.is_file() or read_file(path, "json_bytes") != data:
                write_whole(path, data)
    except OSError as error:
        raise BankError(cannot_write_in_cache(error, folder)) from None


def _is_there(path: Path, n_bytes: int) -> bool:
    """Whether a copy is in the cache, which then counts as used now."""
    if not path.is_file() or path.stat().st_size != n_bytes:
        return False
    with contextlib.suppress(OSError):
        os.utime(path)
    return True


def _link(path: Path, target: Path) -> None:
    """Make a path in a set's folder a link to a copy in the cache."""
    if path.is_symlink() and path.readlink() == target:
        return
    try:
        with private_folder(path) as folder:
            (folder / "link").symlink_to(target)
            (folder / "link").replace(path)
    except OSError as error:
        raise BankError(cannot_write_in_cache(error, path)) from None
