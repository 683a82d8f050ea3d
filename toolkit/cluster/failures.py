"""Errors of jobs on their way back: as values, since not every exception can be pickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from hashkit import errors
from hashkit.errors import ClusterError, HashkitError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.messages.os_errors import os_error_line

__all__ = ["Failure", "guarded", "opened"]


@dataclasses.dataclass(frozen=True)
class Failure:
    """An exception that a job raised.

    Attributes
    ----------
    kind
        Name of its class in `hashkit.errors`; ``ClusterError`` for other exceptions.
    text
        Its message.
    reason
        The ``reason`` of an `ImageError`.
    """

    kind: str
    text: str
    reason: str = ""


def guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a function, or the `Failure` that it ended with."""
    try:
        return function(*arguments)
    except HashkitError as error:
        return Failure(type(error).__name__, str(error), getattr(error, "reason", ""))
    except OSError as error:
        return Failure("ClusterError", os_error_line(error))
    except MemoryError:
        return Failure("ClusterError", "a node has not enough memory: use more nodes or groups")
    except Exception as error:
        return Failure("ClusterError", f"a job failed: {foreign_message(error)}")


def opened(result: Any) -> Any:
    """A result; raises the exception that a `Failure` stands for."""
    if not isinstance(result, Failure):
        return result
    kind = getattr(errors, result.kind, ClusterError)
    if result.reason:
        raise kind(result.text, result.reason)
    if kind is errors.MissingExtraError:
        kind = ClusterError
    raise kind(result.text)
