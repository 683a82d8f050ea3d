"""MNIST and Fashion-MNIST, from their idx files.

Sources: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*; Xiao, Rasul and
Vollgraf, *Fashion-MNIST*, arXiv 1708.07747.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.download import DownloadProgress, RemoteFile, check_present, fetch
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import open_file, size_on_disk

__all__ = ["FASHION_MNIST", "MNIST", "MnistSet", "Published", "open_mnist", "read_idx"]

_SIDE: Final = 28
_CHUNK_BYTES: Final = 1 << 20
_MOST_DIMS: Final = 3
_HEADER_BYTES: Final = 4 + 4 * _MOST_DIMS
_UINT8: Final = 0x08

_PARTS: Final = ("train", "t10k")

_CLOTHES: Final = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Published:
    """A gzipped file: its stem, as ``train-images``, published MD5, size in bytes, and SHA-256."""

    stem: str
    md5: str
    n_bytes: int = 0
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class MnistSet:
    """A set that is published as four idx files.

    Attributes
    ----------
    name
        Name of the image set.
    class_names
        Names of its ten classes, by label.
    home
        URL that the file names are appended to.
    files
        The four files.
    elsewhere
        Folders where packages of operating systems install the files.
    """

    name: str
    class_names: tuple[str, ...]
    home: str
    files: tuple[Published, ...]
    elsewhere: tuple[Path, ...] = ()

    def remote_file(self, stem: str) -> RemoteFile:
        """The published file for ``stem``."""
        name = f"{_file_stems(stem)[0]}.gz"
        (file,) = (file for file in self.files if file.stem == stem)
        return RemoteFile(name, self.home + name, f"md5:{file.md5}", file.sha256, file.n_bytes)


MNIST: Final = MnistSet(
    name="mnist",
    class_names=tuple(str(digit) for digit in range(10)),
    home="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files=(
        Published(
            "train-images",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        Published(
            "train-labels",
            "d53e105ee54ea40749a09fcbcd1e9432",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        Published(
            "t10k-images",
            "9fb629c4189551a2d022fa330f9573f3",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        Published(
            "t10k-labels",
            "ec29112dd5afa0611ce80d1b7f02629c",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
)

FASHION_MNIST: Final = MnistSet(
    name="fashion-mnist",
    class_names=_CLOTHES,
    home="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    files=(
        Published(
            "train-images",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        Published(
            "train-labels",
            "25c81989df183df01b3e8a0aad5dffbe",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        Published(
            "t10k-images",
            "bef4ecab320f06d8554ea6380940ec79",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        Published(
            "t10k-labels",
            "bb300cfdad3c16e7a12a480ee83cd310",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    elsewhere=(Path("/usr/share/datasets/fashion-mnist"),),
)


def open_mnist(
    mnist: MnistSet,
    root: Path,
    *,
    download: bool = False,
    progress: DownloadProgress | None = None,
) -> ImageSet:
    """Open a set of idx files, plain or gzipped, named with dashes or dots.

    Parameters
    ----------
    root
        The folder of the files.
    download
        Whether to download missing files into ``root``. Compressed files that are there must then
        be the published ones; otherwise a difference is only logged.

    Returns
    -------
    ImageSet
        The images in memory, grey values repeated to RGB, the training part first, named
        ``<set>/train/00000``.

    Raises
    ------
    DatasetError
        If a file is missing or damaged, or the numbers of images and labels differ.
    """
    images, labels = [], []
    for part in _PARTS:
        grey, digits = (
            _read_part(mnist, f"{part}-{kind}", root, download, progress)
            for kind in ("images", "labels")
        )
        _check_part(mnist, part, grey, digits)
        images.append(np.repeat(grey[..., None], 3, axis=3))
        labels.append(digits.astype(np.int64))
    n_train, n_test = (len(part_labels) for part_labels in labels)
    names = [f"{mnist.name}/train/{row:05d}" for row in range(n_train)]
    names += [f"{mnist.name}/test/{row:05d}" for row in range(n_test)]
    return ImageSet(
        name=mnist.name,
        names=names,
        pixels=np.concatenate(images),
        labels=np.concatenate(labels),
        class_names=mnist.class_names,
        is_test=np.arange(n_train + n_test) >= n_train,
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of uint8 values, gzipped if the name ends in ``.gz``.

    Raises
    ------
    DatasetError
        If the file is not idx, has another type, or its length does not match its header.
    """
    try:
        data = _contents(path)
    except TooLargeError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetError(
            f"{path}: cannot be read or is truncated ({error}); download it again"
        ) from None
    is_idx = len(data) >= 4 and data[:2] == b"\0\0" and data[2] == _UINT8
    if not is_idx or data[3] > _MOST_DIMS:
        raise DatasetError(
            f"{path}: expected an idx file of bytes (000008..), found {data[:4].hex() or 'nothing'}"
        )
    n_dims = data[3]
    header_bytes = 4 + 4 * n_dims
    sizes = data[4:header_bytes]
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    n_expected = header_bytes + math.prod(shape)
    if len(data) != n_expected:
        raise DatasetError(
            f"{path}: expected {n_expected} bytes by the header, found {len(data)}; "
            "download it again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header_bytes).reshape(shape)


def _contents(path: Path) -> bytes:
    """Bytes of a file, decompressed; at most one more than its header declares."""
    with open_file(path) as file:
        if path.suffix != ".gz":
            return file.read()
        with gzip.GzipFile(fileobj=file) as stream:
            start = stream.read(_HEADER_BYTES)
            check_limit(
                "array_bytes", _declared(start), "the array", path, on_disk=size_on_disk(path)
            )
            # One byte more, so that a file that is longer than its header says is noticed.
            return start + _read_up_to(stream, _declared(start) + 1 - len(start))


def _read_up_to(stream: gzip.GzipFile, n_bytes: int) -> bytes:
    """The next bytes of a stream, which may have fewer; memory is taken as they come."""
    parts = []
    while n_bytes > 0 and (part := stream.read(min(n_bytes, _CHUNK_BYTES))):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _declared(start: bytes) -> int:
    """Bytes that an idx file has by its header; those of ``start`` if that is not a header."""
    if len(start) < 4 or start[3] > _MOST_DIMS:
        return len(start)
    sizes = start[4 : 4 + 4 * start[3]]
    shape = (int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    return 4 + len(sizes) + math.prod(shape)


def _file_stems(stem: str) -> tuple[str, str]:
    """Both published spellings: ``train-images-idx3-ubyte`` and ``train-images.idx3-ubyte``."""
    n_dims = 3 if stem.endswith("images") else 1
    return f"{stem}-idx{n_dims}-ubyte", f"{stem}.idx{n_dims}-ubyte"


def _read_part(
    mnist: MnistSet, stem: str, root: Path, download: bool, progress: DownloadProgress | None
) -> NDArray[np.uint8]:
    remote = mnist.remote_file(stem)
    for spelling in _file_stems(stem):
        for name in (spelling, f"{spelling}.gz"):
            path = root / name
            if path.is_file():
                if path.suffix == ".gz":
                    check_present(remote, path, is_required=download)
                return read_idx(path)
    if not download:
        raise DatasetError(
            f"{mnist.name}: expected {remote.name} in {root}, found no such file: download the "
            f"set, `download=True`, or fetch {remote.url} and save it there"
        )
    return read_idx(fetch(remote, root, progress=progress))


def _check_part(
    mnist: MnistSet, part: str, grey: NDArray[np.uint8], digits: NDArray[np.uint8]
) -> None:
    if grey.ndim != 3 or grey.shape[1:] != (_SIDE, _SIDE) or digits.ndim != 1:
        raise DatasetError(
            f"{mnist.name}: expected {part} images [n, {_SIDE}, {_SIDE}] and labels [n], found "
            f"{list(grey.shape)} and {list(digits.shape)}; check that the files are not swapped"
        )
    if len(grey) != len(digits) or not len(grey):
        raise DatasetError(
            f"{mnist.name}: expected a label for each of the {len(grey)} {part} images, "
            f"found {len(digits)}; download both files again"
        )
    if digits.max() >= len(mnist.class_names):
        raise DatasetError(f"{mnist.name}: expected {part} labels 0 to 9, found {digits.max()}")
