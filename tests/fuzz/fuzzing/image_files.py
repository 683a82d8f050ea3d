"""Subjects that hold images: files of every kind, lists, and published sets."""

from __future__ import annotations

import gzip
import io
import random
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fuzzing.layers import inside_gzip, inside_png
from fuzzing.mutations import mutate_bytes, mutate_text
from fuzzing.pickle_files import mutate_opcodes
from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

import image_bytes
import published_sets

__all__ = ["IMAGE_SUBJECTS"]

SIZE = (8, 8)


def _pictures() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    colour = Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8))
    return [
        colour,
        colour.convert("L"),
        colour.convert("RGBA"),
        colour.convert("P"),
        colour.convert("1"),
    ]


def _saved(kind: str, **options: object) -> list[bytes]:
    seeds = []
    for picture in _pictures():
        file = io.BytesIO()
        try:
            picture.save(file, kind, **options)
        except (OSError, ValueError):  # a mode that the format does not have
            continue
        seeds.append(file.getvalue())
    return seeds


def _read_image(path: Path, rng: random.Random) -> None:
    from hashkit.manifest import RESIZE_RULES
    from hashkit.preprocess import decode, load

    way = rng.random()
    if way < 0.4:
        pixels = load(path, SIZE, rng.choice(RESIZE_RULES))
        assert pixels.shape == (*SIZE, 3)
    elif way < 0.7:
        assert decode(path.read_bytes()).mode == "RGB"
    else:
        _strip(path.read_bytes())


def _strip(data: bytes) -> None:
    """Check that the file, as the server sends it, has the same pixels."""
    from hashkit.errors import ImageError
    from hashkit.imaging.stripping import without_metadata
    from hashkit.preprocess import decode

    bare = without_metadata(data)
    before = decode(data)
    if bare is None:
        return
    try:
        after = decode(bare)
    except ImageError as error:
        raise AssertionError("cannot be decoded without metadata") from error
    assert after.tobytes() == before.tobytes()


def _image(suffix: str, seeds: Callable[[], list[bytes]]) -> Callable[[Path], Subject]:
    def make(folder: Path) -> Subject:
        inside = [inside_png] if suffix == ".png" else []
        return Subject(folder / f"image{suffix}", seeds(), _read_image, inside)

    return make


def _png() -> list[bytes]:
    row = bytes(range(48))
    deep = image_bytes.png(4, [row[:24]] * 3, depth=16)
    marked = image_bytes.png(4, [row[:12]] * 3, before=[(b"eXIf", image_bytes.exif(6))])
    noted = image_bytes.png(4, [row[:12]] * 3, after=[(b"tEXt", b"Comment\0hello")])
    return [*_saved("PNG"), deep, marked, noted]


def _jpeg() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *_saved("JPEG"), *_saved("JPEG", progressive=True, restart_marker_blocks=1),
        *_saved("JPEG", exif=exif)[:1], *_cmyk(),
    ]  # fmt: skip


def _cmyk() -> list[bytes]:
    file = io.BytesIO()
    _pictures()[0].convert("CMYK").save(file, "JPEG")
    return [file.getvalue()]


def _tiff() -> list[bytes]:
    codecs = [None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"]
    seeds = [one for codec in codecs for one in _saved("TIFF", compression=codec)]
    deep = np.arange(12, dtype="<u2").tobytes()
    return [*seeds, image_bytes.tiff(4, 3, deep, bits=16, photometric=0)]


def _gif() -> list[bytes]:
    first, *others = (picture.convert("P") for picture in _pictures()[:3])
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others)
    return [*_saved("GIF"), file.getvalue()]


def _bmp() -> list[bytes]:
    return [*_saved("BMP"), image_bytes.bmp(np.asarray(_pictures()[0]))]


def _webp() -> list[bytes]:
    return [*_saved("WEBP"), *_saved("WEBP", lossless=True)]


def _pnm() -> list[bytes]:
    return [
        *_saved("PPM"), image_bytes.pnm(5, 4, 3, 65535, bytes(24)), b"P2\n3 2\n15\n0 1 2 3 4 15\n",
        b"P3\n1 1\n255\n1 2 3\n", b"P1\n4 2\n0101 1 0 1 0\n", image_bytes.pnm(6, 2, 1, 100,
        bytes(6)),
    ]  # fmt: skip


def _avif() -> list[bytes]:
    return _saved("AVIF", max_threads=1, speed=10)[:3]


def _heif() -> list[bytes]:
    from pillow_heif import from_pillow

    seeds = []
    for picture in _pictures()[:2]:
        file = io.BytesIO()
        from_pillow(picture.resize((64, 64))).save(file)
        seeds.append(file.getvalue())
    return seeds


def _qoi() -> list[bytes]:
    return [image_bytes.qoi(np.asarray(_pictures()[0]))]


# Lists and published sets


