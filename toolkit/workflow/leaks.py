"""Finds queries that are near copies of training or database images, by perceptual hashes.

`hashkit.datasets.disjoint` compares bytes, which another size, quality or format changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase, kept_rows
from hashkit.collection.join import hamming_join
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import ImageError
from hashkit.preprocess import ImageSource
from hashkit.runtimes.encoder import Encoder
from hashkit.threads import check_threads
from hashkit.workflow.reporter import Reporter, plural
from hashkit.workflow.row_images import RowImages

if TYPE_CHECKING:
    from hashkit.workflow.evaluation import Subject

__all__ = ["LEAK_RADIUS", "Leak", "Leaks", "leaks_of_split", "leaks_of_subject"]

LEAK_RADIUS: Final = 12
"""Bits of 256. A copy at half the size differs in 1 or 2, one of JPEG quality 30 in 5."""

_MODEL: Final = "phash-256"
_MAX_EXAMPLES: Final = 5
_BATCH: Final = 256
_NOUNS: Final = {"training": "training images", "database": "database images"}


@dataclasses.dataclass(frozen=True)
class Leak:
    """Queries that are near images of another part.

    Attributes
    ----------
    part
        ``training`` or ``database``.
    n_queries
        Number of queries that are near at least one image of it.
    examples
        Up to five of them, nearest first: names of query and image, and their distance in bits.
    """

    part: str
    n_queries: int
    examples: tuple[tuple[str, str, int], ...]


@dataclasses.dataclass(frozen=True)
class Leaks:
    """Near copies of queries in other parts.

    Attributes
    ----------
    n_queries
        Number of queries that were compared.
    n_missing
        Images of any part that could not be used.
    found
        The parts with near images.
    """

    n_queries: int
    n_missing: int
    found: tuple[Leak, ...]

    def to_dict(self) -> dict[str, Any]:
        """The field ``leaks`` of the JSON of `hashkit evaluate`."""
        return {
            "radius": LEAK_RADIUS,
            "n_queries": self.n_queries,
            "n_missing": self.n_missing,
            "parts": [
                {
                    "part": leak.part,
                    "n_queries": leak.n_queries,
                    "examples": [
                        {"query": query, "image": image, "distance": distance}
                        for query, image, distance in leak.examples
                    ],
                }
                for leak in self.found
            ],
        }

    def report(self, reporter: Reporter) -> None:
        """Note what was found, one line for each part."""
        for leak in self.found:
            query, image, distance = leak.examples[0]
            reporter.note(
                f"warning: {leak.n_queries:,} of the {self.n_queries:,} queries look like "
                f"{_NOUNS[leak.part]} (for example {query} and {image}, {distance} of 256 bits): "
                "check them, because copies make results too good"
            )
        if not self.found:
            reporter.note("no query looks like a training or database image")
        if self.n_missing:
            reporter.note(f"{plural(self.n_missing, 'image')} could not be compared")


_Named = tuple[str, ImageSource | None]


def leaks_of_split(
    images: ImageSet, split: Split, n_workers: int | None, reporter: Reporter
) -> Leaks:
    """Compare the queries of a split with its training and database images."""
    rows = split.part("all")
    named = [(images.names[row], images.source(row)) for row in rows.tolist()]
    codes, is_usable = _hashes(named, n_workers, reporter)
    parts = {
        name: np.searchsorted(rows, split.part(name))
        for name in ("queries", "training", "database")
    }
    names = [name for name, _ in named]
    found = []
    for name in ("training", "database"):
        leak = _leak(name, names, codes, is_usable, parts["queries"], parts[name])
        if leak is not None:
            found.append(leak)
    n_queries = int(is_usable[parts["queries"]].sum())
    return Leaks(n_queries, int((~is_usable).sum()), tuple(found))


def leaks_of_subject(subject: Subject, n_workers: int | None, reporter: Reporter) -> Leaks:
    """Compare queries with the databases that are ranked for them, and with a run's training set.

    A query that is itself a row of the database is not compared with that row.
    """
    if subject.run is not None:
        from hashkit.datasets.spec import open_spec
        from hashkit.workflow.training_source import run_spec

        images, split = open_spec(run_spec(subject.run))
        return leaks_of_split(images, split, n_workers, reporter)
    find = subject.images
    others = [one for one in subject.databases if one is not subject.queries]
    named = _names_and_images(subject.queries, find)
    queries = np.arange(len(named))
    for one in others:
        named += _names_and_images(one, find)
    codes, is_usable = _hashes(named, n_workers, reporter)
    has_own = len(others) < len(subject.databases)
    database = np.arange(0 if has_own else len(queries), len(named))
    names = [name for name, _ in named]
    leak = _leak("database", names, codes, is_usable, queries, database)
    found = () if leak is None else (leak,)
    return Leaks(int(is_usable[queries].sum()), int((~is_usable).sum()), found)


def _names_and_images(codes: CodeDatabase, find: RowImages) -> list[_Named]:
    """Names and images of the rows that are not deleted."""
    names = codes.names  # a bank looks at its file for each access
    return [
        (names[row] if len(names) else f"row {row}", find(codes, row))
        for row in kept_rows(codes).tolist()
    ]


def _leak(
    part: str,
    names: Sequence[str],
    codes: NDArray[np.uint8],
    is_usable: NDArray[np.bool_],
    queries: NDArray[np.int64],
    others: NDArray[np.int64],
) -> Leak | None:
    """Queries near images of a part, as numbers of ``names``; an image is not near itself."""
    queries, others = queries[is_usable[queries]], others[is_usable[others]]
    nearest: dict[int, tuple[int, int]] = {}
    for block in hamming_join(codes[queries], codes[others], 8 * codes.shape[1], LEAK_RADIUS):
        left, right = queries[block.left], others[block.right]
        for query, image, distance in zip(
            left.tolist(), right.tolist(), block.distance.tolist(), strict=True
        ):
            if query != image and (distance, image) < nearest.get(query, (257, 0)):
                nearest[query] = distance, image
    if not nearest:
        return None
    first = sorted((distance, query, image) for query, (distance, image) in nearest.items())
    examples = tuple((names[q], names[i], d) for d, q, i in first[:_MAX_EXAMPLES])
    return Leak(part, len(nearest), examples)


def _hashes(
    named: Sequence[_Named], n_workers: int | None, reporter: Reporter
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Perceptual hashes of images, uint8 [n, 32], and whether each could be used, bool [n]."""
    encoder = Encoder.load(_MODEL, "cpu")
    n_threads = check_threads(n_workers, "num_workers")

    def pixels_of(named_image: _Named) -> NDArray[np.uint8] | None:
        try:
            return None if named_image[1] is None else encoder.prepare(named_image[1])
        except ImageError:
            return None

    codes = np.zeros((len(named), code_size(encoder.n_bits)), np.uint8)
    is_usable = np.zeros(len(named), np.bool_)
    with (
        ThreadPoolExecutor(n_threads, thread_name_prefix="hashkit-decode") as pool,
        reporter.progress("comparing images", len(named), "images") as bar,
    ):
        for first in range(0, len(named), _BATCH):
            batch = list(pool.map(pixels_of, named[first : first + _BATCH]))
            places = [first + at for at, pixels in enumerate(batch) if pixels is not None]
            if places:
                pixels = np.stack([one for one in batch if one is not None])
                codes[places] = encoder.run(pixels)[0]
                is_usable[places] = True
            bar.update(first + len(batch))
    return codes, is_usable
