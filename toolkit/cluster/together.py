"""Runs the calls of several actors at the same time, each in a thread that waits for its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["Threads"]

Result = TypeVar("Result")


class Threads:
    """A pool of threads that wait for actors.

    Parameters
    ----------
    n_threads
        Calls at the same time.
    """

    def __init__(self, n_threads: int) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="hashkit-cluster")

    def __call__(self, tasks: Sequence[Callable[[], Result]], /) -> list[Result]:
        """The results of all tasks, in order; a failure is raised without waiting for others."""
        futures = [self._pool.submit(task) for task in tasks]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads; calls that wait must have been ended before."""
        self._pool.shutdown(wait=False, cancel_futures=True)
