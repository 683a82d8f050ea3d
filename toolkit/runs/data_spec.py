"""The image set of a run and how it is split.

`hashkit.datasets.spec` opens it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hashkit.errors import ConfigError, ProtocolError
from hashkit.inputs.arguments import argument_shown
from hashkit.inputs.schema import json_fields
from hashkit.runs.known_names import PROTOCOLS, check_name

__all__ = ["DEFAULT_PROTOCOL", "DataSpec", "ProtocolOptions", "check_split_seed", "name_tuple"]

DEFAULT_PROTOCOL = "per-class"


def check_split_seed(seed: int) -> None:
    """Raise ConfigError if the seed of a split is negative."""
    if seed < 0:
        raise ConfigError(f"`split_seed` must be 0 or more, not {seed}")


def name_tuple(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of unseen classes; a text is one name.

    Raises
    ------
    ProtocolError
        If a name is not a text.
    """
    if names is None:
        return None
    several: tuple[Any, ...] = (names,) if isinstance(names, str) else tuple(names)
    wrong = [name for name in several if not isinstance(name, str)]
    if wrong:
        raise ProtocolError(
            f"`unseen_classes` must be names of classes, not {argument_shown(wrong[0])}"
        )
    return several


@dataclasses.dataclass(frozen=True)
class ProtocolOptions:
    """Changes of a protocol that is not fixed; None keeps its value.

    Attributes
    ----------
    queries_per_class, training_per_class
        Images per class.
    training_in_database
        Whether training images stay in the database.
    n_queries, n_training
        Total numbers of images, for protocols that ignore classes.
    unseen_fraction
        Fraction of the classes that are never trained on, between 0 and 1.
    unseen_classes
        Their names, instead of a random choice.
    """

    queries_per_class: int | None = None
    training_per_class: int | None = None
    training_in_database: bool | None = None
    n_queries: int | None = None
    n_training: int | None = None
    unseen_fraction: float | None = None
    unseen_classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unseen_classes", name_tuple(self.unseen_classes))
        for field in ("queries_per_class", "training_per_class", "n_queries", "n_training"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ProtocolError(f"`{field}` must be at least 1, not {value}")
        if self.unseen_fraction is not None and not 0 < self.unseen_fraction < 1:
            raise ProtocolError(
                f"`unseen_fraction` must be between 0 and 1, not {self.unseen_fraction}"
            )

    def changes(self) -> dict[str, object]:
        """The options that are not None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}


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
    unlabelled
        A folder or list of further images, which training sees without labels.
    """

    data: str = "digits"
    root: str | None = None
    protocol: str = ""
    seed: int = 0
    options: ProtocolOptions = dataclasses.field(default_factory=ProtocolOptions)
    query_list: str | None = None
    training_list: str | None = None
    unlabelled: str | None = None

    def __post_init__(self) -> None:
        if self.training_list is not None and self.query_list is None:
            raise ConfigError(
                "`training_list` needs `query_list` beside it, found none: name the list of the "
                "queries"
            )
        if self.query_list is not None:
            self._check_listed_split()
        if self.protocol:
            check_name("protocol", self.protocol, PROTOCOLS)

    def _check_listed_split(self) -> None:
        given = [*(["protocol"] if self.protocol else []), *self.options.changes()]
        if given:
            names = ", ".join(f"`{name}`" for name in given)
            raise ConfigError(f"`query_list` defines the split: leave {names} out")

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = dataclasses.asdict(self)
        return fields | {"options": json_fields(self.options.changes())}
