"""The images that one bank is made of: a folder, a list, a named set, Parquet files or tars."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal, TypeAlias, cast

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.sets import IMAGE_SETS, check_image_set
from hashkit.datasets.slices.containers import find_containers
from hashkit.datasets.spec import with_absolute_paths
from hashkit.errors import ConfigError
from hashkit.inputs.paths import with_home
from hashkit.runs.data_spec import DataSpec, check_split_seed
from hashkit.runs.run import PathText
from hashkit.workflow.folder_labels import Labels
from hashkit.workflow.images_to_shard import ImagesToShard, check_no_columns

__all__ = ["ImagesToEncode", "Part"]

Part: TypeAlias = Literal["queries", "training", "database", "all"]


@dataclasses.dataclass(frozen=True)
class ImagesToEncode:
    """Which images to encode; the arguments are those of `encode`.

    Attributes
    ----------
    contained
        The Parquet files or tars that ``images`` names, found when this is made; None if it names
        none.

    Raises
    ------
    ConfigError
        If one of them contradicts another.
    DatasetError
        If there are no such images.
    """

    images: PathText | ImageSet
    _: dataclasses.KW_ONLY
    data_root: PathText | None = None
    protocol: str = ""
    part: Part = "all"
    split_seed: int = 0
    download: bool = False
    labels: Labels = "auto"
    image_column: str = ""
    label_column: str = ""
    contained: ImagesToShard | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        check_split_seed(self.split_seed)
        object.__setattr__(self, "contained", self._find_contained())
        if self.contained is None:
            self._check_uncontained()

    @property
    def spec(self) -> DataSpec:
        """The set of images that are given by name or path, and its split."""
        root = None if self.data_root is None else os.fspath(self.data_root)
        return with_absolute_paths(
            DataSpec(os.fspath(cast("PathText", self.images)), root, self.protocol, self.split_seed)
        )

    def _check_uncontained(self) -> None:
        check_no_columns(self._shown, self.image_column, self.label_column)
        if self.labels == "folders" and not self.is_folder:
            raise ConfigError(
                f'`labels="folders"` needs a folder of images, found {self._shown}: lists and '
                "named sets have labels of their own; leave it out"
            )
        if isinstance(self.images, ImageSet):
            if self.data_root is not None or self.protocol or self.part != "all":
                raise ConfigError(
                    "`data_root`, `protocol` and `part` need images given by name or path; for an "
                    "open image set, call its method subset"
                )
        elif self.part != "all" and not self.protocol:
            raise ConfigError(
                f'`part="{self.part}"` is a part of a split: choose one with `protocol=...`'
            )
        else:
            check_image_set(self.spec.data)

    def _find_contained(self) -> ImagesToShard | None:
        if isinstance(self.images, ImageSet) or os.fspath(self.images) in IMAGE_SETS:
            return None
        text = os.fspath(self.images)
        if not find_containers(text):
            return None
        if self.protocol or self.part != "all":
            raise ConfigError(
                "`protocol` and `part` need a folder, a list file or a named set, found the "
                f"Parquet files or tars {text}: leave them out"
            )
        return ImagesToShard(
            self.images,
            data_root=self.data_root,
            labels=self.labels,
            image_column=self.image_column,
            label_column=self.label_column,
        )

    @property
    def is_folder(self) -> bool:
        """Whether the images are a folder that is given by its path."""
        if isinstance(self.images, ImageSet):
            return False
        text = os.fspath(self.images)
        return text not in IMAGE_SETS and with_home(text).is_dir()

    @property
    def _shown(self) -> str:
        return "an image set" if isinstance(self.images, ImageSet) else os.fspath(self.images)
