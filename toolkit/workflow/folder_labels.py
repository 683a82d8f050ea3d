"""Which labels the images of a folder get when they are encoded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, TypeAlias

from hashkit.bank.reader import Bank
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import BankError, DatasetError
from hashkit.manifest import Manifest
from hashkit.workflow.reporter import Reporter

__all__ = ["Labels", "open_folder_to_encode"]

Labels: TypeAlias = Literal["auto", "folders", "none"]
"""Labels of a folder's images: by the subfolder, none, or ``auto``."""


def open_folder_to_encode(
    folder: Path, labels: Labels, manifest: Manifest, out: Path | None, reporter: Reporter
) -> ImageSet:
    """Open a folder of images with the labels that were asked for, or that are needed.

    Parameters
    ----------
    labels
        ``folders``: the subfolder at the top is the class, and images beside the subfolders have
        no label. ``auto``: the same, if all subfolders are classes that the model was trained on,
        or if the bank that is continued has labels; otherwise none.
    manifest
        Metadata of the model.
    out
        The bank that may be continued; None if it is made from the beginning.

    Raises
    ------
    DatasetError
        If the folder cannot be opened, or has no subfolders to take labels from.
    """
    if labels == "none":
        return open_image_folder(folder, "none")
    images = open_image_folder(folder, "folders")
    if labels == "folders" and images.labels is None:
        raise DatasetError(
            f'{folder}: `labels="folders"` expects subfolders with images, found none: sort the '
            "images into one folder per class, or leave it out"
        )
    is_learned = set(images.class_names) <= set(manifest.class_names)
    if labels == "folders" or images.labels is None or is_learned or _is_labelled(out):
        return images
    reporter.note(
        f'{folder}: the subfolders are not used as labels; `labels="folders"` makes classes of them'
    )
    return dataclasses.replace(images, labels=None, class_names=(), is_test=None)


def _is_labelled(bank: Path | None) -> bool:
    if bank is None or not bank.is_file():
        return False
    try:
        with Bank.open(bank) as opened:
            return opened.header.label_kind == "single"
    except BankError:  # reported where the bank is written
        return False
