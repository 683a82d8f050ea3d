"""Groups of duplicates: each image is near the one of its group that is worth keeping.

Groups are stars, not chains. If near images were joined one by one, A with B and B with C, a group
could contain pictures that nobody takes for copies. Instead, the best of the remaining images comes
first, and its group is every image near *it*; so whatever is moved away always has a near copy that
stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.facts import ImageFacts
from hashkit.collection.join import PairBlock

__all__ = [
    "KEEP_RULE",
    "Duplicate",
    "DuplicateGroup",
    "DuplicateKind",
    "classes_of",
    "group_duplicates",
    "without_other_names",
]

DuplicateKind: TypeAlias = Literal["bytes", "pixels", "near"]

KINDS: Final[tuple[DuplicateKind, ...]] = ("bytes", "pixels", "near")

KEEP_RULE: Final = (
    "most pixels; then a time of capture in the metadata; then most bytes, or fewest where the "
    "pixels are equal; then the oldest change; then the shortest name"
)
"""Which image of a group is kept: the first difference decides."""


_Nearness: TypeAlias = tuple[int, float | None]
"""Distance and score of two images."""


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """An image that is a duplicate of the one to keep.

    Attributes
    ----------
    image
        The image.
    distance
        Hamming distance between the two codes, bits; 0 for equal bytes or pixels.
    kind
        What is equal: ``bytes`` of the files, ``pixels``, or neither (``near``).
    score
        Share of the pictures' texture that agrees, if the near pair was verified by its pixels;
        otherwise None.
    """

    image: ImageFacts
    distance: int
    kind: DuplicateKind
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class DuplicateGroup:
    """An image to keep, and its duplicates, nearest first.

    Attributes
    ----------
    keep
        The image that the rule `KEEP_RULE` chooses.
    duplicates
        One or more others.
    """

    keep: ImageFacts
    duplicates: tuple[Duplicate, ...]

    @property
    def kind(self) -> DuplicateKind:
        """``bytes`` if all files are equal, ``pixels`` if all pictures are, otherwise ``near``."""
        return max((one.kind for one in self.duplicates), key=KINDS.index)

    @property
    def n_spare_bytes(self) -> int:
        """Bytes of the duplicates."""
        return sum(one.image.n_bytes for one in self.duplicates)

    def to_dict(self) -> dict[str, Any]:
        """The group in the JSON of `hashkit dedup`."""
        kept = Duplicate(self.keep, 0, "bytes")
        return {
            "kind": self.kind,
            "keep": self.keep.name,
            "images": [
                {
                    "name": one.image.name,
                    "distance": one.distance,
                    "bytes": one.image.n_bytes or None,
                    "width": one.image.width or None,
                    "height": one.image.height or None,
                    "kind": None if one is kept else one.kind,
                    "score": None if one.score is None else round(one.score, 3),
                }
                for one in (kept, *self.duplicates)
            ],
        }


def group_duplicates(
    images: Sequence[ImageFacts],
    classes: NDArray[np.int64],
    pairs: PairBlock,
    scores: NDArray[np.float64] | None = None,
) -> list[DuplicateGroup]:
    """Group images, by the name of the one to keep.

    Parameters
    ----------
    images
        n images, each file once.
    classes
        int64 [n], the class of each image; images of one class are at distance 0.
    pairs
        Pairs of near classes.
    scores
        float64 [m], the score of each pair; None where they were not verified.
    """
    members: dict[int, list[ImageFacts]] = {}
    for image, number in zip(images, classes.tolist(), strict=True):
        members.setdefault(number, []).append(image)
    near: dict[int, dict[int, _Nearness]] = {}
    pair_scores = [None] * len(pairs.left) if scores is None else scores.tolist()
    columns = (column.tolist() for column in pairs)
    for left, right, distance, score in zip(*columns, pair_scores, strict=True):
        near.setdefault(left, {})[right] = near.setdefault(right, {})[left] = distance, score
    preference = _Preference(images)
    for images_of_class in members.values():
        images_of_class.sort(key=preference)
    taken: set[int] = set()
    groups = []
    for number in sorted(members, key=lambda other: preference(members[other][0])):
        if number in taken:
            continue
        keep, *equal = members[number]
        others = {
            other: nearness
            for other, nearness in near.get(number, {}).items()
            if other not in taken
        }
        taken.update([number, *others])
        found: list[tuple[ImageFacts, _Nearness]] = [(image, (0, None)) for image in equal]
        found += [
            (image, nearness) for other, nearness in others.items() for image in members[other]
        ]
        if found:
            groups.append(_group(keep, found))
    return sorted(groups, key=lambda group: group.keep.name)


def classes_of(images: Sequence[ImageFacts]) -> NDArray[np.int64]:
    """Classes of images with equal pixels, int64 [n], numbered by their first image.

    Images whose pixels are unknown are compared by their files' digests.
    """
    numbers: dict[object, int] = {}
    keys = [
        (image.pixel_digest, image.pixel_digest or image.file_digest or image.name)
        for image in images
    ]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def without_other_names(images: Sequence[ImageFacts]) -> list[ImageFacts]:
    """Each file once; of several names of one file, which take no space, one that is not a link."""
    first: dict[object, ImageFacts] = {}
    for image in sorted(images, key=lambda one: (one.is_link, one.name)):
        first.setdefault(image.file_id or image.name, image)
    chosen = {image.name for image in first.values()}
    return [image for image in images if image.name in chosen]


def _group(keep: ImageFacts, found: list[tuple[ImageFacts, _Nearness]]) -> DuplicateGroup:
    duplicates = [
        Duplicate(image, distance, _kind(keep, image), score) for image, (distance, score) in found
    ]
    duplicates.sort(key=lambda one: (KINDS.index(one.kind), one.distance, one.image.name))
    return DuplicateGroup(keep, tuple(duplicates))


def _kind(keep: ImageFacts, image: ImageFacts) -> DuplicateKind:
    if keep.file_digest and keep.file_digest == image.file_digest:
        return "bytes"
    return "pixels" if keep.pixel_digest and keep.pixel_digest == image.pixel_digest else "near"


class _Preference:
    """Sort key of an image; the smallest is kept: a file before a link, then by `KEEP_RULE`.

    If pixels are equal, the larger file is not better: a JPEG file saved again as PNG is larger. So
    such files are compared with others by the size of the smallest, and the smallest is kept.
    """

    def __init__(self, images: Sequence[ImageFacts]) -> None:
        self._least_bytes: dict[bytes, int] = {}
        for image in images:
            least = self._least_bytes.get(image.pixel_digest, image.n_bytes)
            self._least_bytes[image.pixel_digest] = min(least, image.n_bytes)

    def __call__(self, image: ImageFacts) -> tuple[Any, ...]:
        least = image.n_bytes
        if image.pixel_digest:
            least = self._least_bytes[image.pixel_digest]
        return (
            image.is_link,
            -image.width * image.height,
            not image.is_dated,
            -least,
            image.n_bytes,
            image.mtime_ns,
            len(PurePosixPath(image.name).name),
            image.name,
        )
