"""Facts and signatures of the images of a folder, each file read and decoded once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.facts import ImageFacts, read_facts
from hashkit.collection.signature_cache import SignatureCache
from hashkit.collection.signatures import CANVAS, Signatures, Signer, canvas_of, joined
from hashkit.datasets.decoding import Fault
from hashkit.errors import ImageError

__all__ = ["facts_and_signatures", "facts_of"]

_BATCH: Final = 32
"""Images signed and kept at a time, while the next are decoded."""

_Result = TypeVar("_Result")


def facts_and_signatures(
    named: Sequence[tuple[str, Path]],
    signer: Signer,
    n_workers: int,
    progress: Callable[[int], None],
    cache: SignatureCache,
) -> tuple[list[ImageFacts], Signatures, list[Fault]]:
    """Facts and signatures of n images, in order; images that cannot be used are faults.

    Images that ``cache`` knows are not read; the others are added to it.
    """
    known = [cache.find(name, path) for name, path in named]
    todo = [one for one, cached in zip(named, known, strict=True) if cached is None]
    n_known = len(named) - len(todo)
    progress(n_known)
    new = _signed(todo, signer, n_workers, lambda n_done: progress(n_known + n_done), cache)
    facts = [one.facts for one in known if one is not None] + new[0]
    signatures = joined([*(one.signatures for one in known if one is not None), new[1]])
    place_of = {name: place for place, (name, _) in enumerate(named)}
    order = np.argsort(np.array([place_of[one.name] for one in facts], np.int64))
    faults = [dataclasses.replace(fault, row=place_of[fault.name]) for fault in new[2]]
    return [facts[place] for place in order.tolist()], signatures[order], faults


def _signed(
    named: Sequence[tuple[str, Path]],
    signer: Signer,
    n_workers: int,
    progress: Callable[[int], None],
    cache: SignatureCache,
) -> tuple[list[ImageFacts], Signatures, list[Fault]]:
    """The same, for images that are not in the cache."""

    def read(name: str, path: Path) -> tuple[ImageFacts, NDArray[np.uint8]]:
        facts, image = read_facts(name, path)
        return facts, canvas_of(image)

    facts: list[ImageFacts] = []
    signed: list[Signatures] = [signer.sign(np.empty((0, CANVAS, CANVAS, 3), np.uint8))]
    faults: list[Fault] = []
    results = _results_read_ahead(named, read, n_workers, faults, progress)
    while batch := list(itertools.islice(results, _BATCH)):
        facts += [one for one, _ in batch]
        signed.append(signer.sign(np.stack([canvas for _, canvas in batch])))
        cache.add([one for one, _ in batch], signed[-1])
    return facts, joined(signed), faults


def facts_of(
    named: Sequence[tuple[str, Path]],
    n_workers: int,
    progress: Callable[[int], None],
    caches: Sequence[SignatureCache] = (),
) -> tuple[list[ImageFacts], list[Fault]]:
    """Facts of images; those that none of ``caches`` knows are read and decoded."""

    def read(name: str, path: Path) -> ImageFacts:
        known = (cache.find_facts(name, path) for cache in caches)
        return (
            next((facts for facts in known if facts is not None), None)
            or (read_facts(name, path)[0])
        )

    faults: list[Fault] = []
    return list(_results_read_ahead(named, read, n_workers, faults, progress)), faults


def _results_read_ahead(
    named: Sequence[tuple[str, Path]],
    read: Callable[[str, Path], _Result],
    n_workers: int,
    faults: list[Fault],
    progress: Callable[[int], None],
) -> Iterator[_Result]:
    """Results for the images that can be used, in order, read ahead by threads."""

    def attempt(place: int) -> _Result | Fault:
        name, path = named[place]
        try:
            return read(name, path)
        except ImageError as error:
            return Fault(place, name, error.reason, str(error))
        except OSError as error:
            return Fault(place, name, "missing", f"{path}: cannot be read ({error.strerror})")

    with ThreadPoolExecutor(n_workers, thread_name_prefix="hashkit-decode") as pool:
        ahead = [pool.submit(attempt, place) for place in range(min(len(named), 4 * n_workers))]
        try:
            for place in range(len(named)):
                result = ahead.pop(0).result()
                if place + 4 * n_workers < len(named):
                    ahead.append(pool.submit(attempt, place + 4 * n_workers))
                progress(place + 1)
                if isinstance(result, Fault):
                    faults.append(result)
                else:
                    yield result
        finally:
            for future in ahead:
                future.cancel()
