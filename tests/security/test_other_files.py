"""A file of codes or a checkpoint makes hashkit open no other file, however it names one."""

from __future__ import annotations

import importlib
import os
import shutil
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import hashkit as package
from hashkit.errors import BankError, CheckpointError, CodesError, IndexMismatchError
from hashkit.runs.checkpoint_header import read_checkpoint_manifest
from hashkit.workflow.row_images import RowImages

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def bank(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.h5"
    codes = np.arange(20, dtype=np.uint8).reshape(-1, 2)
    package.save_codes(path, package.CodeSet(codes, 16, names=[f"{n}.png" for n in range(10)]))
    (tmp_path / "secret").write_bytes(b"S" * 4096)
    return path


def replace_dataset(path: Path, name: str, kind: str) -> None:
    """Replace a dataset of a bank by one that lies in another file."""
    with h5py.File(path, "r+") as file:
        shape, dtype = file[name].shape, file[name].dtype
        values = file[name][()]
        del file[name]
        if kind == "external link":
            file[name] = h5py.ExternalLink("other.h5", f"/{name}")
        elif kind == "link to a pipe":
            file[name] = h5py.ExternalLink("pipe", f"/{name}")
        elif kind == "soft link":
            file["elsewhere"] = values
            file[name] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            file.create_dataset(name, shape, dtype, external=[("secret", 0, h5py.h5f.UNLIMITED)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource("other.h5", name, shape=shape)
            file.create_virtual_dataset(name, layout)
        else:
            file.create_dataset(name, data=values, chunks=True, compression="gzip")


@pytest.mark.parametrize("name", ["codes", "names", "commit", "checksums"])
@pytest.mark.parametrize(
    "kind",
    ["external link", "link to a pipe", "soft link", "external storage", "virtual", "compressed"],
)
def test_a_bank_lies_in_one_file(bank, name, kind):
    shutil.copy(bank, "other.h5")
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
    with h5py.File(bank) as file:
        if name not in file:
            pytest.skip("this bank has no such dataset")
    replace_dataset(bank, name, kind)
    with pytest.raises(BankError, match=r"found the link|contiguously|expected a code bank"):
        package.Bank.open(bank)


def test_the_image_set_of_a_bank_must_be_a_known_name(tmp_path, monkeypatch):
    """It may not open a folder, which could lie on another machine."""
    opened = []
    importlib.import_module("hashkit.datasets.spec")  # it keeps what it imports
    monkeypatch.setattr("hashkit.datasets.sets.open_image_set", opened.append)
    images = RowImages()
    assert images._of_set(str(tmp_path), "a.png") is None
    assert images._of_set("//host/share", "a.png") is None
    assert opened == []


# Sizes that a sparse file declares


@pytest.mark.skipif(os.name == "nt", reason="sparse files are made otherwise")
def test_arrays_of_a_sparse_file_take_no_memory(tmp_path):
    n_rows = 4_000_000_000
    path = tmp_path / "a.faiss"
    # IndexBinaryFlat: name, code size, dimensions, rows, flag, metric; then a vector of bytes.
    head = b"IBxF" + struct.pack("<iiqbi", 64, 8, n_rows, 1, 1) + struct.pack("<Q", 8 * n_rows)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + 8 * n_rows)
    with pytest.raises(CodesError, match=r"32,000,000,000 bytes, more than the 2,147|expected"):
        package.open_codes(path)
    np.lib.format.write_array_header_1_0(
        (head_file := (tmp_path / "a.npy").open("wb")),
        {"descr": "|u1", "fortran_order": False, "shape": (n_rows, 8)},
    )
    head_file.truncate(head_file.tell() + 8 * n_rows)
    head_file.close()
    with pytest.raises(CodesError, match="32,000,000,000 bytes, more than the 2,147"):
        package.open_codes(tmp_path / "a.npy", n_bits=64)


@pytest.mark.skipif(os.name == "nt", reason="sparse files are made otherwise")
def test_a_header_of_a_sparse_file_takes_no_memory(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 30_000_000_000))
        file.truncate(40_000_000_000)
    with pytest.raises(CheckpointError, match="a header has 30,000,000,000 bytes, more than"):
        read_checkpoint_manifest(path)


@pytest.mark.skipif(os.name == "nt", reason="sparse files are made otherwise")
@pytest.mark.parametrize("suffix", ["safetensors", "h5", "npz", "parquet", "mih", "txt"])
def test_a_sparse_file_is_not_a_file_of_codes(tmp_path, bank, suffix):
    path = tmp_path / f"sparse.{suffix}"
    with path.open("wb") as file:
        file.truncate(40_000_000_000)

    def open_index() -> None:
        with package.Bank.open(bank) as opened:
            package.MultiIndex.open(path, opened.codes)

    read = {"safetensors": lambda: read_checkpoint_manifest(path), "mih": open_index}
    with pytest.raises((BankError, CheckpointError, CodesError, IndexMismatchError)):
        read.get(suffix, lambda: package.open_codes(path))()
    if suffix == "safetensors":
        from hashkit.training.checkpoint import read_checkpoint

        with pytest.raises(CheckpointError, match="40,000,000,000 bytes, more than"):
            read_checkpoint(path)
