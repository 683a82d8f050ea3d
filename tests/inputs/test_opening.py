from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from hashkit.files.writing import file_digest
from hashkit.inputs.limits import TooLargeError
from hashkit.inputs.opening import (
    NotAFileError,
    check_file,
    open_file,
    read_file,
    read_text,
    size_on_disk,
)

needs_posix = pytest.mark.skipif(os.name == "nt", reason="there are no such files")


@pytest.fixture
def odd(tmp_path):
    """A folder of names that are not regular files."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(tmp_path, os.O_RDONLY)
        before = os.open(".", os.O_RDONLY)
        try:  # a socket's path is short, so from within its folder
            os.fchdir(folder)
            made.bind("socket")
        finally:
            os.fchdir(before)
            os.close(folder)
            os.close(before)
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("link")
    return tmp_path


@needs_posix
@pytest.mark.parametrize("name", ["folder", "pipe", "socket", "device"])
@pytest.mark.parametrize(
    "read", [check_file, open_file, lambda path: read_file(path, "text_bytes"), read_text]
)
def test_other_things_than_files_are_refused_at_once(odd, name, read):
    with pytest.raises(NotAFileError) as caught:
        read(odd / name)
    assert caught.value.strerror == f"expected a file, found a {name}"
    assert caught.value.filename == str(odd / name)


@needs_posix
def test_a_link_to_itself_is_an_error_of_the_system(odd):
    with pytest.raises(OSError, match="symbolic links") as caught:
        open_file(odd / "link")
    assert caught.value.errno == errno.ELOOP


@needs_posix
def test_a_pipe_that_replaces_a_file_does_not_block(odd, monkeypatch):
    """Between the look at a file and its opening, somebody may replace it."""
    monkeypatch.setattr("hashkit.inputs.opening.check_file", lambda _: None)
    with pytest.raises(NotAFileError, match="found a pipe"):
        open_file(odd / "pipe")


def test_a_file_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\rthree\n\xc3\xa9")
    assert read_file(path, "text_bytes") == path.read_bytes()
    assert read_text(path) == path.read_text(encoding="utf-8")
    assert read_text(str(path)) == read_text(path)
    with open_file(path) as file:
        assert file.readline() == b"one\r\n"
        assert not file.closed
    assert file.closed
    path.write_bytes(b"\xef\xbb\xbfone")
    assert read_text(path, encoding="utf-8-sig") == "one"
    with pytest.raises(UnicodeDecodeError):
        read_text(path, encoding="ascii")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "b.txt", "text_bytes")


def test_a_sparse_file_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(40_000_000_000)
    with pytest.raises(TooLargeError, match="40,000,000,000 bytes, more than the 1,073,741,824"):
        read_text(path)
    if os.name != "nt":
        assert size_on_disk(path) < 2**20
    (tmp_path / "b.txt").write_bytes(b"x" * 5000)
    assert size_on_disk(tmp_path / "b.txt") <= 5000


@needs_posix
def test_no_handle_is_left_open(odd):
    (odd / "large").write_bytes(b"12345")
    n_open = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    for name in ("folder", "pipe", "device", "link", "none"):
        with pytest.raises(OSError, match=r"expected a file|No such file|symbolic"):
            open_file(odd / name)
    file_digest(odd / "large", "sha256")
    if n_open is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) == n_open
