"""Files in object stores, copied to this machine by fsspec, which is imported on first use."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from hashkit.errors import BankError, MissingExtraError
from hashkit.files.addresses import SCHEMES
from hashkit.files.cache import cannot_write_in_cache
from hashkit.files.writing import make_parents, written_whole
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["copy_remote", "read_remote", "remote_key"]

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "s3": {  # an address that does not answer is an error within a minute
        "config_kwargs": {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"max_attempts": 3},
        }
    },
}


def read_remote(url: str, max_bytes: int) -> bytes:
    """A small file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    BankError
        If it cannot be read, or is larger than ``max_bytes``.
    MissingExtraError
        If the package that reads such addresses is not installed.
    """
    with _errors_name(url):
        system, path = _opened(url)
        size = system.info(path)["size"]
        if size is not None and size > max_bytes:
            raise BankError(f"{url}: expected at most {max_bytes:,} bytes, found {size:,}")
        data: bytes = system.cat_file(path, start=0, end=max_bytes)
        return data


def remote_key(url: str) -> tuple[str, int]:
    """A text that changes with the content of a file, as far as the store knows; and its size.

    Raises
    ------
    FileNotFoundError, BankError, MissingExtraError
        As `read_remote` does.
    """
    with _errors_name(url):
        system, path = _opened(url)
        known = system.info(path)
        marks = [known.get(name) for name in ("ETag", "etag", "md5Hash", "generation", "mtime")]
        text = repr([url, known["size"], *map(str, marks)])
        return hashlib.sha256(text.encode()).hexdigest(), int(known["size"])


def copy_remote(
    url: str, target: Path, check: Callable[[Path], None], moved: Callable[[int], None]
) -> None:
    """Copy a file to a path of this machine, where it appears once it is whole and checked.

    Parameters
    ----------
    check
        Called with the path of the copy before it gets its name; its exceptions are passed on.
    moved
        Called with the number of bytes copied since the last call; an exception ends the copy.

    Raises
    ------
    FileNotFoundError, BankError, MissingExtraError
        As `read_remote` does, or if the copy cannot be written.
    """
    with _errors_name(url):
        system, path = _opened(url)
    try:
        make_parents(target)
        with written_whole(target) as part:
            with _errors_name(url):
                _get_file(system, path, part, moved)
            check(part)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BankError(cannot_write_in_cache(error, target)) from None


def _get_file(system: Any, path: str, part: Path, moved: Callable[[int], None]) -> None:
    from fsspec.callbacks import Callback

    class Counted(Callback):  # type: ignore[misc]  # fsspec has no types
        """Counts each byte once, even if a store is asked again after an error."""

        n_bytes = 0

        def relative_update(self, inc: int = 1) -> None:
            self.n_bytes += inc
            moved(inc)

    counted = Counted()
    system.get_file(path, os.fspath(part), callback=counted)
    if more := part.stat().st_size - counted.n_bytes:  # a folder on a network drive counts nothing
        moved(more)


def _opened(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    scheme = url.partition(":")[0]
    package, extra = SCHEMES[scheme]
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", "cluster", f"an address of {scheme}://") from None
    options = {"use_listings_cache": False, **_OPTIONS.get(scheme, {})}
    try:
        system = fsspec.filesystem(scheme, **({} if scheme == "file" else options))
    except ImportError:
        raise MissingExtraError(package, extra, f"an address of {scheme}://") from None
    return system, system._strip_protocol(url)


@contextlib.contextmanager
def _errors_name(url: str) -> Iterator[None]:
    """Convert exceptions of stores into one line that names the address."""
    try:
        yield
    except (BankError, MissingExtraError):
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"{url}: there is no such file") from None
    except Exception as error:  # each store has its own kinds of errors
        raise BankError(
            f"{url}: cannot be read from the object store ({foreign_message(error)}): check the "
            "address, the network, and the credentials"
        ) from None
