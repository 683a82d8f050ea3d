"""Damages what is inside a container: the container itself, and its checksums, stay right.

Without this, most damage ends at the first checksum, and the code behind it is never reached.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any, Final

import h5py
import numpy as np

from fuzzing.json_mutations import mutate_json
from fuzzing.mutations import mutate_bytes

__all__ = [
    "inside_gzip",
    "inside_hdf5",
    "inside_header",
    "inside_index",
    "inside_png",
    "inside_zip",
    "packed_zip",
    "random_array",
]

_PNG_START: Final = 8
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def inside_gzip(rng: random.Random, data: bytes) -> bytes:
    """Change the content of a gzip file."""
    return gzip.compress(mutate_bytes(rng, gzip.decompress(data)), 1, mtime=0)


def inside_zip(rng: random.Random, data: bytes) -> bytes:
    """Change, remove, repeat or rename a member of a zip archive, and replace arrays by others."""
    members = unpacked_zip(data)
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.random()
    if kind < 0.5:
        members[at] = (name, mutate_bytes(rng, content))
    elif kind < 0.85:
        members[at] = (name, array_bytes(_other_array(rng, content)))
    elif kind < 0.9:
        del members[at]
    elif kind < 0.95:
        members[at] = (rng.choice(("a.npy", "codes", "\x1b[1m.npy", "labels.npy", "")), content)
    else:
        members[at] = (name, rng.choice(members)[1])
    return packed_zip(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def unpacked_zip(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of an archive's members."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(one.filename, archive.read(one)) for one in archive.infolist()]


def packed_zip(members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with the same bytes at any time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, kind)
    return file.getvalue()


def array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """An ``.npy`` file; object arrays are pickled."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _other_array(rng: random.Random, content: bytes) -> np.ndarray[Any, Any]:
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError):
        return random_array(rng)
    kind = rng.randrange(4)
    if kind == 0:
        return random_array(rng)
    if kind == 1:
        shapes = [(-1,), (-1, 1), (1, -1), (1, 1, -1), (*array.shape, 1), array.shape[::-1]]
        return array.reshape(rng.choice(shapes))
    if kind == 2:
        return array[: rng.choice((0, 1, len(array) - 1))] if array.ndim else array.reshape(1)
    try:
        with np.errstate(all="ignore"):
            return array.astype(
                rng.choice(("i1", "u2", "<i8", ">i4", "f2", "f8", "?", "U3", "S4", "O"))
            )
    except (ValueError, TypeError, OverflowError):
        return random_array(rng)


def random_array(rng: random.Random) -> np.ndarray[Any, Any]:
    """A small array of any kind and shape."""
    shape = rng.choice(((), (0,), (1,), (6,), (6, 0), (6, 1), (6, 2), (6, 24), (0, 3), (2, 3, 4)))
    kind = rng.choice(
        ("u1", "i1", "<u2", ">i8", "u8", "f2", "f8", "c8", "?", "U2", "S2", "M8[s]", "O", "V4")
    )
    size = int(np.prod(shape))
    if kind == "O":
        return np.array([rng.choice((None, 1, "a")) for _ in range(size)], object).reshape(shape)
    if kind in "U2S2":
        texts = [rng.choice(("a", "b", "", "\x1b[", "\0", "1")) for _ in range(size)]
        return np.array(texts, kind).reshape(shape)
    numbers = np.array([rng.choice((0, 1, 255, 127)) for _ in range(size)], np.uint8)
    with np.errstate(all="ignore"):
        if kind == "f8" and size:
            return np.array(
                [rng.choice((np.nan, np.inf, 1, 0, -1e300)) for _ in range(size)]
            ).reshape(shape)
        if kind in ("u8", ">i8") and size:
            values = [rng.choice((0, 1, 2**63 - 1, 2**31)) for _ in range(size)]
            return np.array(values, np.uint64).astype(kind).reshape(shape)
        if kind == "V4":
            return np.frombuffer(rng.randbytes(4 * size), "V4").reshape(shape)
        return numbers.astype(kind).reshape(shape)


def inside_png(rng: random.Random, data: bytes) -> bytes:
    """Change the body, kind or place of a PNG's chunks; checksums follow."""
    chunks, at = [], _PNG_START
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    number = rng.randrange(len(chunks))
    kind, body = chunks[number]
    choice = rng.random()
    if choice < 0.4:
        chunks[number] = (kind, mutate_bytes(rng, body))
    elif choice < 0.6 and kind == b"IDAT":
        chunks[number] = (kind, zlib.compress(mutate_bytes(rng, zlib.decompress(body)), 1))
    elif choice < 0.8:
        added = rng.choice((b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"zTXt", b"acTL", b"gAMA", b"IDAT"))
        chunks.insert(
            rng.randrange(len(chunks) + 1), (added, rng.randbytes(rng.choice((0, 1, 6, 40))))
        )
    else:
        chunks[number] = rng.choice(chunks)
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return data[:_PNG_START] + b"".join(packed)


