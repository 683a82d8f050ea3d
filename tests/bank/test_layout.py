"""The format described in docs/bank-format.md, and the golden file of each version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from bank_samples import make_header, rows_of, run_job
from looped import looped

from hashkit.bank import bankfile, build
from hashkit.bank.attributes import header_check
from hashkit.bank.build import build_bank
from hashkit.bank.deletion import delete_rows, restore_rows
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.layout import FORMAT_VERSION
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codesets import CodeSet
from hashkit.formats import save_codes
from hashkit.manifest import Manifest

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = {version: FOLDER / f"bank-v{version}.h5" for version in (1, 2, 3)}
BARE = FOLDER / "bank-v3-codes.h5"
SPECIFICATION = Path(__file__).parents[2] / "docs" / "bank-format.md"

CODES = np.array(
    [[0x00, 0x00], [0xFF, 0xE0], [0x80, 0x20], [0x12, 0x40], [0xA5, 0xA0]], dtype=np.uint8
)
NAMES = ["ant/1.png", "bee/Zürich 2.jpg", "猫/3.png", "", "x/../4.webp"]
LABELS = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], dtype=np.uint8)
MANIFEST = Manifest(
    n_bits=11,
    height=32,
    width=48,
    resize="stretch-bicubic",
    network="dnnh",
    loss="triplet",
    recipe="quick",
    dataset="cifar10",
    protocol="cifar10-59k",
    class_names=("ant", "bee", "cat"),
    seed=7,
    weights_sha256="cd" * 32,
    versions={"torch": "2.8.0"},
)
SOURCES = (
    BankSource("/data/insects", "/data/insects", "", "all", None, 3, "12" * 32),
    BankSource("/data/more", "/data/more", "half", "database", 5, 4, "34" * 32),
)
HEADER = BankHeader(
    n_bits=11,
    manifest=MANIFEST,
    model_sha256="ab" * 32,
    runtime="onnxruntime 1.24.0",
    provider="CUDAExecutionProvider, CPUExecutionProvider",
    precision="fp32",
    class_names=("ant", "bee", "cat"),
    label_kind="multi",
    source=SOURCES[-1],
)

# Version 3 has more.
GROWING = BankSource("/data/uploads", "/data/uploads", "", "all", None, None, "")
SOURCES_3 = (*SOURCES, GROWING)
HEADER_3 = dataclasses.replace(
    HEADER, source=GROWING, resampler="Pillow 12.1.0, Pillow 13.0.0", has_files=True
)
FILES = ImageFiles(
    np.array([1_234, 0, 2**40, 17, 2**63], dtype=np.uint64),
    np.array([1_700_000_000_123_456_789, 0, -1, 2**62, 1], dtype=np.int64),
    np.arange(80, dtype=np.uint8).reshape(5, 16),
)
IDENTITY = "0123456789abcdef" * 2


def header_of_version(version: int) -> BankHeader:
    return HEADER_3 if version == 3 else HEADER


def sources_of_version(version: int) -> tuple[BankSource, ...]:
    return SOURCES_3 if version == 3 else SOURCES


def write_golden(path: Path) -> None:
    """Write the golden file of version 3 again."""
    blocks = [(CODES, NAMES, LABELS, FILES)]
    n_name_bytes = len("".join(NAMES).encode())
    sizes = {"n_rows": 5, "n_name_bytes": n_name_bytes, "n_consumed": 4}
    build_bank(path, HEADER_3, SOURCES_3, blocks, **sizes)
    delete_rows(path, [0, 3])
    restore_rows(path, [0])
    delete_rows(path, [4])


def write_bare_golden(path: Path) -> None:
    """Write the golden file of bare codes again."""
    save_codes(path, CodeSet(CODES, 11))


@pytest.fixture
def _fixed_identity(monkeypatch):
    for module in (build, bankfile):
        monkeypatch.setattr(module, "new_identity", lambda: IDENTITY)


@pytest.mark.parametrize("version", GOLDEN)
def test_the_golden_bank_can_be_read(version):
    with Bank.open(GOLDEN[version]) as bank:
        assert bank.format_version == version
        assert bank.header == header_of_version(version)
        assert bank.sources == sources_of_version(version)
        assert bank.identity == (IDENTITY if version == 3 else "")
        assert bank.row_generation == (1 if version == 3 else 0)
        assert bank.deletion_generation == (0 if version == 1 else 3)
        assert bank.is_complete
        assert bank.n_consumed == 4
        np.testing.assert_array_equal(bank.codes, CODES, strict=True)
        np.testing.assert_array_equal(bank.labels, LABELS, strict=True)
        assert list(bank.names) == NAMES
        if version == 1:
            assert bank.deleted is None
        else:
            assert bank.deleted is not None
            assert bank.deleted.tolist() == [False, False, False, True, True]
        bank.verify()


@pytest.mark.usefixtures("_fixed_identity")
@pytest.mark.parametrize(
    ("golden", "write"), [(GOLDEN[FORMAT_VERSION], write_golden), (BARE, write_bare_golden)]
)
def test_a_new_bank_equals_the_golden_bank_of_its_version(tmp_path, golden, write):
    write(tmp_path / "bank.h5")
    with h5py.File(tmp_path / "bank.h5") as made, h5py.File(golden) as golden:
        assert set(made) == set(golden)
        for name in golden:
            np.testing.assert_array_equal(made[name][...], golden[name][...], strict=True)
        assert {**made.attrs, "created_by": ""} == {**golden.attrs, "created_by": ""}


@pytest.mark.parametrize("version", [1, 2])
def test_the_golden_bank_matches_the_specification(version):
    text = "".join(NAMES).encode()
    counts = [5, len(text), 4, 1] + [2, 3] * (version == 2)
    commit = np.array(counts, dtype="<u8")
    expected = {
        "codes": CODES,
        "names": np.frombuffer(text, dtype=np.uint8),
        "name_ends": np.cumsum([len(name.encode()) for name in NAMES]).astype("<u8"),
        "labels": LABELS,
        "commit": np.append(commit, np.uint64(zlib.crc32(commit.tobytes()))),
    }
    if version == 2:
        expected["deleted"] = np.array([[0b00010000], [0b00011000]], dtype=np.uint8)
    with h5py.File(GOLDEN[version], "r") as file:
        assert set(file) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(file[name][...], values, strict=True)
        check_structure(file)
        attributes = dict(file.attrs)
        assert re.fullmatch(r"hashkit \d+\.\d+\.\d+", attributes.pop("created_by"))
        for name in ("manifest", "class_names", "source"):
            attributes[name] = json.loads(attributes[name])
        assert attributes == {
            "format": "hashkit-bank",
            "format_version": version,
            "n_bits": 11,
            "manifest": {
                "n_bits": 11,
                "height": 32,
                "width": 48,
                "resize": "stretch-bicubic",
                "network": "dnnh",
                "loss": "triplet",
                "recipe": "quick",
                "dataset": "cifar10",
                "protocol": "cifar10-59k",
                "class_names": ["ant", "bee", "cat"],
                "seed": 7,
                "weights_sha256": "cd" * 32,
                "versions": {"torch": "2.8.0"},
                "format_version": 1,
            },
            "model_sha256": "ab" * 32,
            "runtime": "onnxruntime 1.24.0",
            "provider": "CUDAExecutionProvider, CPUExecutionProvider",
            "precision": "fp32",
            "label_kind": "multi",
            "class_names": ["ant", "bee", "cat"],
            "source": [
                {
                    "dataset": "/data/insects",
                    "root": "/data/insects",
                    "protocol": "",
                    "part": "all",
                    "seed": None,
                    "n_images": 3,
                    "names_sha256": "12" * 32,
                },
                {
                    "dataset": "/data/more",
                    "root": "/data/more",
                    "protocol": "half",
                    "part": "database",
                    "seed": 5,
                    "n_images": 4,
                    "names_sha256": "34" * 32,
                },
            ],
        }


def check_structure(file: h5py.File) -> None:
    for dataset in file.values():
        assert dataset.chunks is None
        assert dataset.compression is None
        assert dataset.id.get_offset() % 64 == 0


@looped("n_rows", [0, 1, 7, 1_000, 12_345])
@looped("kind", ["none", "single", "multi"])
def test_every_bank_has_the_structure(tmp_path, kind, n_rows):
    path = tmp_path / "bank.h5"
    header = make_header(label_kind=kind)
    BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=n_rows * 3).close()
    with h5py.File(path, "r") as file:
        check_structure(file)
        assert ("labels" in file) == (kind != "none")


def test_unknown_entries_are_ignored(tmp_path):
    path = tmp_path / "bank.h5"
    path.write_bytes(GOLDEN[FORMAT_VERSION].read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["colour"] = "blue"
        file["thumbnails"] = np.zeros(3)
        manifest = json.loads(file.attrs["manifest"]) | {"colour": "blue"}
        file.attrs["manifest"] = json.dumps(manifest)
        sources = [source | {"colour": "blue"} for source in json.loads(file.attrs["source"])]
        file.attrs["source"] = json.dumps(sources)
        file.attrs["header_check"] = header_check(file.attrs)
    with Bank.open(path) as bank:
        assert bank.header == HEADER_3
        assert list(bank.names) == NAMES


def run_the_documented_reader(path: Path, snippet: int = 0) -> dict:
    snippets = re.findall(r"```python\n(.*?)```", SPECIFICATION.read_text("utf-8"), re.DOTALL)
    assert [sum(bool(line.strip()) for line in one.splitlines()) for one in snippets] == [6, 5, 9]
    snippet = snippets[snippet]
    assert '"bank.h5"' in snippet
    values: dict = {"h5py": h5py, "numpy": np}
    exec(snippet.replace('"bank.h5"', repr(str(path))), values)  # noqa: S102
    return values


def test_the_documented_reader_reads_banks(tmp_path):
    for golden in GOLDEN.values():
        values = run_the_documented_reader(golden)
        np.testing.assert_array_equal(values["codes"], CODES)
        assert values["names"] == NAMES
    for version in (2, 3):
        deleted = run_the_documented_reader(GOLDEN[version], snippet=1)["deleted"]
        assert deleted.tolist() == [0, 0, 0, 1, 1]

    path = tmp_path / "bank.h5"
    run_job(path)
    codes, names, _ = rows_of(range(40))
    values = run_the_documented_reader(path)
    np.testing.assert_array_equal(values["codes"], codes)
    assert values["names"] == names


def test_the_documented_reader_reads_banks_that_are_being_written(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header()
    with BankWriter.create(path, header, n_rows=50, n_name_bytes=500, commit_seconds=0) as writer:
        writer.write(*rows_of(range(20)), n_consumed=20)
        codes, names, _ = rows_of(range(20))
        values = run_the_documented_reader(path)
        np.testing.assert_array_equal(values["codes"], codes)
        assert values["names"] == names


def test_the_hash_of_names_is_as_documented():
    names, labels = ["a/1.png", "é"], np.array([[1, 0, 1], [0, 0, 1]], dtype=np.uint8)
    text = b"a/1.png\0\xc3\xa9\0"
    assert hash_names(names, None) == hashlib.sha256(text + b"\0none").hexdigest()
    stored = labels.astype("<i8").tobytes()
    expected = hashlib.sha256(text + b"\0labels [2, 3]" + stored).hexdigest()
    assert hash_names(names, labels) == expected
    single = hashlib.sha256(text + b"\0labels [2]" + labels[:, 0].astype("<i8").tobytes())
    assert hash_names(names, labels[:, 0]) == single.hexdigest()


def test_a_number_of_bits_is_enough_for_codes_from_elsewhere(tmp_path):
    codes = np.zeros((3, 8), dtype=np.uint8)
    header = BankHeader(64, has_names=False)
    with BankWriter.create(tmp_path / "b.h5", header, n_rows=3, n_name_bytes=0) as writer:
        writer.write(codes, n_consumed=3)
        writer.complete()
    with Bank.open(tmp_path / "b.h5") as bank:
        assert bank.header == header
        np.testing.assert_array_equal(bank.codes, codes)
