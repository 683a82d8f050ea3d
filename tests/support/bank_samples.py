"""Banks with known rows, for the tests of `hashkit.bank`."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import h5py
import numpy as np

from hashkit.bank.deletion import delete_rows, restore_rows
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.manifest import Manifest

N_BITS = 20
CLASSES = ("ant", "bee", "cat")
LISTS = {"first": range(24), "second": range(24, 40)}
BATCH = 8


def make_header(n_bits=N_BITS, source=None, **fields) -> BankHeader:
    values = {
        "n_bits": n_bits,
        "manifest": Manifest(n_bits, 32, 32, network="dnnh", class_names=CLASSES),
        "model_sha256": "ab" * 32,
        "runtime": "onnxruntime 1.24.0",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "class_names": CLASSES,
        "label_kind": "single",
        "source": source,
    }
    return BankHeader(**(values | fields))


def make_source(name="first", n_images=5, **fields) -> BankSource:
    values = {
        "dataset": name,
        "root": f"/images/{name}",
        "protocol": "",
        "part": "all",
        "seed": None,
        "n_images": n_images,
        "names_sha256": hash_names([f"{name}/{row}" for row in range(n_images or 0)], None),
    }
    return BankSource(**(values | fields))


def image_code(image: int) -> bytes:
    bits = hashlib.sha256(b"code %d" % image).digest()
    return bits[:2] + bytes([bits[2] & 0xF0])


def image_name(image: int) -> str:
    return f"{'é' * (image % 4)}/{image}.png"


def is_unusable(image: int) -> bool:
    return image % 7 == 3


def rows_of(images) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The expected codes, names and labels of ``images``."""
    usable = [image for image in images if not is_unusable(image)]
    codes = np.frombuffer(b"".join(map(image_code, usable)), dtype=np.uint8).reshape(-1, 3)
    labels = np.array([image % 4 - 1 for image in usable], dtype=np.int64)
    return codes, [image_name(image) for image in usable], labels


def job_header(name: str) -> BankHeader:
    images = LISTS[name]
    source = make_source(name, len(images), names_sha256=hash_names(list(map(str, images)), None))
    return make_header(source=source)


def run_job(path: Path) -> None:
    """Encode the first list, then append the second, continuing where the bank stopped.

    The bank starts with too little space, so it grows. Images that give no row leave unused space,
    so it is compacted at the end.
    """
    if not path.exists():
        BankWriter.create(path, job_header("first"), n_rows=10, n_name_bytes=100).close()
    if len(Bank.open(path).sources) == 1:
        with BankWriter.resume(path, job_header("first"), commit_seconds=0) as writer:
            _encode(writer, LISTS["first"])
    with BankWriter.append(
        path, job_header("second"), n_rows=9, n_name_bytes=300, commit_seconds=0
    ) as writer:
        _encode(writer, LISTS["second"])


def _encode(writer: BankWriter, images: range) -> None:
    if writer.is_complete:
        writer.complete()
        return
    for start in range(writer.n_consumed, len(images), BATCH):
        batch = images[start : start + BATCH]
        writer.write(*rows_of(batch), n_consumed=start + len(batch))
    writer.complete()


DELETIONS = ((), (0, 7), (0, 7, 8, 30), (7, 30), tuple(range(7, 31)))
"""Deleted rows of a bank made by `run_job`: at the start and after each step of `run_deletions`."""


def run_deletions(path: Path) -> None:
    """Change a bank's deleted rows to each following entry of `DELETIONS`, up to the last."""
    for before, after in itertools.pairwise(DELETIONS[deletions_done(path) :]):
        if added := sorted({*after} - {*before}):
            delete_rows(path, added)
        else:
            restore_rows(path, sorted({*before} - {*after}))


def deletions_done(path: Path) -> int:
    """Number of completed steps of `run_deletions`; fails if a bank has only a part of one."""
    with Bank.open(path) as bank:
        deleted = () if bank.deleted is None else tuple(np.flatnonzero(bank.deleted).tolist())
        assert bank.n_deleted == len(deleted)
        return DELETIONS.index(deleted)


def content_of(path: Path) -> dict[str, object]:
    """What banks of the same job share: all but their identity and their numbers of commits."""
    with h5py.File(path) as file:
        content: dict[str, object] = {name: file[name][...].tolist() for name in file}
        content["commit"] = file["commit"][:5].tolist()
        if "tail_checksums" in file:
            valid = int(file["commit"][6]) % 2
            content["tail_checksums"] = file["tail_checksums"][valid].tolist()
        own = ("identity", "header_check")
        return content | {name: value for name, value in file.attrs.items() if name not in own}


def assert_is_prefix(bank: Bank) -> int:
    """Check that a bank of `run_job` holds its `n_consumed` images; returns their total number."""
    done = bank.n_consumed + sum(source.n_images for source in bank.sources[:-1])
    codes, names, labels = rows_of(range(done))
    np.testing.assert_array_equal(bank.codes, codes)
    np.testing.assert_array_equal(bank.labels, labels)
    assert list(bank.names) == names
    bank.verify()
    return done
