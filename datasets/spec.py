"""What a run is made from: an image set and how it is split, as flags and config.json say it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashkit.datasets.download import DownloadProgress
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.lists import open_list_split
from hashkit.datasets.protocols import PROTOCOLS, ProtocolOptions, make_split
from hashkit.datasets.sets import IMAGE_SETS, open_image_set
from hashkit.datasets.split import Split
from hashkit.errors import ConfigError

__all__ = ["DEFAULT_PROTOCOL", "DataSpec", "absolute_spec"]

DEFAULT_PROTOCOL = "per-class"


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """An image set and its split.

    Attributes
    ----------
    data
        A name of `hashkit.datasets.sets.IMAGE_SETS`, or the path of a folder or list file.
    root
        See `hashkit.datasets.sets.open_image_set`.
    protocol
        A name of `hashkit.datasets.protocols.PROTOCOLS`; empty for ``per-class``, or ``random``
        where images have several labels, or none.
    seed
        Seed of the split.
    options
        Changes of the protocol's numbers.
    query_list, training_list
        List files of a published split; ``data`` is then the database's list.
    """

    data: str = "digits"
    root: str | None = None
    protocol: str = ""
    seed: int = 0
    options: ProtocolOptions = dataclasses.field(default_factory=ProtocolOptions)
    query_list: str | None = None
    training_list: str | None = None

    def __post_init__(self) -> None:
        if self.training_list is not None and self.query_list is None:
            raise ConfigError("a training list needs a query list beside it")
        if self.query_list is not None and (self.protocol or self.options.changes()):
            raise ConfigError("lists of queries are a split of their own: leave the protocol out")
        if self.protocol and self.protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise ConfigError(f"unknown protocol {self.protocol!r}; known: {known}")

    def open(
        self, *, download: bool = False, progress: DownloadProgress | None = None
    ) -> tuple[ImageSet, Split]:
        """Open the image set and draw its split.

        Raises
        ------
        DatasetError
            If the set cannot be opened, or cannot give the split.
        """
        root = None if self.root is None else Path(self.root)
        if self.query_list is not None:
            training = None if self.training_list is None else Path(self.training_list)
            return open_list_split(
                queries=Path(self.query_list),
                database=Path(self.data),
                training=training,
                root=root,
            )
        images = open_image_set(self.data, root=root, download=download, progress=progress)
        has_classes = images.labels is not None and not images.is_multi_label
        protocol = self.protocol or (DEFAULT_PROTOCOL if has_classes else "random")
        return images, make_split(images, protocol, seed=self.seed, options=self.options)

    def absolute(self) -> DataSpec:
        """The same with absolute paths, so that it can be opened from any folder."""
        return dataclasses.replace(
            self,
            data=absolute_spec(self.data),
            root=_absolute(self.root),
            query_list=_absolute(self.query_list),
            training_list=_absolute(self.training_list),
        )

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = dataclasses.asdict(self)
        fields["options"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.options.changes().items()
        }
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> DataSpec:
        """Spec of `to_dict`'s values.

        Raises
        ------
        ConfigError
            If a name is unknown.
        """
        values = dict(fields)
        options = dict(values.pop("options", {}))
        if "unseen_classes" in options:
            options["unseen_classes"] = tuple(options["unseen_classes"])
        try:
            return cls(**values, options=ProtocolOptions(**options))
        except TypeError as error:
            raise ConfigError(f"the saved image set has unknown settings: {error}") from None


def absolute_spec(data: str) -> str:
    """An image set's name as it is, a path made absolute."""
    path = Path(data).expanduser()
    return data if data in IMAGE_SETS or not path.exists() else str(path.absolute())


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())
