"""Downloads the files of an image set, resumes downloads, and verifies digests.

A server decides neither how much is stored nor where it comes from: a file has a published size,
and https never leads to anything else.
"""

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
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from hashkit.errors import DownloadError
from hashkit.files.private import held
from hashkit.files.writing import file_digest, make_parents, publish

__all__ = ["DownloadProgress", "RemoteFile", "check_present", "fetch"]

DownloadProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes downloaded, and the total bytes (None if unknown)."""

_BLOCK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 30.0
"""Longest wait for a connection, or for the next bytes."""
_SLOWEST: Final = 1000.0
"""Bytes per second below which a transfer is given up, after `_PATIENCE_SECONDS`."""
_PATIENCE_SECONDS: Final = 60.0
_MOST_BYTES: Final = 1 << 31
"""Largest download of a file whose size is not known."""
_PAUSES_SECONDS: tuple[float, ...] = (1.0, 4.0)
"""Waits before the second and the third try."""

_DIGITS: Final = 19
"""Digits of the largest length that is read."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes
    ----------
    name
        Its name on disk.
    url
        Where it is published.
    digest
        The publisher's digest, ``md5:...`` or ``sha256:...``. Old sets publish only an MD5, which
        detects damage but not tampering.
    sha256
        SHA-256 of the same file, as other projects have recorded it; empty if unknown.
    n_bytes
        Its size; 0 if unknown.
    """

    name: str
    url: str
    digest: str
    sha256: str = ""
    n_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        """Most bytes that a server may send."""
        return self.n_bytes or _MOST_BYTES

    def why_different(self, path: Path) -> str:
        """How a local file differs from the published one, in words; empty if it does not.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        n_bytes = path.stat().st_size
        if self.n_bytes and n_bytes != self.n_bytes:
            return f"{n_bytes:,} bytes instead of {self.n_bytes:,}"
        digests = [self.digest, *([f"sha256:{self.sha256}"] if self.sha256 else [])]
        for digest in digests:
            algorithm, _, expected = digest.partition(":")
            if (found := file_digest(path, algorithm)) != expected:
                return f"the {algorithm.upper()} {found[:16]}... instead of {expected[:16]}..."
        return ""


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
        check_present(file, target, is_required=True)
        return target
    part = folder / f".{file.name}.hashkit-download"
    try:
        make_parents(target)
        with held(part), _removed_if_empty(part):
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


def check_present(file: RemoteFile, path: Path, *, is_required: bool) -> None:
    """Compare a file that is there already with the published one.

    Parameters
    ----------
    is_required
        Whether a difference is an error; otherwise it is logged as a warning: the file may have
        been compressed again.

    Raises
    ------
    DownloadError
        If the file is required and differs, or cannot be read.
    """
    try:
        difference = file.why_different(path)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read ({error.strerror or error})") from None
    if difference and is_required:
        raise DownloadError(
            f"{path} is not the published file: it has {difference}; delete it, and run again to "
            "download it"
        )
    if difference:
        _log.warning("%s is not the published file: it has %s", path, difference)


@contextlib.contextmanager
def _removed_if_empty(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


def _fetch_part(file: RemoteFile, part: Path, progress: DownloadProgress | None) -> None:
    was_resumed = part.stat().st_size > 0
    if part.stat().st_size > file.most_bytes:
        os.truncate(part, 0)
    _transfer_with_retries(file, part, progress)
    if not file.why_different(part):
        return
    os.truncate(part, 0)
    if was_resumed:
        # The kept bytes may belong to another version of the file.
        _log.info("%s: the partial download does not match; starting again", file.name)
        _transfer_with_retries(file, part, progress)
        if not file.why_different(part):
            return
        os.truncate(part, 0)
    raise DownloadError(
        f"{file.name}: the download from {file.url} does not have the published digest "
        f"{file.digest} and was deleted; try again later, or {_by_hand(file, part.parent)}"
    )


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
        if n_kept and not _resumes_at(response, n_kept):
            n_kept = 0
        length = response.headers.get("Content-Length") or ""
        is_number = length.isascii() and length.isdigit()
        # No file has more digits; Python refuses to convert thousands of them.
        n_total = n_kept + int(length[:_DIGITS]) if is_number else None
        if n_total is not None and n_total > file.most_bytes:
            raise _too_large(file, part, n_total)
        _receive(response, part, n_kept, n_total, file, progress)


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a request; an `HTTPError` is passed on, every other failure may be retried."""
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise _InterruptedError(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from None
    return response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to anything else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme.lower()
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if scheme not in allowed:
            raise DownloadError(
                f"{req.full_url} leads to {newurl}, which is not {' or '.join(allowed)}: nothing "
                "was downloaded; check the network, and download the file from its official source"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https, also through the proxies of the environment, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SafeRedirects(),
    ):
        opener.add_handler(handler)
    return opener


def _headers(n_kept: int) -> dict[str, str]:
    headers = {"User-Agent": "hashkit", "Accept-Encoding": "identity"}
    if n_kept:
        headers["Range"] = f"bytes={n_kept}-"
    return headers


def _resumes_at(response: http.client.HTTPResponse, n_kept: int) -> bool:
    content_range = response.headers.get("Content-Range") or ""
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and content_range.startswith(
        f"bytes {n_kept}-"
    )


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    n_done: int,
    n_total: int | None,
    file: RemoteFile,
    progress: DownloadProgress | None,
) -> None:
    began, n_before = time.monotonic(), n_done
    with part.open("r+b") as stream:
        stream.seek(n_done)
        stream.truncate()
        while block := _next_block(response):
            if n_done + len(block) > file.most_bytes:
                stream.truncate(0)
                raise _too_large(file, part, n_done + len(block))
            stream.write(block)
            n_done += len(block)
            if progress is not None:
                progress(file.name, n_done, n_total)
            seconds = time.monotonic() - began
            if seconds > _PATIENCE_SECONDS and n_done - n_before < _SLOWEST * seconds:
                raise _InterruptedError(f"{n_done - n_before:,} bytes in {seconds:,.0f} s")
    if n_total is not None and n_done < n_total:
        raise _InterruptedError(f"the connection was cut after {n_done:,} of {n_total:,} bytes")


def _next_block(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK_BYTES)  # what there is, so that a slow server is noticed
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection was lost: {error}") from None


def _too_large(file: RemoteFile, part: Path, n_bytes: int) -> DownloadError:
    return DownloadError(
        f"{file.name}: {file.url} sends {n_bytes:,} bytes or more, and the file has at most "
        f"{file.most_bytes:,}: it was not stored; try again later, or "
        f"{_by_hand(file, part.parent)}"
    )


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
