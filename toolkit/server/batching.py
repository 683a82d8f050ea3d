"""Processes all waiting items in one batch, without waiting for more to arrive."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

__all__ = ["Batcher", "give", "give_error"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Calls a function of a list in one thread, with all items that are waiting.

    An item that arrives while nothing runs is processed at once, alone. If a list fails, each of
    its items is tried alone, so that one item cannot make the others fail. The thread takes the
    next list by itself: it would be idle while the event loop handed it over.

    Parameters
    ----------
    work
        Returns one result per item, in order.
    most
        The longest list.
    name
        Name of the thread.
    then
        Called in the thread with the items, their futures and results; by default the futures
        get the results.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        most: int,
        name: str,
        then: Callable[[Sequence[Item], Sequence[asyncio.Future[Any]], Sequence[Result]], None]
        | None = None,
    ) -> None:
        self._work = work
        self._most = most
        self._then = then or (lambda _, futures, results: give(futures, results))
        self._waiting: Final[collections.deque[tuple[Item, asyncio.Future[Any]]]] = (
            collections.deque()
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def __call__(self, item: Item) -> Result:
        """The result of an item, if there is no ``then``.

        Raises
        ------
        Exception
            What the function raises for the item alone.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.add([item], [future])
        return await future

    def add(self, items: Sequence[Item], futures: Sequence[asyncio.Future[Any]]) -> None:
        """Add items, from any thread; each future gets the result or the error of its item."""
        self._waiting.extend(zip(items, futures, strict=True))
        self._thread.submit(self._run)

    def close(self) -> None:
        """End the thread when all waiting items are done."""
        self._thread.shutdown(wait=True)

    def _run(self) -> None:
        """Process all waiting items; an earlier run may have taken them, and nothing is left."""
        while self._waiting:
            n_items = min(len(self._waiting), self._most)
            taken = [self._waiting.popleft() for _ in range(n_items)]
            # Clients that disconnected or timed out need no answer.
            self._answer([one for one in taken if not one[1].done()])

    def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Any]]]) -> None:
        if not batch:
            return
        items, futures = zip(*batch, strict=True)
        try:
            results = self._work(items)
        except Exception as error:
            if len(batch) == 1:
                give_error(futures[0], error)
                return
            for one in batch:
                self._answer([one])
            return
        self._then(items, futures, results)


def give(futures: Sequence[asyncio.Future[Any]], results: Sequence[Any]) -> None:
    """Set the results of futures of one event loop, from another thread."""

    def set_all() -> None:
        for future, result in zip(futures, results, strict=True):
            if not future.done():
                future.set_result(result)

    futures[0].get_loop().call_soon_threadsafe(set_all)


def give_error(future: asyncio.Future[Any], error: BaseException) -> None:
    """Set the error of a future, from another thread."""

    def set_error() -> None:
        if not future.done():
            future.set_exception(error)

    future.get_loop().call_soon_threadsafe(set_error)
