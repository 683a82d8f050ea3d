"""Errors of files and disks in one line: the file, what the system reports, how to fix it."""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["cannot_read", "cannot_write", "no_such_bank", "os_error_line", "reason_and_remedy"]

_REMEDIES: Final = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EFBIG: "the file system or a limit of the process (ulimit -f) allows no file of this "
    "size; choose another disk, or raise the limit",
    errno.EACCES: "change its permissions or those of its folder, or choose another path",
    errno.EPERM: "change its permissions or those of its folder, or choose another path",
    errno.EROFS: "choose a path on a disk that can be written",
    errno.EISDIR: "it is a folder; choose the name of a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "choose another path",
    errno.ENOTEMPTY: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path, or make its folder first",
    errno.ELOOP: "the link leads to itself; choose another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs; the system has too many open files",
    errno.EIO: "the disk reports a fault; check it, and choose another one",
    errno.EBUSY: "end the program that uses it, or choose another path",
    errno.EBADF: "it is closed; redirect it to a file or a program",
    errno.EINVAL: "choose another path",
    errno.EDQUOT: "free some space of your quota, or choose another disk",
}
_DEFAULT_REMEDY: Final = "fix that, or choose another path"


def reason_and_remedy(error: OSError) -> tuple[str, str]:
    """What the system reports, and what a user can do about it."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    if error.errno and "errno" in reason.lower():  # a library's text, with places in its source
        reason = os.strerror(error.errno)
    return reason, _REMEDIES.get(error.errno or 0, _DEFAULT_REMEDY)


def cannot_write(error: OSError, path: str | os.PathLike[str]) -> str:
    """Line for a file that could not be written, perhaps because of another file or folder."""
    reason, remedy = reason_and_remedy(error)
    name = _name(error)
    if name not in ("", os.fspath(path)):
        reason = f"{name}: {reason}"
    return f"{os.fspath(path)}: cannot be written ({reason}); {remedy}"


def cannot_read(error: OSError, path: str | os.PathLike[str]) -> str:
    """Line for a file that could not be read, with a remedy where the fault is not the file's."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES[error.errno] if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    return f"{os.fspath(path)}: cannot be read ({reason}){f'; {remedy}' if remedy else ''}"


def no_such_bank(path: str | os.PathLike[str]) -> str:
    """The message about a bank that is missing."""
    return (
        f"{os.fspath(path)}: there is no such bank; `hashkit sync` makes one from a folder, and "
        "`hashkit encode` from a list"
    )


def os_error_line(error: OSError) -> str:
    """Line for an error of the system that no other code has explained."""
    reason, remedy = reason_and_remedy(error)
    name = _name(error)
    return f"{name}: {reason}; {remedy}" if name else f"{reason}; {remedy}"


def _name(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
