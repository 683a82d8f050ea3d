"""Many tasks on a cluster, with their results as they come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from hashkit.cluster.engine import Call, Engine, LostError, Resources
from hashkit.errors import ClusterError, HashkitError

__all__ = ["results_of_tasks"]

Key = TypeVar("Key")

_LOOK_SECONDS: Final = 0.5

_RETRY_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before each try after the first: a node may be short of memory for a while."""


def results_of_tasks(
    engine: Engine,
    function: Callable[..., Any],
    arguments: Mapping[Key, tuple[Any, ...]],
    resources: Resources,
    lost: Callable[[Sequence[Key]], None] = lambda _: None,
) -> Iterator[tuple[Key, Any]]:
    """Run a function for each of many arguments; yields keys and results as tasks end.

    The result of a task that failed is its error, a `HashkitError`. A task whose process or node is
    lost starts again, up to five times; here and not in the engine, so that the user is told.

    Parameters
    ----------
    lost
        Called with the keys of tasks that were lost and start again.
    """
    waiting = dict.fromkeys(arguments, 0.0)
    running: dict[Call, Key] = {}
    n_lost: Counter[Key] = Counter()
    while waiting or running:
        now = time.monotonic()
        for key in [key for key, start in waiting.items() if start <= now]:
            del waiting[key]
            running[engine.task(function, arguments[key], resources)] = key
        again = []
        for call in engine.wait(list(running), _LOOK_SECONDS):
            key = running.pop(call)
            result = _result(engine, call)
            if isinstance(result, LostError) and n_lost[key] < len(_RETRY_SECONDS):
                waiting[key] = now + _RETRY_SECONDS[n_lost[key]]
                n_lost[key] += 1
                again.append(key)
            elif isinstance(result, LostError):
                yield key, ClusterError(f"its process or node was lost, several times: {result}")
            else:
                yield key, result
        if again:
            lost(again)


def _result(engine: Engine, call: Call) -> Any:
    try:
        return engine.result(call)
    except (LostError, HashkitError) as error:
        return error