def inside_header(rng: random.Random, data: bytes) -> bytes:
    """Change the JSON of a safetensors file's header, or hashkit's JSON inside it."""
    (length,) = struct.unpack_from("<Q", data)
    fields = json.loads(data[8 : 8 + length])
    if rng.random() < 0.7:
        own = json.loads(fields["__metadata__"]["hashkit"])
        fields["__metadata__"]["hashkit"] = mutate_json(rng, own)
        text = json.dumps(fields)
    else:
        text = mutate_json(rng, fields)
    header = text.encode("utf-8", "surrogatepass")
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


_INDEX_START: Final = struct.Struct("<8sIII")
_ALIGNMENT: Final = 64


def inside_index(rng: random.Random, data: bytes) -> bytes:
    """Change the JSON of a multi-index, or numbers of its arrays."""
    magic, version, n_bytes, _ = _INDEX_START.unpack_from(data)
    text = data[_INDEX_START.size : _INDEX_START.size + n_bytes]
    start = _INDEX_START.size + n_bytes
    arrays = bytearray(data[start + -start % _ALIGNMENT :])
    if rng.random() < 0.5:
        text = mutate_json(rng, json.loads(text)).encode("utf-8", "surrogatepass")
    else:
        for _ in range(rng.choice((1, 3, 50))):
            value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32)))
            struct.pack_into("<I", arrays, 4 * rng.randrange(len(arrays) // 4), value)
    head = _INDEX_START.pack(magic, version, len(text), zlib.crc32(text)) + text
    return head + bytes(-len(head) % _ALIGNMENT) + bytes(arrays)


_NUMBERS: Final = (0, 1, 2, 7, 1000, 2**16, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_ODD: Final = (
    0, -1, 2**62, 1.5, float("nan"), "", "a", "\x1b[31m", "é", True, np.arange(3), np.uint8(3),
    np.bytes_(b"x\xff"), np.array(["a", "b"], "S2"), h5py.Empty("f8"), "[" * 2000,
)  # fmt: skip


def inside_hdf5(rng: random.Random, data: bytes) -> bytes:
    """Change an attribute, a dataset or the commit record of a bank."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as bank:
        kind = rng.random()
        if kind < 0.45:
            _change_attribute(rng, bank)
        elif kind < 0.75:
            _change_commit(rng, bank)
        else:
            _change_dataset(rng, bank)
    return file.getvalue()


def _change_attribute(rng: random.Random, bank: h5py.File) -> None:
    from hashkit.bank.attributes import header_check
    from hashkit.errors import BankError

    name = rng.choice(sorted(bank.attrs))
    value = bank.attrs[name]
    choice = rng.random()
    if choice < 0.6 and isinstance(value, str) and value[:1] in ("{", "["):
        # HDF5's texts end at a zero, and h5py writes no lone surrogates.
        text = mutate_json(rng, json.loads(value)).replace("\0", " ")
        bank.attrs[name] = text.encode("utf-8", "replace").decode()
    elif choice < 0.7:
        del bank.attrs[name]
    else:
        bank.attrs[name] = rng.choice((*_ODD, *_NUMBERS[:9]))
    try:
        bank.attrs["header_check"] = header_check(dict(bank.attrs.items()))
    except BankError:  # of an attribute that is missing, or of another type
        return


def _change_commit(rng: random.Random, bank: h5py.File) -> None:
    words = bank["commit"][...].ravel().astype("<u8")
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(words) - 1)
        n_rows = len(bank["codes"])
        words[at] = rng.choice((*_NUMBERS, n_rows, n_rows + 1, int(words[at]) ^ 1))
    words[-1] = zlib.crc32(words[:-1].tobytes())
    bank["commit"][...] = words.reshape(bank["commit"].shape)


def _change_dataset(rng: random.Random, bank: h5py.File) -> None:
    name = rng.choice(sorted(bank))
    old = bank[name]
    if rng.random() < 0.6:
        values = old[...].ravel().view(np.uint8).copy()
        for _ in range(rng.choice((1, 4, 40))):
            values[rng.randrange(len(values))] = rng.choice((0, 1, 127, 128, 255))
        old[...] = values.view(old.dtype).reshape(old.shape)
        return
    dtype, shape = old.dtype, old.shape
    del bank[name]
    kind = rng.randrange(4)
    if kind == 0:
        bank.create_dataset(name, (shape[0] + 1, *shape[1:]), dtype)
    elif kind == 1:
        bank.create_dataset(name, shape, rng.choice(("<i2", "f8", "S3", "u1")))
    elif kind == 2:
        bank.create_group(name)
