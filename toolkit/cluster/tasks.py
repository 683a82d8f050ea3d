"""Many tasks on a cluster, with their results as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from hashkit.cluster.engine import Call, Engine, LostError, Resources
from hashkit.errors import ClusterError, HashkitError

__all__ = ["results_of_tasks"]

Key = TypeVar("Key")

_LOOK_SECONDS: Final = 0.5


def results_of_tasks(
    engine: Engine,
    function: Callable[..., Any],
    arguments: Mapping[Key, tuple[Any, ...]],
    resources: Resources,
) -> Iterator[tuple[Key, Any]]:
    """Run a function for each of many arguments; yields keys and results as tasks end.

    The result of a task that failed is its error, a `HashkitError`.
    """
    running: dict[Call, Key] = {
        engine.task(function, given, resources): key for key, given in arguments.items()
    }
    while running:
        for call in engine.wait(list(running), _LOOK_SECONDS):
            key = running.pop(call)
            yield key, _result(engine, call)


def _result(engine: Engine, call: Call) -> Any:
    try:
        return engine.result(call)
    except LostError as error:
        return ClusterError(f"its process or node was lost, several times: {error}")
    except HashkitError as error:
        return error
