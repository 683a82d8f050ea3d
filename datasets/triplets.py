"""Triplet lists: a query, a similar and a dissimilar image per line."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.list_lines import existing_path
from hashkit.datasets.lists import check_some_exist, is_listed_file, read_lines, relative_name
from hashkit.errors import DatasetError

__all__ = ["read_triplets"]


def read_triplets(path: Path, root: Path | None = None) -> tuple[ImageSet, NDArray[np.int64]]:
    """Open a triplet list as an unlabelled image set and the rows of each triplet.

    A line has three paths: query, similar, dissimilar. They are separated by spaces, or by tabs
    if the line has any; then paths may contain spaces. Blank lines and lines that begin with
    ``#`` are skipped.

    Parameters
    ----------
    path
        The list, UTF-8 text.
    root
        The folder that relative paths start from; by default the list's own.

    Returns
    -------
    tuple
        The set, its images in order of first appearance; and int64 [n_triplets, 3], rows of
        query, similar and dissimilar image.

    Raises
    ------
    DatasetError
        If the list is missing, empty or malformed (with the line number), if an image is
        dissimilar to itself, or if none of the first files exists.
    """
    root = (path.parent if root is None else root).absolute()
    exists = functools.partial(is_listed_file, root=root)
    row_of: dict[str, int] = {}
    triplets: list[tuple[int, ...]] = []
    for number, line in read_lines(path):
        if "\t" in line:
            listed = [existing_path(text, exists) for text in line.split("\t")]
        else:
            listed = line.split()
        if len(listed) != 3 or not all(listed):
            raise DatasetError(
                f"{path}, line {number}: expected three paths (query, similar, dissimilar), "
                f"found {len(listed)}; separate paths with spaces by tabs"
            )
        names = [relative_name(text, root) for text in listed]
        if names[2] in names[:2]:
            raise DatasetError(
                f"{path}, line {number}: the dissimilar image {names[2]} is also the query or the "
                "similar one"
            )
        triplets.append(tuple(row_of.setdefault(name, len(row_of)) for name in names))
    check_some_exist(list(row_of), root, path)
    images = ImageSet(name=path.stem, names=list(row_of), root=root)
    return images, np.array(triplets, dtype=np.int64)
