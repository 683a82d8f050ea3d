"""Folders of images, with or without classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError
from hashkit.preprocess import IMAGE_SUFFIXES

__all__ = ["open_image_folder"]

_PARTS = ("train", "test")

_log = logging.getLogger(__name__)


def open_image_folder(root: Path) -> ImageSet:
    """Open a folder of images as an image set of files, named after the folder.

    ====================================  ====================================================
    the folder contains                   the set
    ====================================  ====================================================
    images                                has no labels
    one subfolder per class               is labelled; images may be nested in the subfolders
    ``train/`` and ``test/``, both with   is labelled, and ``is_test`` marks the images below
    the same class subfolders             ``test/``
    ====================================  ====================================================

    Images are the files whose suffix is in `hashkit.preprocess.IMAGE_SUFFIXES`, in any case.
    Names that begin with a dot are skipped. Symbolic links are followed, except in cycles.
    Classes and images are sorted by the code points of their names. Files whose names are not
    UTF-8 cannot be stored in a bank; they are skipped, with one warning that counts them.

    Raises
    ------
    DatasetError
        If the folder is missing, contains no images, or mixes these layouts.
    """
    root = root.absolute()
    if not root.is_dir():
        raise DatasetError(f"{root}: expected a folder of images, found no such folder")
    names = _drop_unnameable(_image_names(root), root)
    if not names:
        raise DatasetError(
            f"{root}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none"
        )
    names.sort()
    n_loose = sum("/" not in name for name in names)
    if n_loose == len(names):
        return ImageSet(name=root.name, names=names, root=root)
    if n_loose:
        loose = next(name for name in names if "/" not in name)
        raise DatasetError(
            f"{root}: expected either images or class folders, found both (for example {loose}); "
            "move the images into a class folder, or out of the folder"
        )
    return _labelled(names, root)


def _labelled(names: list[str], root: Path) -> ImageSet:
    has_parts = _has_parts(names, root)
    class_of = [name.split("/", 2)[1 if has_parts else 0] for name in names]
    class_names = tuple(sorted(set(class_of)))
    label_by_class = {name: label for label, name in enumerate(class_names)}
    return ImageSet(
        name=root.name,
        names=names,
        root=root,
        labels=np.array([label_by_class[name] for name in class_of], dtype=np.int64),
        class_names=class_names,
        is_test=np.array([name.startswith("test/") for name in names]) if has_parts else None,
    )


def _has_parts(names: list[str], root: Path) -> bool:
    """Whether the top folders are ``train`` and ``test`` with class folders inside."""
    tops = {name.split("/", 1)[0] for name in names}
    if not tops.issuperset(_PARTS):
        return False
    split_names = [name.split("/", 2) for name in names]
    if any(len(parts) == 2 for parts in split_names if parts[0] in _PARTS):
        return False  # images directly inside: "train" and "test" are two classes
    train, test = ({parts[1] for parts in split_names if parts[0] == part} for part in _PARTS)
    if train != test:
        only = ", ".join(sorted(train ^ test)[:5])
        raise DatasetError(
            f"{root}: expected the same class folders in train/ and test/, but only one of them "
            f"has {only}; add the missing folders, or use list files"
        )
    if len(tops) > len(_PARTS):
        others = ", ".join(sorted(tops.difference(_PARTS))[:5])
        raise DatasetError(
            f"{root}: expected only train/ and test/, also found {others}; move it elsewhere, "
            "or use list files"
        )
    return True


def _image_names(root: Path) -> list[str]:
    return list(_walk(str(root), "", ()))


def _walk(folder: str, prefix: str, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Names of the images below ``folder``, after ``prefix``; ``parents`` detects link cycles."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - faster without a path object per folder
        identity = status.st_dev, status.st_ino
        if identity in parents:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", (*parents, identity))
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                    yield prefix + entry.name
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror or error})") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a link to itself; named like an image, it is a missing image
        return False


def _drop_unnameable(names: list[str], root: Path) -> list[str]:
    good = [name for name in names if _is_text(name)]
    if len(good) < len(names):
        first = next(name for name in names if not _is_text(name))
        _log.warning(
            "%s: skipped %d images whose names are not UTF-8, for example %s; rename them",
            root,
            len(names) - len(good),
            ascii(first),
        )
    return good


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
