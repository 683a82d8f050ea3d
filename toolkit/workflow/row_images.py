"""Finds the images of a bank's rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from hashkit.errors import HashkitError
from hashkit.runs.run import Run

if TYPE_CHECKING:
    from hashkit.bank.header import BankSource
    from hashkit.bank.reader import Bank
    from hashkit.codesets import CodeDatabase
    from hashkit.datasets.imageset import ImageSet
    from hashkit.preprocess import ImageSource

__all__ = ["RowImages", "sources_of"]


class RowImages:
    """Finds the images of banks and code sets, by the names of their rows.

    Parameters
    ----------
    run
        A run whose image set is searched too; None for none.
    """

    def __init__(self, run: Run | None = None) -> None:
        self._run = run
        self._sets: dict[str | None, tuple[ImageSet, dict[str, int]] | None] = {}

    def __call__(self, bank: CodeDatabase, row: int) -> ImageSource | None:
        """Image of a row; None if it is not available.

        It is looked up in the folder that the bank was made from, in the run's image set, and in
        the set that the bank was made from. Names of a code set, which has no folder, may be
        paths.
        """
        if not len(bank.names):
            return None
        name = bank.names[row]
        sources = sources_of(bank)
        roots = [Path(source.root) for source in sources if source.root is not None]
        for root in roots or [Path()]:
            if (path := root / name).is_file():
                return path
        datasets = [source.dataset for source in sources if source.root is None]
        for dataset in (None, *datasets):
            if (image := self._of_set(dataset, name)) is not None:
                return image
        return None

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
                if dataset not in IMAGE_SETS:  # a bank's word opens no other folder
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
