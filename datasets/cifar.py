"""CIFAR-10 and CIFAR-100: the official python and binary archives, or folders of images.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from __future__ import annotations

import dataclasses
import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.download import DownloadProgress, RemoteFile, check_present, fetch
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.pickles import read_plain_pickle
from hashkit.datasets.tar_members import tar_members
from hashkit.errors import DatasetError
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import check_file, open_file, size_on_disk

__all__ = ["CIFAR10", "CIFAR100", "CIFAR100_COARSE", "CifarSet", "open_cifar"]

_SIDE: Final = 32
_N_VALUES: Final = 3 * _SIDE * _SIDE
_HOME: Final = "https://www.cs.toronto.edu/~kriz/"

CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CifarSet:
    """One set of labels, and how each published version stores it.

    Attributes
    ----------
    name
        Name of the image set.
    n_classes
        Number of its classes.
    python, binary
        The archives; each unpacks to the folder that ``*_folder`` names.
    train_files, test_files
        Names of the parts in the python version; the binary version adds ``.bin``.
    label_key, names_key
        Keys of the labels in a part, and of the names in the file of class names; python version.
    label_bytes, label_byte
        Bytes before the pixels of a record in the binary version, and which of them is the label.
    python_names, binary_names
        Files of the class names.
    class_names
        The class names that folders of images must have; empty to accept any names.
    """

    name: str
    n_classes: int
    python: RemoteFile
    binary: RemoteFile
    python_folder: str
    binary_folder: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_key: str
    names_key: str
    label_bytes: int
    label_byte: int
    python_names: str
    binary_names: str
    class_names: tuple[str, ...] = ()


CIFAR10: Final = CifarSet(
    name="cifar10",
    n_classes=10,
    python=RemoteFile(
        "cifar-10-python.tar.gz",
        _HOME + "cifar-10-python.tar.gz",
        "md5:c58f30108f718f92721af3b95e74349a",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
    ),
    binary=RemoteFile(
        "cifar-10-binary.tar.gz",
        _HOME + "cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
    ),
    python_folder="cifar-10-batches-py",
    binary_folder="cifar-10-batches-bin",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    label_key="labels",
    names_key="label_names",
    label_bytes=1,
    label_byte=0,
    python_names="batches.meta",
    binary_names="batches.meta.txt",
    class_names=CIFAR10_CLASSES,
)

CIFAR100: Final = CifarSet(
    name="cifar100",
    n_classes=100,
    python=RemoteFile(
        "cifar-100-python.tar.gz",
        _HOME + "cifar-100-python.tar.gz",
        "md5:eb9058c3a382ffc7106e4002c42a8d85",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        169_001_437,
    ),
    binary=RemoteFile(
        "cifar-100-binary.tar.gz",
        _HOME + "cifar-100-binary.tar.gz",
        "md5:03b5dce01913d631647c71ecec9e9cb8",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        168_513_733,
    ),
    python_folder="cifar-100-python",
    binary_folder="cifar-100-binary",
    train_files=("train",),
    test_files=("test",),
    label_key="fine_labels",
    names_key="fine_label_names",
    label_bytes=2,
    label_byte=1,
    python_names="meta",
    binary_names="fine_label_names.txt",
)

CIFAR100_COARSE: Final = dataclasses.replace(
    CIFAR100,
    name="cifar100-coarse",
    n_classes=20,
    label_key="coarse_labels",
    names_key="coarse_label_names",
    label_byte=0,
    binary_names="coarse_label_names.txt",
)


def open_cifar(
    cifar: CifarSet,
    root: Path,
    *,
    download: bool = False,
    progress: DownloadProgress | None = None,
) -> ImageSet:
    """Open a CIFAR set from a published version in ``root``.

    The versions are tried in this order: the unpacked folder of the python version, that of the
    binary version (each below ``root``, or ``root`` itself), their archives, then folders of
    images ``train/<class>/`` and ``test/<class>/``.

    Parameters
    ----------
    root
        The folder of the files.
    download
        Whether to download the python version into ``root`` if no version is found. An archive
        that is found must then be the published one; otherwise a difference is only logged.

    Returns
    -------
    ImageSet
        Archives are read into memory, the training part first, named ``<set>/train/00000``.
        Folders of images stay files. The labels are the official numbers in both cases.

    Raises
    ------
    DatasetError
        If no version is found, or the one found is damaged.
    """
    version = _find_version(cifar, root)
    if version is None and (root / "train").is_dir() and (root / "test").is_dir():
        return _open_image_folder(cifar, root)
    if version is None:
        if not download:
            raise DatasetError(
                f"{cifar.name}: expected {cifar.python.name} or {cifar.binary.name}, packed or "
                f"unpacked, or image folders train/ and test/ in {root}, found none: download it "
                f"with `download=True`, or fetch {cifar.python.url} and save it there"
            )
        return _read_version(cifar, fetch(cifar.python, root, progress=progress), is_binary=False)
    path, is_binary = version
    if path.is_file():
        published = cifar.binary if is_binary else cifar.python
        check_present(published, path, is_required=download)
    return _read_version(cifar, path, is_binary)


def _find_version(cifar: CifarSet, root: Path) -> tuple[Path, bool] | None:
    """Path of a published version, and whether it is the binary one; None if none is found."""
    first = cifar.train_files[0]
    for folder, file in ((cifar.python_folder, first), (cifar.binary_folder, f"{first}.bin")):
        for path in (root / folder, root):
            if (path / file).is_file():
                return path, file.endswith(".bin")
    for archive, is_binary in ((cifar.python.name, False), (cifar.binary.name, True)):
        if (root / archive).is_file():
            return root / archive, is_binary
    return None


def _open_image_folder(cifar: CifarSet, root: Path) -> ImageSet:
    images = dataclasses.replace(open_image_folder(root), name=cifar.name)
    # Official and folder order are both alphabetical, so equal names have equal labels.
    expected = cifar.class_names
    if len(images.class_names) != cifar.n_classes or (expected and images.class_names != expected):
        wanted = ", ".join(expected) if expected else f"{cifar.n_classes} of them"
        raise DatasetError(
            f"{cifar.name}: expected the class folders {wanted} in {root / 'train'}, found "
            f"{len(images.class_names)}: {', '.join(images.class_names[:10])}; to use the "
            "folder's own classes, open it by its path"
        )
    return images


def _read_version(cifar: CifarSet, path: Path, is_binary: bool) -> ImageSet:
    suffix = ".bin" if is_binary else ""
    part_names = [name + suffix for name in (*cifar.train_files, *cifar.test_files)]
    names_file = cifar.binary_names if is_binary else cifar.python_names
    parse: _Parser = _parse_binary if is_binary else _parse_python
    parts: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
    class_names: tuple[str, ...] = ()
    for name, data in _read_files(path, {*part_names, names_file}):
        if name != names_file:
            parts[name] = parse(cifar, data, f"{path}: {name}")
        elif is_binary:
            class_names = tuple(data.decode("ascii", "replace").split())
        else:
            class_names = _read_class_names(cifar, data, f"{path}: {name}")
    missing = [name for name in part_names if name not in parts]
    if missing or len(class_names) != cifar.n_classes:
        what = ", ".join(missing) or f"{cifar.n_classes} class names in {names_file}"
        raise DatasetError(
            f"{cifar.name}: {path} is incomplete: {what} not found; download it again"
        )
    n_test = sum(len(parts[name + suffix][0]) for name in cifar.test_files)
    return _assemble(cifar, [parts[name] for name in part_names], n_test, class_names)


def _assemble(
    cifar: CifarSet,
    parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]],
    n_test: int,
    class_names: tuple[str, ...],
) -> ImageSet:
    n_train = sum(len(pixels) for pixels, _ in parts) - n_test
    names = [f"{cifar.name}/train/{row:05d}" for row in range(n_train)]
    names += [f"{cifar.name}/test/{row:05d}" for row in range(n_test)]
    return ImageSet(
        name=cifar.name,
        names=names,
        pixels=np.concatenate([pixels for pixels, _ in parts]),
        labels=np.concatenate([labels for _, labels in parts]),
        class_names=class_names,
        is_test=np.arange(n_train + n_test) >= n_train,
    )


def _read_files(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the wanted files of a folder or of a ``.tar.gz``."""
    if path.is_dir():
        for name in sorted(wanted):
            if (path / name).is_file():
                yield name, _read_part(path / name)
        return
    try:
        check_file(path)
        with open_file(path) as file, gzip.GzipFile(fileobj=file) as archive:
            for member in tar_members(archive):
                name = PurePosixPath(member.name).name
                if name not in wanted or not member.isreg():  # links may lead in a circle
                    continue
                check_limit(
                    "array_bytes",
                    member.size,
                    f"the member {name}",
                    path,
                    on_disk=size_on_disk(path),
                )
                archive.seek(member.offset_data)
                data = archive.read(member.size)
                if len(data) < member.size:
                    raise tarfile.ReadError(f"{name} is cut off")
                yield name, data
    except TooLargeError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DatasetError(
            f"{path}: the archive is damaged or truncated ({reason}); delete and download it again"
        ) from None


