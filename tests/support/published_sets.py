"""Writes tiny image sets in the exact layouts in which the real ones are published."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CIFAR10_NAMES = (
    b"airplane", b"automobile", b"bird", b"cat", b"deer",
    b"dog", b"frog", b"horse", b"ship", b"truck",
)  # fmt: skip


def python2_pickle(value: Any) -> bytes:
    """Bytes that Python 2's cPickle writes, protocol 2: the form of the official CIFAR files."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, dict):
        items = b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items())
        return b"}(" + items + b"u"
    return _array_opcodes(value)


def _array_opcodes(array: NDArray[np.uint8]) -> bytes:
    dtype_args = _opcodes((b"u1", 0, 1))
    dtype_state = _opcodes((3, b"|", None, None, None, -1, -1, 0))
    dtype = b"cnumpy\ndtype\n" + dtype_args + b"R" + dtype_state + b"b"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    empty += _opcodes((0,)) + _opcodes(b"b") + b"tR"
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    state = b"(" + _opcodes(1) + _opcodes(array.shape) + dtype + _opcodes(is_fortran)
    state += _opcodes(array.tobytes("F" if is_fortran else "C")) + b"t"
    return empty + state + b"b"


def planes(rng: np.random.Generator, n_images: int) -> NDArray[np.uint8]:
    """Pixels as CIFAR stores them: [n, 3072], all red, then all green, then all blue."""
    return rng.integers(0, 256, (n_images, 3072), dtype=np.uint8)


def cifar10_parts(n_per_batch: int = 10) -> dict[str, tuple[NDArray[np.uint8], list[int]]]:
    """Planes and labels of each official part, drawn the same each time."""
    rng = np.random.default_rng(10)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    return {
        name: (planes(rng, n_per_batch), rng.permutation(n_per_batch).astype(int).tolist())
        for name in names
    }


def cifar10_python_files() -> dict[str, bytes]:
    """Files of the folder ``cifar-10-batches-py``."""
    files = {
        name: python2_pickle(
            {
                b"data": data,
                b"labels": labels,
                b"batch_label": b"training batch",
                b"filenames": [b"x_%d.png" % row for row in range(len(labels))],
            }
        )
        for name, (data, labels) in cifar10_parts().items()
    }
    meta = {b"num_cases_per_batch": 10, b"label_names": list(CIFAR10_NAMES), b"num_vis": 3072}
    return {**files, "batches.meta": python2_pickle(meta), "readme.html": b"<html></html>"}


def cifar10_binary_files() -> dict[str, bytes]:
    """Files of the folder ``cifar-10-batches-bin``."""
    files = {
        f"{name}.bin": b"".join(
            bytes([label]) + row.tobytes() for label, row in zip(labels, data, strict=True)
        )
        for name, (data, labels) in cifar10_parts().items()
    }
    return {**files, "batches.meta.txt": b"\n".join(CIFAR10_NAMES) + b"\n\n"}


def cifar100_parts() -> dict[str, tuple[NDArray[np.uint8], list[int], list[int]]]:
    """Planes, fine labels and coarse labels of both official parts."""
    rng = np.random.default_rng(100)
    return {
        name: (planes(rng, n), rng.integers(0, 100, n).tolist(), rng.integers(0, 20, n).tolist())
        for name, n in (("train", 12), ("test", 5))
    }


def cifar100_python_files() -> dict[str, bytes]:
    """Files of the folder ``cifar-100-python``."""
    files = {
        name: python2_pickle({b"fine_labels": fine, b"coarse_labels": coarse, b"data": data})
        for name, (data, fine, coarse) in cifar100_parts().items()
    }
    meta = {
        b"fine_label_names": [b"fine%d" % label for label in range(100)],
        b"coarse_label_names": [b"coarse%d" % label for label in range(20)],
    }
    return {**files, "meta": python2_pickle(meta)}


def cifar100_binary_files() -> dict[str, bytes]:
    """Files of the folder ``cifar-100-binary``."""
    files = {
        f"{name}.bin": b"".join(
            bytes([two, one]) + row.tobytes()
            for one, two, row in zip(fine, coarse, data, strict=True)
        )
        for name, (data, fine, coarse) in cifar100_parts().items()
    }
    for kind, n_names in (("fine", 100), ("coarse", 20)):
        lines = b"".join(b"%s%d\n" % (kind.encode(), label) for label in range(n_names))
        files[f"{kind}_label_names.txt"] = lines
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def tar_gz(folder: str, files: dict[str, bytes]) -> bytes:
    """A ``.tar.gz`` that unpacks to ``folder``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(folder)
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def idx(array: NDArray[np.uint8]) -> bytes:
    """An idx file of bytes: 0000 08, the number of dimensions, big-endian sizes, values."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def mnist_arrays() -> dict[str, NDArray[np.uint8]]:
    """Arrays of the four files, by stem."""
    rng = np.random.default_rng(28)
    arrays = {}
    for part, n_images in (("train", 20), ("t10k", 10)):
        arrays[f"{part}-images"] = rng.integers(0, 256, (n_images, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels"] = (np.arange(n_images) % 10).astype(np.uint8)
    return arrays


def write_mnist(folder: Path, *, separator: str = "-", is_gzipped: bool = True) -> None:
    """Write the four files, their names spelt with a dash or with a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in mnist_arrays().items():
        name = f"{stem}{separator}idx{array.ndim}-ubyte"
        data = idx(array)
        if is_gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    """Write an image of one colour, (height, width) pixels; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (value, value, value)).save(path)
