"""Finds the images of a bank's rows: the one place that turns a row into a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, cast

from hashkit.errors import ConfigError, HashkitError
from hashkit.inputs.paths import is_file, with_home
from hashkit.runs.run import PathText, Run
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.bank.header import BankSource
    from hashkit.bank.reader import Bank
    from hashkit.codesets import CodeDatabase
    from hashkit.datasets.imageset import ImageSet
    from hashkit.preprocess import ImageSource

__all__ = ["RowImages", "is_below", "missing_text", "sources_of"]


class RowImages:
    """Finds the images of banks and code sets, by the names of their rows.

    Parameters
    ----------
    run
        A run whose image set is searched too; None for none.
    data_root
        Where the images' folder is now, for example on another machine; None for where the banks
        say. Images missing from it are looked up where the banks say.
    only_below
        Leave out names that lead out of their folder, as names of a list may; for a server.

    Raises
    ------
    ConfigError
        If ``data_root`` is not a folder.
    """

    def __init__(
        self, run: Run | None = None, data_root: PathText | None = None, *, only_below: bool = False
    ) -> None:
        self._run = run
        self._data_root = None if data_root is None else with_home(data_root).absolute()
        if self._data_root is not None and not self._data_root.is_dir():
            raise ConfigError(
                "`data_root` must be the folder that the images are in now, found no folder "
                f"{self._data_root}"
            )
        self._only_below = only_below
        self._sets: dict[str | None, tuple[ImageSet, dict[str, int]] | None] = {}

    def __call__(self, bank: CodeDatabase, row: int) -> ImageSource | None:
        """Image of a row; None if it is not available.

        It is looked up in ``data_root``, in the folders that the bank was made from (if several
        files have the name, the one with the size that the bank keeps), in the run's image set, and
        in the set that the bank was made from. Names of a code set, which has no folder, may be
        paths.
        """
        names = bank.names  # each access looks at the file
        name = names[row] if len(names) else ""
        if not name or (self._only_below and not is_below(name)):
            return None
        if self._data_root is not None and is_file(path := self._data_root / name):
            return path
        sources = sources_of(bank)
        paths = [path for root in _roots(sources) if is_file(path := root / name)]
        if paths:
            return paths[0] if len(paths) == 1 else _of_known_size(cast("Bank", bank), row, paths)
        datasets = [source.dataset for source in sources if source.root is None]
        for dataset in (None, *datasets):
            if (image := self._of_set(dataset, name)) is not None:
                return image
        return None

    def names_of(self, bank: CodeDatabase, path: Path) -> Iterator[str]:
        """Names that an image file has below the folders of a bank; the file may be gone."""
        real = Path(os.path.realpath(path))
        given_roots = [] if self._data_root is None else [self._data_root]
        for root in (*given_roots, *_roots(sources_of(bank))):
            real_root = Path(os.path.realpath(root))
            if real.is_relative_to(real_root):
                yield real.relative_to(real_root).as_posix()

    def _of_set(self, dataset: str | None, name: str) -> ImageSource | None:
        """Image of an image set by its name; the run's set where ``dataset`` is None."""
        if dataset not in self._sets:
            self._sets[dataset] = self._open(dataset)
        opened = self._sets[dataset]
        if opened is None or name not in opened[1]:
            return None
        images, row_of = opened
        return images.source(row_of[name])

    def _open(self, dataset: str | None) -> tuple[ImageSet, dict[str, int]] | None:
        from hashkit.datasets.sets import IMAGE_SETS, open_image_set
        from hashkit.datasets.spec import open_spec
        from hashkit.workflow.training_source import run_spec

        try:
            if dataset is not None:
                if dataset not in IMAGE_SETS:  # a bank must not make this open a folder
                    return None
                images = open_image_set(dataset)
            elif self._run is not None:
                images = open_spec(run_spec(self._run))[0]
            else:
                return None
        except HashkitError:  # the images may have moved, or be on another machine
            return None
        return images, {name: row for row, name in enumerate(images.names)}


def sources_of(codes: CodeDatabase) -> tuple[BankSource, ...]:
    """Image lists that a bank was made from; empty for other codes."""
    from hashkit.codesets import CodeSet

    return () if isinstance(codes, CodeSet) else cast("Bank", codes).sources


def is_below(name: str) -> bool:
    """Whether a name of an image stays in the folder that it is relative to."""
    path = PurePath(name)
    return not path.anchor and ".." not in path.parts


def missing_text(n_missing: int) -> str:
    """One line on images that were not found, and how to find them."""
    return (
        f"{plural(n_missing, 'image')} not found: if the folder was moved, give its current path "
        "with `data_root=...`"
    )


def _roots(sources: tuple[BankSource, ...]) -> Iterator[Path]:
    """Folders of the images, each once; the working folder for names that may be paths."""
    roots = dict.fromkeys(source.root for source in sources if source.root is not None)
    yield from map(Path, roots or [""])


def _of_known_size(bank: Bank, row: int, paths: list[Path]) -> Path:
    """The first of several files with a row's name that has the size that the bank keeps."""
    files = bank.files
    if files is not None and (size := int(files.sizes[row])):
        return next((path for path in paths if path.stat().st_size == size), paths[0])
    return paths[0]
