"""Small files that ask for much memory: sizes are compared with limits before memory is taken."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import published_sets
import pytest
from cli_samples import fail
from linear_models import linear_model
from PIL import Image

import hashkit as package
from hashkit.datasets.cifar import CIFAR10, open_cifar
from hashkit.datasets.lists import open_list
from hashkit.datasets.mnist import read_idx
from hashkit.errors import (
    CheckpointError,
    CodesError,
    DatasetError,
    ImageError,
    ModelError,
    RunError,
)
from hashkit.inputs.limits import limits, set_limits
from hashkit.preprocess import decode, load
from hashkit.runs.checkpoint_header import read_checkpoint_manifest
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

MIB = 2**20


@pytest.fixture(autouse=True)
def _restored():
    before = dataclasses.asdict(limits())
    yield
    set_limits(**before)


@pytest.fixture
def peak():
    """Measures the most memory that Python and NumPy take in a test, bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def codes_of(n_rows: int = 4) -> np.ndarray:
    return np.zeros((n_rows, 2), np.uint8)


# Compressed arrays


def idx_gz(path: Path, shape: tuple[int, ...], n_bytes: int) -> Path:
    """An idx file that declares a shape, and has so many zeros."""
    start = bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape)
    squeezed = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        file.write(squeezed.compress(start))
        for _ in range(0, n_bytes, MIB):
            file.write(squeezed.compress(bytes(min(MIB, n_bytes))))
        file.write(squeezed.flush())
    return path


def test_an_idx_file_is_not_unpacked_beyond_its_limit(tmp_path, peak):
    path = idx_gz(tmp_path / "a.gz", (4_000_000, 28, 28), 10)
    with pytest.raises(DatasetError, match="3,136,000,016 bytes, more than the 2,147,483,648"):
        read_idx(path)
    set_limits(array_bytes=100)
    with pytest.raises(DatasetError, match=r"with `hashkit.set_limits\(array_bytes=7856\)`"):
        read_idx(idx_gz(tmp_path / "a.gz", (10, 28, 28), 10 * 28 * 28 + 16))
    assert peak() < 3 * MIB


def test_an_idx_file_is_not_unpacked_beyond_its_header(tmp_path, peak):
    path = idx_gz(tmp_path / "a.gz", (3, 5), 30 * MIB)
    with pytest.raises(DatasetError, match="expected 27 bytes by the header, found 28"):
        read_idx(path)
    assert peak() < 3 * MIB


@pytest.mark.parametrize("n_dims", [0, 1, 3, 4, 255])
def test_an_idx_file_of_odd_dimensions_is_damaged(tmp_path, n_dims):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, n_dims]) + b"\xff" * 4 * n_dims))
    with pytest.raises(DatasetError, match=r"bytes by the header|more than|expected"):
        read_idx(path)


def test_a_member_of_an_archive_is_not_read_beyond_its_limit(tmp_path, peak):
    set_limits(array_bytes=10 * MIB)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        info.size = 30 * MIB
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    tracemalloc.reset_peak()
    with pytest.raises(DatasetError, match="the member data_batch_1 has 31,457,280 bytes"):
        open_cifar(CIFAR10, tmp_path)
    assert peak() < 35 * MIB  # of the test itself


def test_what_an_npz_does_not_need_is_not_read(tmp_path, peak):
    other = np.zeros(30 * MIB, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", codes=codes_of(), bits=16, other=other)
    del other
    tracemalloc.reset_peak()
    assert len(package.open_codes(tmp_path / "a.npz")) == 4
    assert peak() < 5 * MIB


@pytest.mark.parametrize("name", ["codes", "labels", "names", "class_names"])
def test_an_array_of_an_npz_has_a_limit(tmp_path, peak, name):
    large = {
        "codes": np.zeros((MIB, 2), np.uint8),
        "labels": np.zeros(MIB, np.int64),
        "names": np.array(["x" * 1000] * 4000),
        "class_names": np.array(["x" * 1000] * 4000),
    }[name]
    arrays = {"codes": codes_of(), "bits": np.array(16)} | {name: large}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    tracemalloc.reset_peak()
    set_limits(array_bytes=MIB)
    with pytest.raises(CodesError, match=f"the array '?{name}'? has .* bytes, more than the 1,048"):
        package.open_codes(tmp_path / "a.npz")
    assert peak() < large.nbytes + 2 * MIB  # of the test itself


def test_a_stored_array_may_be_as_large_as_its_file(tmp_path):
    np.savez(tmp_path / "a.npz", codes=np.ones((1000, 2), np.uint8), bits=16)
    set_limits(array_bytes=10)
    assert len(package.open_codes(tmp_path / "a.npz")) == 1000
    np.save(tmp_path / "a.npy", np.ones((1000, 2), np.uint8))
    assert len(package.open_codes(tmp_path / "a.npy", n_bits=16)) == 1000


@pytest.mark.parametrize("column", ["code", "name", "label", "labels"])
@pytest.mark.parametrize("keeps_schema", [True, False])
def test_a_value_that_repeats_in_parquet_is_not_expanded(tmp_path, column, keeps_schema):
    """A file of two kilobytes, whose column would take 30 GB."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    n_rows = 300_000
    columns = {"code": pyarrow.array([b"ab"] * n_rows, pyarrow.binary(2))}
    if column == "labels":
        lists = pyarrow.array([[100_000]] * n_rows, pyarrow.list_(pyarrow.int32()))
        columns["labels"] = lists
    else:
        value = b"x" * 100_000 if column == "code" else "x" * 100_000
        numbers = pyarrow.array([0] * n_rows, pyarrow.int32())
        columns[column] = pyarrow.DictionaryArray.from_arrays(numbers, pyarrow.array([value]))
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path, store_schema=keeps_schema)
    before = pyarrow.total_allocated_bytes()

    def read() -> None:
        found = package.open_codes(path)
        assert len(found) == n_rows
        found.names[5]  # names are read when they are wanted

    with pytest.raises(CodesError, match=r"has 30,000,\d+,000 bytes, more than|to be binary"):
        read()
    pool = pyarrow.default_memory_pool()
    assert pyarrow.total_allocated_bytes() - before < 100 * MIB
    assert pool.max_memory() is None or pool.max_memory() < 500 * MIB


# Images


def png(width: int, height: int) -> bytes:
    """A PNG by its header alone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (40_000, 40_000)])
