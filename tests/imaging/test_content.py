"""The content of an image file, read once."""

import hashlib
import os

import pytest

from hashkit.errors import ImageError
from hashkit.imaging.content import read_image_file


def test_bytes_time_and_digest(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    found = read_image_file(path)
    assert (found.data, found.mtime_ns) == (b"abc", 1_700_000_000_123_456_789)
    assert found.digest() == hashlib.blake2b(b"abc", digest_size=16).digest()


@pytest.mark.parametrize("how", ["appended", "rewritten"])
def test_a_file_that_is_written_while_it_is_read_is_a_fault(tmp_path, monkeypatch, how):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    seen, real = [], os.fstat

    def fstat(handle):
        if seen:  # the second look, after the file was read
            path.write_bytes(b"abcdef" if how == "appended" else b"xyz")
            os.utime(path, ns=(2, 2))
        seen.append(handle)
        return real(handle)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(
        ImageError, match="another program changed it while it was being read"
    ) as caught:
        read_image_file(path)
    assert caught.value.reason == "truncated"
