"""Batches of waiting items: their size, their errors, and items that nobody waits for any more."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from hashkit.server.batching import Batcher


class Work:
    """Doubles numbers, lets the first list wait until `go`, and keeps what it was called with."""

    def __init__(self) -> None:
        self.lists: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, items):
        self.lists.append(list(items))
        assert self.go.wait(10)
        if 0 in items:
            raise ZeroDivisionError
        return [2 * item for item in items]


async def answers(batcher, work, items, n_given_up=0):
    tasks = [asyncio.create_task(batcher(item)) for item in items]
    while not work.lists:
        await asyncio.sleep(0)
    for task in tasks[-n_given_up:] if n_given_up else []:
        task.cancel()
    await asyncio.sleep(0)
    work.go.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def batcher(work):
    made = Batcher(work, 3, "test")
    yield made
    made.close()


def test_waiting_items_are_processed_together_in_order(batcher, work):
    assert asyncio.run(answers(batcher, work, range(1, 9))) == [2 * item for item in range(1, 9)]
    assert [*itertools.chain(*work.lists)] == [*range(1, 9)]
    assert [len(one) for one in work.lists[1:]] in ([3, 3, 1], [3, 3], [3, 2])  # after the first


def test_an_item_that_fails_fails_alone(batcher, work):
    found = asyncio.run(answers(batcher, work, [5, 1, 0, 2]))
    assert [found[at] for at in (0, 1, 3)] == [10, 2, 4]
    assert isinstance(found[2], ZeroDivisionError)


def test_items_that_nobody_waits_for_are_not_processed(batcher, work):
    found = asyncio.run(answers(batcher, work, [1, 2, 3, 4, 5, 6], n_given_up=2))
    assert found[:4] == [2, 4, 6, 8]
    assert all(isinstance(one, asyncio.CancelledError) for one in found[4:])
    assert not {5, 6} & {*itertools.chain(*work.lists)}


def test_results_go_on_to_the_next_step_without_the_event_loop(work):
    work.go.set()
    last = Batcher(work, 3, "last")

    def pass_on(items, futures, results):
        assert threading.current_thread().name.startswith("first")
        last.add([*results], futures)

    first = Batcher(work, 3, "first", pass_on)
    try:
        assert asyncio.run(answers(first, work, [1, 2, 3])) == [4, 8, 12]
    finally:
        first.close()
        last.close()