def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, capfd, width, height):
    """And no library warns about it."""
    (tmp_path / "a.png").write_bytes(png(width, height))
    with pytest.raises(ImageError, match="pixels, more than the 89,478,485 allowed") as caught:
        decode(tmp_path / "a.png")
    assert caught.value.reason == "too-large"
    assert f"image_pixels={width * height}" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_limits_of_images_can_be_raised_and_lowered(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    set_limits(image_pixels=599)
    with pytest.raises(ImageError, match="600 pixels, more than the 599 allowed"):
        load(path, (8, 8), "crop-bilinear")
    set_limits(image_pixels=600)
    assert load(path, (8, 8), "crop-bilinear").shape == (8, 8, 3)
    set_limits(image_bytes=path.stat().st_size - 1)
    with pytest.raises(ImageError, match="image_bytes=") as caught:
        load(path, (8, 8), "crop-bilinear")
    assert caught.value.reason == "too-large"


@pytest.mark.end_to_end
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no peak memory")
@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "P"])
def test_an_image_takes_no_more_than_itself_and_its_result(tmp_path, mode):
    """All conversions but one take two images at most: 4 bytes per pixel each, and a little."""
    side = 4000
    path = tmp_path / "a.png"
    image = Image.new(mode, (side, side))
    extra = {"transparency": 0} if mode == "P" else {}
    image.save(path, compress_level=1, **extra)
    code = (
        "from pathlib import Path\n"
        "from hashkit.preprocess import load\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        f"load({str(path)!r}, (32, 32), 'crop-bilinear')\n"
        "print((peak() - before) * 1024)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < side * side * 4 * 2.6


# Text, JSON, models


def test_texts_have_a_limit(tmp_path):
    (tmp_path / "a.txt").write_text("0101\n" * 100)
    (tmp_path / "list.txt").write_text("a.png 0\n" * 100)
    package.save_codes(tmp_path / "a.npz", package.CodeSet(codes_of(100), 16))
    set_limits(text_bytes=499)
    with pytest.raises(CodesError, match=r"500 bytes, more than the 499 allowed.*text_bytes=500"):
        package.open_codes(tmp_path / "a.txt")
    with pytest.raises(CodesError, match="500 bytes, more than the 499"):
        package.open_codes(tmp_path / "a.npz", tmp_path / "a.txt")
    with pytest.raises(DatasetError, match="800 bytes, more than the 499"):
        open_list(tmp_path / "list.txt")


def test_json_has_a_limit(tmp_path):
    run = Run.create(tmp_path, "a", RunConfig(data=DataSpec()))
    set_limits(json_bytes=10)
    with pytest.raises(RunError, match=r"config\.json.*more than the 10 allowed.*json_bytes="):
        run.read_config()
    assert "--limit json-bytes=" in fail(f"train --resume --run {run.path}  --limit json-bytes=10")


def test_models_have_a_limit(tmp_path):
    path = linear_model(tmp_path / "m.onnx")
    set_limits(model_bytes=path.stat().st_size - 1)
    for read in (lambda: package.Encoder.load(path, device="cpu"), lambda: info(path)):
        with pytest.raises(ModelError, match=r"more than the .* allowed.*model_bytes="):
            read()
    with path.open("r+b") as file:
        file.truncate(40_000_000_000)
    set_limits(model_bytes=2**31)
    with pytest.raises(ModelError, match="40,000,000,000 bytes, more than the 2,147,483,648"):
        package.Encoder.load(path, device="cpu")


def info(path: Path) -> None:
    from hashkit.runtimes.onnx_file import read_onnx_file

    read_onnx_file(path)


@pytest.mark.parametrize("length", [2**32, 2**62, 2**64 - 1])
def test_the_header_of_a_checkpoint_is_not_read_beyond_the_file(tmp_path, peak, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + json.dumps({}).encode())
    with pytest.raises(CheckpointError):
        read_checkpoint_manifest(path)
    assert peak() < 3 * MIB
    assert os.path.getsize(path) < 100  # noqa: PTH202


def test_published_sets_are_within_the_limits():
    """The largest array of the sets that have a reader: CIFAR in one part."""
    assert limits().array_bytes > 50_000 * 3073
    assert len(published_sets.mnist_arrays()) == 4
