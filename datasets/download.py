"""Downloads the files of an image set, resumes downloads, and verifies digests."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import http
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from hashkit.errors import DownloadError
from hashkit.files import file_digest, publish
from hashkit.private_files import held

__all__ = ["DownloadProgress", "RemoteFile", "fetch"]

DownloadProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes downloaded, and the total bytes (None if unknown)."""

_BLOCK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 30.0
_PAUSES_SECONDS: tuple[float, ...] = (1.0, 4.0)
"""Waits before the second and the third try."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A published file: its name on disk, its URL, and its digest (``md5:...``, ``sha256:...``).

    Old sets publish only an MD5. It detects damage but not tampering, so pickles are also read
    without running their code (`hashkit.datasets.pickles`).
    """

    name: str
    url: str
    digest: str


class _InterruptedError(Exception):
    """The transfer stopped; the received bytes are kept, and a retry may continue from there."""


def fetch(file: RemoteFile, folder: Path, *, progress: DownloadProgress | None = None) -> Path:
    """Download ``file`` into ``folder`` unless it exists there.

    Bytes are written to ``.<name>.hashkit-download``, which one process at a time writes and a
    later call continues. The file gets its final name only after its digest has been verified.

    Returns
    -------
    Path
        ``folder / file.name``.

    Raises
    ------
    DownloadError
        If the server cannot be reached, the digest differs, the disk is full, or another process
        downloads the file. The message explains how to provide the file by hand.
    """
    target = folder / file.name
    if target.exists():
        return target
    part = folder / f".{file.name}.hashkit-download"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(part), _not_left_empty(part):
            if not target.exists():  # otherwise another process has just completed it
                _fetch_part(file, part, progress)
                publish(part, target)
    except BlockingIOError:
        raise DownloadError(
            f"{target}: another process is downloading this file; wait for it to end, and run again"
        ) from None
    except OSError as error:
        _raise_disk_error(error, file, folder)
    return target


@contextlib.contextmanager
def _not_left_empty(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


def _fetch_part(file: RemoteFile, part: Path, progress: DownloadProgress | None) -> None:
    was_resumed = part.stat().st_size > 0
    _transfer_with_retries(file, part, progress)
    if _is_intact(file, part):
        return
    os.truncate(part, 0)
    if was_resumed:
        # The kept bytes may belong to another version of the file.
        _log.info("%s: the partial download does not match; starting again", file.name)
        _transfer_with_retries(file, part, progress)
        if _is_intact(file, part):
            return
        os.truncate(part, 0)
    raise DownloadError(
        f"{file.name}: the download from {file.url} does not have the published digest "
        f"{file.digest} and was deleted; try again later, or {_by_hand(file, part.parent)}"
    )


def _is_intact(file: RemoteFile, part: Path) -> bool:
    algorithm, _, expected = file.digest.partition(":")
    return file_digest(part, algorithm) == expected


def _transfer_with_retries(file: RemoteFile, part: Path, progress: DownloadProgress | None) -> None:
    for pause in (*_PAUSES_SECONDS, None):
        try:
            _transfer(file, part, progress)
        except _InterruptedError as stop:
            if pause is None:
                raise DownloadError(
                    f"{file.name} could not be downloaded ({stop}): run again to continue, "
                    f"or {_by_hand(file, part.parent)}"
                ) from None
            _log.info("%s: %s; trying again in %g s", file.name, stop, pause)
            time.sleep(pause)
        else:
            return


def _transfer(file: RemoteFile, part: Path, progress: DownloadProgress | None) -> None:
    """Send one request; append to ``part`` if the server can continue from its end."""
    n_kept = part.stat().st_size
    request = urllib.request.Request(file.url, headers=_headers(n_kept))  # noqa: S310 - our tables
    try:
        response = _open(request)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and n_kept:
            return  # nothing is left to send; the caller checks the digest
        if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _InterruptedError(f"HTTP {error.code}") from None
        raise DownloadError(
            f"{file.name}: {file.url} answered HTTP {error.code}: {_by_hand(file, part.parent)}"
        ) from None
    with response:
        if n_kept and not _goes_on_from(response, n_kept):
            n_kept = 0
        length = response.headers.get("Content-Length")
        n_total = n_kept + int(length) if length and length.isdigit() else None
        _receive(response, part, n_kept, n_total, file.name, progress)


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a request; an `HTTPError` is passed on, every other failure may be retried."""
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310 - our tables
            request, timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise _InterruptedError(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from None
    return response


def _headers(n_kept: int) -> dict[str, str]:
    headers = {"User-Agent": "hashkit", "Accept-Encoding": "identity"}
    if n_kept:
        headers["Range"] = f"bytes={n_kept}-"
    return headers


def _goes_on_from(response: http.client.HTTPResponse, n_kept: int) -> bool:
    content_range = response.headers.get("Content-Range") or ""
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and content_range.startswith(
        f"bytes {n_kept}-"
    )


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    n_done: int,
    n_total: int | None,
    name: str,
    progress: DownloadProgress | None,
) -> None:
    with part.open("r+b") as stream:
        stream.seek(n_done)
        stream.truncate()
        while block := _next_block(response):
            stream.write(block)
            n_done += len(block)
            if progress is not None:
                progress(name, n_done, n_total)
    if n_total is not None and n_done < n_total:
        raise _InterruptedError(f"the connection was cut after {n_done:,} of {n_total:,} bytes")


def _next_block(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK_BYTES)
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection was lost: {error}") from None


def _by_hand(file: RemoteFile, folder: Path) -> str:
    return f"download {file.url} yourself and save it as {folder / file.name}"


def _raise_disk_error(error: OSError, file: RemoteFile, folder: Path) -> None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DownloadError(
            f"{file.name}: the disk of {folder} is full; free some space and run again "
            "to continue the download"
        ) from None
    raise DownloadError(
        f"{file.name}: cannot be written into {folder} ({error.strerror or error}); "
        "choose another folder, or fix its permissions"
    ) from None
