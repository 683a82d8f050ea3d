"""The images that a bank set is made of: a list file, a folder, Parquet files or tars."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from hashkit.datasets.sets import IMAGE_SETS
from hashkit.datasets.slices.containers import container_kind, find_containers
from hashkit.datasets.slices.listings import FileListing, FolderListing, Listing
from hashkit.datasets.slices.parquets import ParquetListing
from hashkit.datasets.slices.tars import TarListing
from hashkit.errors import ConfigError, DatasetError
from hashkit.inputs.paths import with_home
from hashkit.manifest import Manifest
from hashkit.runs.run import PathText
from hashkit.workflow.folder_labels import Labels, open_folder_to_encode
from hashkit.workflow.reporter import Reporter

__all__ = ["ImagesToShard", "check_no_columns"]


def check_no_columns(found: str, image_column: str, label_column: str) -> None:
    """Raise `ConfigError` if a column is named for images that are not in Parquet files."""
    if image_column or label_column:
        raise ConfigError(
            f"`image_column` and `label_column` need Parquet files, found {found}: leave them out"
        )


@dataclasses.dataclass(frozen=True)
class ImagesToShard:
    """Which images a bank set is made of.

    Attributes
    ----------
    images
        A list file, a folder of images, or Parquet files or tars: one of them, a folder of them, or
        a pattern, ``train-{000..099}.tar`` or ``photos/*.parquet``.
    data_root
        The folder that the paths of a list start from; by default the list's own.
    labels
        As for `hashkit.encode`.
    image_column, label_column
        Columns of Parquet files; empty for ``image`` and, if there is one, ``label``.
    containers
        The Parquet files or tars, found when this is made; empty for a list or a folder of images.

    Raises
    ------
    ConfigError
        If one of them contradicts another, or the images cannot be cut into slices.
    DatasetError
        If there are no such files.
    """

    images: PathText
    _: dataclasses.KW_ONLY
    data_root: PathText | None = None
    labels: Labels = "auto"
    image_column: str = ""
    label_column: str = ""
    containers: tuple[Path, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        text = os.fspath(self.images)
        if text in IMAGE_SETS:
            raise ConfigError(
                "`shards` needs a list file, a folder of images, Parquet files or tars, found the "
                f"named set {text}: leave it out, or write ./{text} for a folder"
            )
        object.__setattr__(self, "containers", tuple(find_containers(text)))
        if not self.containers and not self.path.exists():
            raise DatasetError(
                f"{text}: expected a list file, a folder of images, Parquet files or tars, found "
                "no such file"
            )
        is_folder = self.path.is_dir() and not self.containers
        if self.data_root is not None and (is_folder or self.containers):
            raise ConfigError(
                f"`data_root` is the folder that the paths of a list start from, and {text} is not "
                "a list: leave it out"
            )
        if self.labels == "folders" and not is_folder:
            raise ConfigError(
                f'`labels="folders"` needs a folder of images, found {text}, which has labels of '
                "its own: leave it out"
            )
        is_parquet = bool(self.containers) and container_kind(self.containers) == "parquet"
        if not is_parquet:
            check_no_columns(text, self.image_column, self.label_column)

    @property
    def path(self) -> Path:
        """Absolute path of the list or folder, or the pattern with an absolute path."""
        return with_home(self.images).absolute()

    def settings(self) -> dict[str, str]:
        """How the images are read, by argument, as a plan keeps it."""
        root = "" if self.data_root is None else str(with_home(self.data_root).absolute())
        return {
            "data_root": root,
            "labels": self.labels,
            "image_column": self.image_column,
            "label_column": self.label_column,
        }

    def listing(self, manifest: Manifest, reporter: Reporter) -> Listing:
        """The list, to be read; ``manifest`` is that of the model.

        Raises
        ------
        DatasetError
            If it cannot be opened.
        """
        if self.containers and container_kind(self.containers) == "tar":
            return TarListing(self.path, self.containers)
        if self.containers:
            return ParquetListing(self.path, self.containers, self.image_column, self.label_column)
        if self.path.is_dir():
            images = open_folder_to_encode(self.path, self.labels, manifest, None, reporter)
            return FolderListing(images, self.path)
        root = None if self.data_root is None else with_home(self.data_root)
        return FileListing(self.path, root)
