"""Computes the next batch while the current one is used, so that the device does not wait."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["computed_ahead"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def computed_ahead(
    items: Iterable[_Item], compute: Callable[[_Item], _Result]
) -> Generator[tuple[_Item, _Result], None, None]:
    """Yield each item with its result of ``compute``, in order, while the next is computed.

    Parameters
    ----------
    items
        Consumed in the caller's thread, up to two items ahead of the pair that is yielded.
    compute
        Called in one thread, for one item at a time. If it raises, the exception is raised in
        place of the item's pair.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="hashkit-compute") as pool:
        ahead: tuple[_Item, Future[_Result]] | None = None
        for item in items:
            current, ahead = ahead, (item, pool.submit(compute, item))
            if current is not None:
                yield current[0], current[1].result()
        if ahead is not None:
            yield ahead[0], ahead[1].result()
