"""Results are in order, one item is computed ahead, and errors are raised at their item."""

from __future__ import annotations

import contextlib
import threading

import pytest
from looped import looped

from hashkit.overlap import computed_ahead


@looped("n_items", [0, 1, 2, 7])
def test_every_item_is_yielded_once_and_in_order(n_items):
    assert list(computed_ahead(range(n_items), lambda item: item * item)) == [
        (item, item * item) for item in range(n_items)
    ]


def test_the_next_item_is_computed_while_one_is_in_use():
    started = [threading.Event() for _ in range(4)]

    def compute(item: int) -> int:
        started[item].set()
        return item

    with contextlib.closing(computed_ahead(range(4), compute)) as results:
        for item, _ in results:
            if item < 3:
                assert started[item + 1].wait(5), "nothing was computed while the caller worked"


def test_at_most_two_items_are_consumed_ahead():
    taken = []

    def items():
        for item in range(6):
            taken.append(item)
            yield item

    with contextlib.closing(computed_ahead(items(), str)) as results:
        for item, text in results:
            assert text == str(item)
            assert len(taken) <= item + 2


def test_an_error_is_raised_in_place_of_the_result():
    def compute(item: int) -> int:
        if item == 2:
            raise ZeroDivisionError
        return item

    results = computed_ahead(range(5), compute)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_iterator_is_raised():
    def items():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(computed_ahead(items(), str))


def test_no_thread_is_left_when_it_is_closed():
    results = computed_ahead(range(9), str)
    next(results)
    results.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("hashkit-compute")]
