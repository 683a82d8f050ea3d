"""Opens an image set by its name, or by the path of a folder or a list."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from hashkit.datasets.cifar import CIFAR10, CIFAR100, CIFAR100_COARSE, CifarSet, open_cifar
from hashkit.datasets.digits import open_digits
from hashkit.datasets.download import DownloadProgress
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.lists import open_list
from hashkit.datasets.mnist import FASHION_MNIST, MNIST, MnistSet, open_mnist
from hashkit.errors import DatasetError
from hashkit.inputs.paths import with_home

__all__ = [
    "IMAGE_SETS",
    "KnownSet",
    "check_image_set",
    "default_input_size",
    "default_root",
    "open_image_set",
]

_Opener: TypeAlias = Callable[[Path | None, bool, DownloadProgress | None], ImageSet]


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """An image set with a name.

    Attributes
    ----------
    summary
        Its contents in a few words.
    input_size
        (height, width) of its images, in pixels.
    open
        Opens it; takes the folder of its files (None: the default), whether to download, and a
        progress callback.
    """

    summary: str
    input_size: tuple[int, int]
    open: _Opener


def open_image_set(
    spec: str,
    *,
    root: Path | None = None,
    download: bool = False,
    progress: DownloadProgress | None = None,
) -> ImageSet:
    """Open an image set.

    Parameters
    ----------
    spec
        A name from `IMAGE_SETS`, or the path of a folder of images or of a list file. A name
        takes precedence over a path; write ``./digits`` for a folder of that name.
    root
        For a name, the folder of its files (default: `default_root`). For a list, the folder that
        its paths start from (default: the list's own). Not allowed for a folder.
    download
        Whether to download missing files of a named set.
    progress
        Called during downloads, see `hashkit.datasets.download.DownloadProgress`.

    Raises
    ------
    DatasetError
        If there is no such set, or it cannot be opened.
    """
    known = IMAGE_SETS.get(spec)
    if known is not None:
        return known.open(root, download, progress)
    path = with_home(spec)
    if path.is_dir():
        if root is not None:
            raise DatasetError(f"{spec}: a folder is its own root; omit the root {root}")
        return open_image_folder(path)
    if path.exists():
        return open_list(path, root)
    raise _unknown(spec)


def default_root(name: str) -> Path:
    """Default folder of a named set: ``$HASHKIT_DATA/<name>``.

    Without ``$HASHKIT_DATA``, it is ``~/.cache/hashkit/datasets/<name>``.
    """
    base = os.environ.get("HASHKIT_DATA")
    folder = with_home(base) if base else Path.home() / ".cache" / "hashkit" / "datasets"
    return folder / name


def default_input_size(image_set: ImageSet) -> tuple[int, int] | None:
    """(height, width) of all images of a set, in pixels; None for files, whose sizes may differ."""
    if image_set.pixels is not None:
        height, width = image_set.pixels.shape[1:3]
        return int(height), int(width)
    known = IMAGE_SETS.get(image_set.name)
    return None if known is None else known.input_size


def _open_digits(root: Path | None, download: bool, progress: DownloadProgress | None) -> ImageSet:
    del root, download, progress  # the images come with scikit-learn
    return open_digits()


def _cifar_opener(cifar: CifarSet, folder: str) -> _Opener:
    def open_it(root: Path | None, download: bool, progress: DownloadProgress | None) -> ImageSet:
        files = default_root(folder) if root is None else root
        return open_cifar(cifar, files, download=download, progress=progress)

    return open_it


def _mnist_opener(mnist: MnistSet) -> _Opener:
    def open_it(root: Path | None, download: bool, progress: DownloadProgress | None) -> ImageSet:
        if root is None:
            root = default_root(mnist.name)
            if not root.exists():
                root = next((path for path in mnist.elsewhere if path.is_dir()), root)
        return open_mnist(mnist, root, download=download, progress=progress)

    return open_it


IMAGE_SETS: Final[dict[str, KnownSet]] = {
    "digits": KnownSet("1,797 handwritten digits, 10 classes", (8, 8), _open_digits),
    "cifar10": KnownSet(
        "60,000 colour photographs, 10 classes", (32, 32), _cifar_opener(CIFAR10, "cifar10")
    ),
    "cifar100": KnownSet(
        "60,000 colour photographs, 100 classes", (32, 32), _cifar_opener(CIFAR100, "cifar100")
    ),
    "cifar100-coarse": KnownSet(
        "the same photographs, 20 superclasses",
        (32, 32),
        _cifar_opener(CIFAR100_COARSE, "cifar100"),
    ),
    "mnist": KnownSet("70,000 handwritten digits, 10 classes", (28, 28), _mnist_opener(MNIST)),
    "fashion-mnist": KnownSet(
        "70,000 articles of clothing, 10 classes", (28, 28), _mnist_opener(FASHION_MNIST)
    ),
}
"""Image sets by name; a new one is an entry here."""


def check_image_set(spec: str) -> None:
    """Raise DatasetError if a text is neither the name of a set nor a path that exists."""
    if spec not in IMAGE_SETS and not os.path.exists(with_home(spec)):  # noqa: PTH110 - long names
        raise _unknown(spec)


def _unknown(spec: str) -> DatasetError:
    return DatasetError(
        f"unknown image set {spec!r}; known: {', '.join(IMAGE_SETS)}; "
        "or give the path of an existing folder of images or list file"
    )
