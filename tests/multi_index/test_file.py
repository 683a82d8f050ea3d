"""The file of a multi-index: saved, opened, and refused where it is damaged."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_samples import crowded_codes, random_codes
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import unpack
from hashkit.errors import IndexMismatchError
from hashkit.multi_index.index import MultiIndex, index_path


def flipped(codes: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
    """The codes with one bit of one row flipped."""
    changed = codes.copy()
    changed[row, -1] ^= 128
    return changed


def with_header(data: bytes, text: bytes) -> bytes:
    """An index file with another header, whose checksum is right."""
    (n_json,) = struct.unpack("<I", data[12:16])
    arrays = data[20 + n_json + -(20 + n_json) % 64 :]
    start = data[:12] + struct.pack("<II", len(text), zlib.crc32(text)) + text
    return start + bytes(-len(start) % 64) + arrays


def with_field(data: bytes, name: str, value: Any) -> bytes:
    """An index file with another value of one field, or without it."""
    (n_json,) = struct.unpack("<I", data[12:16])
    fields = json.loads(data[20 : 20 + n_json])
    assert name in fields
    fields = {key: one for key, one in fields.items() if key != name}
    return with_header(data, json.dumps(fields | ({} if value is None else {name: value})).encode())


def saved(tmp_path: Path, codes: NDArray[np.uint8], n_bits: int) -> Path:
    path = index_path(tmp_path / "bank.h5")
    MultiIndex.build(codes, n_bits).save(path)
    return path


def test_an_opened_index_gives_the_same_results_as_the_built_one(tmp_path: Path) -> None:
    codes = crowded_codes(0, 4000, 70, 100)
    built = MultiIndex.build(codes, 70)
    path = index_path(tmp_path / "bank.h5")
    assert path == tmp_path / "bank.h5.mih"
    built.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["bank.h5.mih"]
    opened = MultiIndex.open(path, codes)
    assert (opened.n_bits, opened.n_rows) == (70, 4000)
    assert opened.substring_lengths == built.substring_lengths
    assert opened.crowding == built.crowding
    assert opened.sample_costs == built.sample_costs
    assert opened.nbytes == built.nbytes < path.stat().st_size
    for arguments in ({"radius": 5}, {"top_k": 9}, {"radius": 9, "top_k": 3}):
        expected = built.search(codes[:30], **arguments, budget=math.inf)
        found = opened.search(codes[:30], **arguments, budget=math.inf)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert repr(opened) == "<MultiIndex: 4000 codes of 70 bits, cut into 10+10+10+10+10+10+10>"


def test_the_file_matches_its_description(tmp_path: Path) -> None:
    codes = random_codes(0, 300, 20)
    data = saved(tmp_path, codes, 20).read_bytes()
    magic, version, n_json = struct.unpack("<8sII", data[:16])
    assert (magic, version) == (b"\x89hkMIH\r\n", 2)
    (check,) = struct.unpack("<I", data[16:20])
    assert check == zlib.crc32(data[20 : 20 + n_json])
    fields = json.loads(data[20 : 20 + n_json])
    assert (fields["n_bits"], fields["n_rows"]) == (20, 300)
    digest = struct.pack("<QQI", 20, 300, zlib.crc32(codes.tobytes()))
    assert fields["rows_digest"] == hashlib.sha256(digest).hexdigest()
    assert (fields["bank_identity"], fields["row_generation"]) == ("", 0)
    assert fields["types"] == {"offsets": "<u4", "rows": "<u4", "sketches": "<u4"}
    position = 20 + n_json
    lengths = fields["substring_lengths"]
    counts = [sum(2**length + 1 for length in lengths), len(lengths) * 300, len(lengths) * 300]
    arrays = []
    for count in counts:
        position += -position % 64
        arrays.append(np.frombuffer(data, "<u4", count, position))
        position += 4 * count
    assert position == len(data)
    offsets, rows, sketches = arrays
    found = dict(zip(fields["types"], map(zlib.crc32, arrays), strict=True))
    assert fields["checksums"] == found
    values = unpack(codes, 20)[:, : lengths[0]] @ (1 << np.arange(lengths[0])[::-1])
    bucket = int(values[17])
    assert rows[offsets[bucket] : offsets[bucket + 1]].tolist() == (
        np.flatnonzero(values == bucket).tolist()
    )
    # A sketch combines the 32-bit parts of the code, padded to 8 bytes, without the substring.
    outside = np.packbits(np.arange(64) >= lengths[0])
    parts = (np.pad(codes[17], (0, 5)) & outside).view("<u4")
    assert sketches[rows[:300].tolist().index(17)] == parts[0] ^ parts[1]


@looped(
    ("change", "message"),
    [
        (lambda codes: codes[:-1], "built for 200 codes, but there are 199"),
        (lambda codes: codes[::-1].copy(), "built for other codes"),
        (lambda codes: np.roll(codes, 1, axis=0), "built for other codes"),
        (lambda codes: flipped(codes, 100), "built for other codes"),
        (lambda codes: flipped(np.concatenate([codes, codes]), 199), "built for other codes"),
        (lambda codes: np.concatenate([codes[1:], codes[:1], codes]), "built for other codes"),
        (lambda codes: codes[:, :2].copy(), "codes of 24 bits, not for these"),
    ],
)
def test_an_index_of_other_codes_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    codes = random_codes(0, 200, 24)
    path = saved(tmp_path, codes, 24)
    with pytest.raises(IndexMismatchError, match=message) as caught:
        MultiIndex.open(path, change(codes))
    assert str(path) in str(caught.value)
    assert "build the index again" in str(caught.value)


@looped(
    ("damage", "message"),
    [
        (lambda data: data[:-1], r"damaged: expected \d+ bytes, found \d+"),
        (lambda data: data + b"\0", "damaged: expected"),
        (lambda data: data[:0], "not an index"),
        (lambda data: b"x" + data[1:], "not an index"),
        (lambda data: data[:8] + b"\3" + data[9:], "expected format version 2, found 3"),
        (
            lambda data: data[:8] + b"\1" + data[9:],
            "version 2, found 1, which does not record the rows",
        ),
        (lambda data: data[:20] + b"[" + data[21:], "damaged"),
        (lambda data: data.replace(b'"n_bits": 16', b'"n_bits": 17'), "damaged"),
        (lambda data: with_field(data, "n_bits", None), "damaged"),
        (lambda data: with_field(data, "n_bits", "16"), "damaged"),
        (lambda data: with_field(data, "n_rows", 2**62), "damaged"),
        (lambda data: with_field(data, "n_rows", True), "damaged"),
        (lambda data: with_field(data, "crowding", [math.nan] * 2), "damaged"),
        (lambda data: with_field(data, "sample_costs", {"one": [1]}), "damaged"),
        (lambda data: with_field(data, "sample_costs", {"9" * 5000: [1]}), "damaged"),
        (lambda data: with_field(data, "sample_costs", {"1": 1}), "damaged"),
        (lambda data: with_field(data, "sample_costs", "1"), "damaged"),
        (lambda data: with_field(data, "substring_lengths", []), "damaged"),
        (lambda data: with_field(data, "substring_lengths", [60_000, -59_984]), "damaged"),
        (lambda data: with_field(data, "rows_digest", 5), "damaged"),
        (lambda data: with_field(data, "bank_identity", "\x1b[2J"), "damaged"),
        (lambda data: with_field(data, "types", {"offsets": "<f4"}), "damaged"),
        (lambda data: with_header(data, b"[" * 100_000), "damaged"),
        (lambda data: with_header(data, b"[]"), "damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Any, message: str) -> None:
    codes = random_codes(0, 100, 16)
    path = saved(tmp_path, codes, 16)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IndexMismatchError, match=message):
        MultiIndex.open(path, codes)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexMismatchError, match="no such index"):
        MultiIndex.open(tmp_path / "bank.h5.mih", random_codes(0, 5, 8))


@pytest.mark.parametrize("array", ["offsets", "rows"])
def test_invalid_values_in_the_tables_are_detected(tmp_path: Path, array: str) -> None:
    codes = crowded_codes(0, 2000, 40, 20)
    path = saved(tmp_path, codes, 40)
    opened = MultiIndex.open(path, codes)
    position = path.read_bytes().index(getattr(opened._tables, array)[:64].tobytes())
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\xfe" * getattr(opened._tables, array).nbytes)
    damaged = MultiIndex.open(path, codes)
    with pytest.raises(IndexMismatchError, match="damaged"):
        damaged.search(codes[:50], radius=3, budget=math.inf)


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = random_codes(0, 100, 16)
    path = saved(tmp_path, codes, 16)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        MultiIndex.build(codes, 16, n_tables=3).save(path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
