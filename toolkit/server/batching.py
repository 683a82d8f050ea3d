"""Processes all waiting items in one batch, without waiting for more to arrive."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Calls a function of a list in one thread, with all items that are waiting.

    An item that arrives while nothing runs is processed at once, alone. If a list fails, each of
    its items is tried alone, so that one item cannot make the others fail.

    Parameters
    ----------
    work
        Returns one result per item, in order.
    most
        The longest list.
    name
        Name of the thread.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], most: int, name: str
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: Final[collections.deque[tuple[Item, asyncio.Future[Result]]]] = (
            collections.deque()
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result of an item.

        Raises
        ------
        Exception
            What the function raises for the item alone.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    def close(self) -> None:
        """End the thread when its current list is done."""
        self._thread.shutdown(wait=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                n_items = min(len(self._waiting), self._most)
                taken = [self._waiting.popleft() for _ in range(n_items)]
                # Clients that disconnected or timed out need no answer.
                await self._answer([one for one in taken if not one[1].done()])
        finally:
            self._running = None

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        items = [item for item, _ in batch]
        try:
            results = await loop.run_in_executor(self._thread, self._work, items)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
