"""Files written whole or not at all, and their digests.

A new file has a private name in the folder of its target until it is complete; see
`hashkit.files.private`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from hashkit.files.addresses import check_local
from hashkit.files.private import OPEN_FLAGS, is_private_name, new_private_file, remove_leftovers
from hashkit.inputs.opening import open_file

if TYPE_CHECKING:
    from io import BufferedReader

__all__ = [
    "append_whole",
    "file_digest",
    "make_parents",
    "publish",
    "sync_folder",
    "write_new",
    "write_whole",
    "written_whole",
]


_NO_FILE: Final = "it is a device or a pipe, not a file"


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; ``algorithm`` is a name known to `hashlib`."""
    with open_file(path) as stream:
        return hashlib.file_digest(cast("BufferedReader", stream), algorithm).hexdigest()


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the private path of an empty file to write, which replaces ``path`` when complete.

    The file is flushed to the disk first, and its folder afterwards. It keeps the mode of the file
    that it replaces, and the owner where the system allows that; a new file follows the umask. If
    ``path`` is a link, the file that it names is replaced. Hard links keep the earlier content.

    If anything fails, ``path`` is unchanged and the private file is removed. If two processes write
    the same ``path``, each file is whole and the last one stays.

    The private file is locked with ``flock``: open it with ``h5py.File(..., locking=False)``.

    Raises
    ------
    OSError
        If the file cannot be written, or ``path`` is not a regular file. Its ``filename`` is
        ``path``, not the private name.
    """
    target = Path(os.path.realpath(path))
    part: _Part | None = None
    try:
        replaced = _replaceable(target)
        remove_leftovers(target)
        # Nobody else may read it until it has the mode of the file that it replaces.
        part = _Part(target, 0o666 if replaced is None else 0o600)
        yield part.path
        part.publish(target)
    except OSError as error:
        _name_target(error, path, part)
        raise
    finally:
        if part is not None:
            part.discard()


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes as `written_whole` does.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with written_whole(path) as part, part.open("wb") as file:
        file.write(data)


def write_new(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file that must not exist yet; whole or not at all, and flushed to the disk.

    Raises
    ------
    FileExistsError
        If there is a file, a folder or a link of this name; it stays as it is.
    OSError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    part: _Part | None = None
    try:
        remove_leftovers(target)
        part = _Part(target, 0o666)
        with part.path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.publish_new(target)
    except OSError as error:
        _name_target(error, path, part)
        raise
    finally:
        if part is not None:
            part.discard()


def append_whole(path: Path, data: bytes, *, is_synced: bool = False) -> None:
    """Append ``data`` to a file, which is made if it does not exist; all of it or nothing.

    Parameters
    ----------
    is_synced
        Whether the data must be on the disk when this returns.

    Raises
    ------
    OSError
        If the file cannot be written; it then has its earlier content. Its ``filename`` is set.
    """
    try:
        with _opened_to_append(path) as file:
            start, left = file.seek(0, os.SEEK_END), memoryview(data)
            try:
                while left:  # near a full disk, one call may write only a part
                    left = left[file.write(left) :]
                if is_synced:
                    os.fsync(file.fileno())
            except BaseException:
                file.truncate(start)
                raise
    except OSError as error:
        _name_target(error, path, None)
        raise


def _opened_to_append(path: Path) -> FileIO:
    """Open a file at its end; a pipe or a device is refused, and never waited for."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    flags |= sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return FileIO(handle, "ab")


def publish(path: Path, target: Path) -> None:
    """Flush a complete file to the disk, and let it replace ``target`` with its mode and owner.

    Raises
    ------
    OSError
        If ``target`` cannot be replaced.
    """
    handle = os.open(path, OPEN_FLAGS)
    try:
        _keep_mode(handle, _replaceable(target))
        os.fsync(handle)
    finally:
        os.close(handle)
    path.replace(target)
    sync_folder(target.parent)


def make_parents(path: Path) -> None:
    """Make the missing folders above a file.

    Raises
    ------
    OSError
        If one cannot be made; `NotADirectoryError` if there is a file of its name.
    BankError
        If it is the address of an object store.
    """
    check_local(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        reason = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, reason, error.filename) from None


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can.

    Raises
    ------
    OSError
        If the disk reports a fault.
    """
    if os.name == "nt":  # Windows cannot open a folder; not tried there
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that may be written but not listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


class _Part:
    """A private file, locked as long as this object holds its handle."""

    def __init__(self, target: Path, mode: int) -> None:
        self.path, handle = new_private_file(target, mode)
        self._handle: int | None = handle

    def publish(self, target: Path) -> None:
        """Give the file the name of its target."""
        if os.name == "nt":  # Windows cannot rename an open file; not tried there
            self._close()
        publish(self.path, target)

    def publish_new(self, target: Path) -> None:
        """Give the file a name that no other file has."""
        try:
            os.link(self.path, target)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without hard links
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
            if os.name == "nt":  # Windows refuses to rename over a file; not tried there
                self._close()
            self.path.rename(target)
        sync_folder(target.parent)

    def discard(self) -> None:
        """Remove the file unless it was published."""
        if os.name == "nt":  # Windows cannot remove an open file
            self._close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _replaceable(target: Path) -> os.stat_result | None:
    """Status of a file to replace; None if there is none."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _NO_FILE, str(target))
    if not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "the file is read-only", str(target))
    return status


def _keep_mode(handle: int, replaced: os.stat_result | None) -> None:
    """Give a file the mode, and if possible the owner, of the one that it replaces."""
    if replaced is None or os.name == "nt":
        return
    mode, status = stat.S_IMODE(replaced.st_mode) & 0o777, os.fstat(handle)
    if (status.st_uid, status.st_gid) != (replaced.st_uid, replaced.st_gid):
        try:
            os.fchown(handle, replaced.st_uid, replaced.st_gid)
        except OSError:
            try:
                os.fchown(handle, -1, replaced.st_gid)
            except OSError:  # the group is another one: it gets the permissions of everybody
                mode = mode & ~0o070 | (mode & 0o007) << 3
    os.fchmod(handle, mode)


def _name_target(error: OSError, path: str | os.PathLike[str], part: _Part | None) -> None:
    """Let an error name the file that was asked for, unless it is about another one."""
    own_paths = {None, os.path.realpath(path)} | ({str(part.path)} if part else set())
    name = error.filename
    named = os.fsdecode(name) if isinstance(name, str | bytes) else name
    is_private = isinstance(named, str) and is_private_name(Path(named).name)
    if error.errno is not None and (named in own_paths or is_private):
        error.filename, error.filename2 = os.fspath(path), None
