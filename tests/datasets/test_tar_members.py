"""Tars that would be read for ever, or that would end early without a warning."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
from typing import Final

import pytest

from hashkit.datasets.cifar import CIFAR10, open_cifar
from hashkit.datasets.tar_members import tar_members
from hashkit.errors import DatasetError

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)


def member(name: str, size: int | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A member of one block, whose header declares a size."""
    info = tarfile.TarInfo(name)
    info.size = 3
    info.type = kind
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size is not None:
        header[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % 2**88).to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"abc".ljust(_BLOCK, b"\0")


def extended(key: str, value: str) -> bytes:
    """A member with a field for the header of the next one."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {key: value}
    return info.create_pax_header({"name": "", "size": 0, **info.get_info()}, "utf-8")[: 2 * _BLOCK]


def names_in(data: bytes) -> tuple[list[str], list[str]]:
    """Names of the members, and warnings."""
    warnings: list[str] = []
    found = [one.name for one in tar_members(io.BytesIO(data), warnings.append)]
    return found, warnings


TWO: Final = member("a") + member("b")


@pytest.mark.parametrize(
    "data",
    [
        TWO + member("c", -3 * _BLOCK) + _END,  # leads back to b
        TWO + extended("size", "-2560") + member("c") + _END,
        TWO + member("c", -4 * _BLOCK) + _END,  # and to the beginning
        TWO + member("c", 2**62) + _END,
        TWO + member("c", 2**87) + _END,
        TWO + b"\1" * _BLOCK + member("c") + _END,
        TWO + member("c")[: _BLOCK // 2],
        TWO + extended("size", "9" * 5000) + member("c") + _END,
        TWO + extended("comment", "x") * 5000 + member("c") + _END,
        TWO + member("c", 2**40, tarfile.XHDTYPE) + _END,
        TWO + extended("GNU.sparse.map", "1,1,1") + member("c", -1) + _END,
    ],
)
def test_damage_between_members_is_an_error(data: bytes) -> None:
    read: list[str] = []
    with pytest.raises((tarfile.TarError, OSError)):
        read.extend(one.name for one in itertools.islice(tar_members(io.BytesIO(data)), 9))
    assert read[:2] == ["a", "b"]


def test_a_missing_end_or_one_before_further_members_gives_a_warning() -> None:
    assert names_in(TWO + _END) == (["a", "b"], [])
    assert names_in(TWO + bytes(_BLOCK // 2)) == (["a", "b"], [])
    found, (warning,) = names_in(TWO)
    assert found == ["a", "b"]
    assert "may be cut off" in warning
    found, (warning,) = names_in(TWO + bytes(20 * _BLOCK) + TWO + _END)
    assert found == ["a", "b"]
    assert "concatenated" in warning


def test_an_archive_of_cifar_is_not_read_for_ever(tmp_path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    for size in (-3 * _BLOCK, 2**62):
        path.write_bytes(gzip.compress(TWO + member("c", size) + _END))
        with pytest.raises(DatasetError, match="damaged or truncated"):
            open_cifar(CIFAR10, tmp_path)