def _list(folder: Path) -> Subject:
    for name in ("a.png", "b.png", "c d.png", "é.png"):
        published_sets.write_image(folder / name)
    seeds = [
        b"a.png 0\nb.png 1\nc d.png -1\n", b"a.png\nb.png\n", b"a.png 0 1 0\nb.png 1 1 0\n",
        b"image,label\na.png,1\nb.png,0\n", b"a.png\t0\nb.png\t1\n", b"a.png;0\n\"c d.png\";1\n",
        "# list\né.png 3\n\na.png 4\n".encode(), "a.png b.png é.png\n".encode(),
        b"a.png\tb.png\tc d.png\n",
    ]  # fmt: skip
    return Subject(folder / "list.txt", seeds, _read_list, [mutate_text])


def _read_list(path: Path, rng: random.Random) -> None:
    from hashkit.datasets.lists import open_list, open_list_split
    from hashkit.datasets.triplets import read_triplets

    kind = rng.randrange(4)
    if kind == 0:
        open_list_split(queries=path, database=path, training=path)
    elif kind == 1:
        read_triplets(path)
    else:
        images = open_list(path)
        images.source(len(images) - 1)
        images.subset(np.arange(len(images)))


def _small_idx() -> dict[str, bytes]:
    arrays = published_sets.mnist_arrays()
    return {stem: published_sets.idx(array[:2]) for stem, array in arrays.items()}


def _idx(folder: Path) -> Subject:
    for stem, data in _small_idx().items():
        name = f"{stem}-idx{data[3]}-ubyte.gz"
        (folder / name).write_bytes(gzip.compress(data, mtime=0))
    seeds = [gzip.compress(data, mtime=0) for data in _small_idx().values()]

    def read(path: Path, rng: random.Random) -> None:
        from hashkit.datasets.mnist import MNIST, open_mnist, read_idx

        if rng.random() < 0.3:
            images = open_mnist(MNIST, path.parent)
            images.source(len(images) - 1)
        else:
            read_idx(path)

    return Subject(folder / "train-images-idx3-ubyte.gz", seeds, read, [inside_gzip])


def _python_part(n_images: int) -> bytes:
    rng = np.random.default_rng(4)
    part = {b"data": published_sets.planes(rng, n_images), b"labels": list(range(n_images))}
    return published_sets.python2_pickle(part)


def _cifar_python(folder: Path) -> Subject:
    files = published_sets.cifar10_python_files()
    home = folder / "cifar-10-batches-py"
    home.mkdir()
    for name in files:
        (home / name).write_bytes(_python_part(1) if "batch" in name[:10] else files[name])
    (home / "batches.meta").write_bytes(files["batches.meta"])
    seeds = [_python_part(1), _python_part(2)]
    return Subject(home / "data_batch_1", seeds, _read_cifar(folder), [mutate_opcodes])


def _cifar_archive(folder: Path) -> Subject:
    parts = {f"data_batch_{number}.bin": bytes(3073) for number in range(1, 6)}
    parts |= {"test_batch.bin": bytes(3073)}
    parts["batches.meta.txt"] = b"\n".join(published_sets.CIFAR10_NAMES) + b"\n"
    seed = _tar("cifar-10-batches-bin", parts)
    read = _read_cifar(folder)
    return Subject(folder / "cifar-10-binary.tar.gz", [seed], read, [inside_gzip, _in_tar])


def _tar(folder: str, files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(file.getvalue(), 1, mtime=0)


def _in_tar(rng: random.Random, data: bytes) -> bytes:
    """Change a header of the archive, with the right checksum, as pixels fill most of it."""
    tar = bytearray(gzip.decompress(data))
    at = 512 * (7 * rng.randrange(6))
    header = bytearray(mutate_bytes(rng, bytes(tar[at : at + 345])).ljust(512, b"\0")[:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    tar[at : at + 512] = header
    return gzip.compress(bytes(tar), 1, mtime=0)


def _read_cifar(folder: Path) -> Callable[[Path, random.Random], None]:
    def read(_: Path, __: random.Random) -> None:
        from hashkit.datasets.cifar import CIFAR10, open_cifar

        images = open_cifar(CIFAR10, folder)
        images.source(len(images) - 1)

    return read


IMAGE_SUBJECTS = {
    "png": _image(".png", _png),
    "jpeg": _image(".jpg", _jpeg),
    "tiff": _image(".tif", _tiff),
    "gif": _image(".gif", _gif),
    "bmp": _image(".bmp", _bmp),
    "webp": _image(".webp", _webp),
    "pnm": _image(".pgm", _pnm),
    "avif": _image(".avif", _avif),
    "heif": _image(".heic", _heif),
    "jpeg2000": _image(".jp2", lambda: _saved("JPEG2000")[:3]),
    "qoi": _image(".qoi", _qoi),
    "image-list": _list,
    "idx": _idx,
    "cifar": _cifar_python,
    "cifar-archive": _cifar_archive,
}