def _read_part(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


_Parser = Callable[[CifarSet, bytes, str], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def _parse_python(
    cifar: CifarSet, data: bytes, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    part = read_plain_pickle(data, name)
    planes, labels = part.get("data"), part.get(cifar.label_key)
    if not isinstance(planes, np.ndarray) or not isinstance(labels, list):
        raise DatasetError(
            f"{name}: expected entries data and {cifar.label_key}, found {', '.join(part)}"
        )
    if planes.ndim != 2 or planes.shape[1] != _N_VALUES or len(planes) != len(labels):
        raise DatasetError(
            f"{name}: expected {len(labels)} rows of {_N_VALUES} values, "
            f"found {list(planes.shape)}; download it again"
        )
    try:
        numbers = np.asarray(labels)
    except ValueError:  # lists of different lengths
        numbers = np.empty(0)
    return _to_images(planes), _check_labels(cifar, numbers, name)


def _parse_binary(
    cifar: CifarSet, data: bytes, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    record_bytes = cifar.label_bytes + _N_VALUES
    if not data or len(data) % record_bytes:
        raise DatasetError(
            f"{name}: expected a multiple of {record_bytes} bytes, found {len(data)}; "
            "the file is truncated; download it again"
        )
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, record_bytes)
    labels = _check_labels(cifar, records[:, cifar.label_byte], name)
    return _to_images(records[:, cifar.label_bytes :]), labels


def _to_images(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert rows of all red, then all green, then all blue values to pixels [n, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _check_labels(cifar: CifarSet, labels: NDArray[np.generic], name: str) -> NDArray[np.int64]:
    is_number = np.issubdtype(labels.dtype, np.integer)
    is_list = is_number and labels.ndim == 1
    if not is_list or labels.min() < 0 or labels.max() >= cifar.n_classes:
        raise DatasetError(f"{name}: expected labels 0 to {cifar.n_classes - 1}; download it again")
    return labels.astype(np.int64)


def _read_class_names(cifar: CifarSet, data: bytes, name: str) -> tuple[str, ...]:
    names = read_plain_pickle(data, name).get(cifar.names_key)
    if not isinstance(names, list):
        raise DatasetError(f"{name}: expected an entry {cifar.names_key}; download it again")
    return tuple(text.decode() if isinstance(text, bytes) else str(text) for text in names)
