"""Folders of images, with or without classes."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.walking import Found, find_images
from hashkit.distribution import install_command
from hashkit.errors import DatasetError
from hashkit.imaging.formats import readable_suffixes
from hashkit.messages.counts import plural

__all__ = ["is_utf8", "left_out", "open_image_folder"]

_PARTS = ("train", "test")
_MOST_SUFFIXES = 8

_log = logging.getLogger(__name__)


def open_image_folder(
    root: Path, labels: Literal["classes", "folders", "none"] = "classes"
) -> ImageSet:
    """Open a folder of images as an image set of files, named after the folder.

    ====================================  ====================================================
    the folder contains                   the set
    ====================================  ====================================================
    images, or images and subfolders      has no labels
    one subfolder per class               is labelled; images may be nested in the subfolders
    ``train/`` and ``test/``, both with   is labelled, and ``is_test`` marks the images below
    the same class subfolders             ``test/``
    ====================================  ====================================================

    Images are the files whose suffix is in `hashkit.preprocess.IMAGE_SUFFIXES`, in any case, and
    HEIF files if the extra ``heic`` is installed. Names that begin with a dot are skipped. Symbolic
    links are followed, and every folder and image is taken once. Classes and images are sorted by
    the code points of their names. The root is the folder's real path, so that every way to write
    it gives the same set.

    Warnings count what is left out: other files by suffix, images that need the extra, images that
    are not named as such, hidden images, folders that may not be read, links to files and folders
    that are found without them, and names that are not UTF-8 and cannot be stored in a bank.

    Parameters
    ----------
    labels
        ``classes``: as above. ``folders``: as above, but images beside subfolders do not undo the
        labels of the others; they are unlabelled, -1. ``none``: no labels in any case.

    Raises
    ------
    DatasetError
        If the folder is missing, contains no images, or has ``train/`` and ``test/`` with different
        classes.
    """
    given = root.absolute()
    if not given.is_dir():
        raise DatasetError(f"{given}: expected a folder of images, found no such folder")
    root = given.resolve()
    found = find_images(str(root))
    for line in left_out(found):
        _log.warning("%s: %s", given, line)
    names = _drop_unnameable(found.names, given)
    if not names:
        because = "; ".join(["", *left_out(found)])
        raise DatasetError(
            f"{given}: expected images ({', '.join(sorted(readable_suffixes()))}), "
            f"found none{because}"
        )
    names.sort()
    images = ImageSet(name=given.name or root.name, names=names, root=root)
    n_loose = sum("/" not in name for name in names)
    if n_loose == len(names) or labels == "none":
        return images
    if n_loose and labels == "classes":
        loose = next(name for name in names if "/" not in name)
        _log.warning(
            "%s: has images (for example %s) beside its folders, so its folders are not read as "
            "classes, and no image has a label; move these images into a folder to get labels",
            given,
            loose,
        )
        return images
    return _labelled(images, given)


def left_out(found: Found) -> Iterator[str]:
    """What a folder has besides the images that are read, a line for each kind."""
    if found.need_extra:
        yield (
            f"left out {_counts(found.need_extra)}: to read these images, "
            f"install the extra heic with `{install_command('heic')}`"
        )
    if found.disguised:
        yield (
            f"left out {plural(len(found.disguised), 'image')} without an image suffix (for "
            f"example {min(found.disguised)}): give them a suffix such as .jpg"
        )
    if found.others:
        yield f"left out files that are not read as images: {_counts(found.others)}"
    if found.n_hidden:
        count = plural(found.n_hidden, "image")
        yield f"left out {count} hidden by a dot at the start of the name"
    if found.n_links:
        yield (
            f"left out {plural(found.n_links, 'link')} to folders and images that are read without "
            "them"
        )
    if found.closed:
        yield (
            f"left out {plural(len(found.closed), 'folder')} without permission to read (for "
            f"example {min(found.closed)}): change the permissions"
        )
    if found.dangling:
        yield (
            f"left out {plural(len(found.dangling), 'broken link')} (for example "
            f"{min(found.dangling)}): connect the disk they lead to, or remove the links"
        )


def _counts(by_suffix: Counter[str]) -> str:
    most = sorted(by_suffix.items(), key=lambda one: (-one[1], one[0]))[:_MOST_SUFFIXES]
    listed = [f"{count:,} {suffix or 'without a known suffix'}" for suffix, count in most]
    n_more = by_suffix.total() - sum(count for _, count in most)
    return ", ".join([*listed, f"{n_more:,} others"] if n_more else listed)


def _labelled(images: ImageSet, folder: Path) -> ImageSet:
    names = list(images.names)
    has_loose = any("/" not in name for name in names)
    has_parts = not has_loose and _has_parts(names, folder)
    class_of = [
        name.split("/", 2)[1 if has_parts else 0] if "/" in name else None for name in names
    ]
    class_names = tuple(sorted({name for name in class_of if name is not None}))
    label_by_class: dict[str | None, int] = {None: -1}
    label_by_class |= {name: label for label, name in enumerate(class_names)}
    return dataclasses.replace(
        images,
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


def _drop_unnameable(names: list[str], root: Path) -> list[str]:
    good = [name for name in names if is_utf8(name)]
    if len(good) < len(names):
        first = next(name for name in names if not is_utf8(name))
        _log.warning(
            "%s: left out %s with a name that is not UTF-8 (for example %s): rename",
            root,
            plural(len(names) - len(good), "image"),
            ascii(first),
        )
    return good


def is_utf8(name: str) -> bool:
    """Whether the name of a file is UTF-8, so that it can be stored."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
