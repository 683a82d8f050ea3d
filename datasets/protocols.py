"""Protocols by name: which images of a set are queries, training images and database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np

from hashkit.datasets.draws import OfficialTest, PerClass, Protocol, RandomDraw, UnseenClasses
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import ProtocolError
from hashkit.runs.data_spec import ProtocolOptions

__all__ = ["PROTOCOLS", "make_split"]


PROTOCOLS: Final[dict[str, Protocol]] = {
    "per-class": PerClass(
        "some queries from each class; the other images are database and training"
    ),
    "random": RandomDraw(
        "some queries, regardless of labels; for sets with several labels per image"
    ),
    "official": OfficialTest("the official test part as queries, the training part as database"),
    "unseen-classes": UnseenClasses("queries and database from classes that training never sees"),
    "cifar10-59k": PerClass(
        "100 queries per class; the other 59,000 are the database, 500 per class also training",
        queries_per_class=100,
        training_per_class=500,
        n_classes=10,
        is_fixed=True,
    ),
    "cifar10-54k": PerClass(
        "100 queries and 500 training images per class; the other 54,000 are the database",
        queries_per_class=100,
        training_per_class=500,
        training_in_database=False,
        n_classes=10,
        is_fixed=True,
    ),
    "cifar10-full": OfficialTest(
        "the 10,000 test images as queries, the 50,000 training images as database", n_classes=10
    ),
    "per-class-unlabelled": PerClass(
        "some queries and some training images per class; training also sees the rest of the "
        "database, without labels",
        has_unlabelled=True,
    ),
    "cifar10-59k-unlabelled": PerClass(
        "the split of cifar10-59k; training also sees the other 54,000 images of the database, "
        "without labels",
        queries_per_class=100,
        training_per_class=500,
        n_classes=10,
        is_fixed=True,
        has_unlabelled=True,
    ),
}
"""Protocols by name; a new one is an entry here."""


def make_split(
    image_set: ImageSet,
    protocol: str,
    *,
    seed: int = 0,
    options: ProtocolOptions | None = None,
) -> Split:
    """Draw the parts of an image set by a protocol.

    Parameters
    ----------
    protocol
        A name of `PROTOCOLS`.
    seed
        0 or more; the same seed, options and labels give the same rows everywhere.
    options
        Changes to the protocol's numbers.

    Raises
    ------
    ProtocolError
        If there is no such protocol, it has no such option, or the set does not allow the split.
    """
    if protocol not in PROTOCOLS:
        raise ProtocolError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    kind = _with_options(protocol, options or ProtocolOptions())
    try:
        parts = kind.draw(image_set, seed)
    except ProtocolError as error:
        raise ProtocolError(f"{protocol}: {error}") from None
    if not len(parts.queries):
        raise ProtocolError(
            f"{protocol}: {image_set.name}: expected a class of 2 images or more, one to search "
            f"with and one to find, found none among {len(image_set)} images: add images"
        )
    return Split(
        protocol=protocol,
        seed=seed,
        queries=np.sort(parts.queries),
        training=np.sort(parts.training),
        database=np.sort(parts.database),
        training_in_database=kind.training_in_database,
        unlabelled=np.sort(parts.unlabelled),
    )


def _with_options(protocol: str, options: ProtocolOptions) -> Protocol:
    kind = PROTOCOLS[protocol]
    changes = options.changes()
    if changes and kind.is_fixed:
        raise ProtocolError(
            f"{protocol} is fixed and takes no {_as_arguments(changes)}; "
            "use per-class or official for other numbers"
        )
    fields = {field.name for field in dataclasses.fields(kind)}
    known = [field.name for field in dataclasses.fields(options) if field.name in fields]
    for name in changes:
        if name not in known:
            raise ProtocolError(f"{protocol} takes no `{name}`; it takes {_as_arguments(known)}")
    changed: Protocol = dataclasses.replace(kind, **changes)  # type: ignore[arg-type]
    return changed


def _as_arguments(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
