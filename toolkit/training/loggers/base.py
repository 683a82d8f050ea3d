"""The interface of loggers, which take what a training measures to another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["RunLogger"]


@runtime_checkable
class RunLogger(Protocol):
    """Takes the settings and the numbers of a training.

    `hashkit.train` and `hashkit.resume` take loggers. Each is called from one thread: `start`
    once, then `log` any number of times, then `finish`, even after an error. What `start` raises
    ends the training before its first step. What `log` or `finish` raises becomes a warning, and
    the logger is not called again: the training goes on.
    """

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin.

        Parameters
        ----------
        config
            JSON-ready: the values of the run's config.json (``training`` has the settings), and
            ``name`` and ``path`` of the run, ``first_step``, which is the number of steps done
            before (more than 0 if the training is resumed), and ``n_steps``.
        """
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by name.

        Parameters
        ----------
        step
            Steps done. A resumed training continues after its last snapshot, so a step may come
            a second time.
        values
            What a line of metrics.jsonl has: ``epoch``, ``loss``, ``active``, ``learning_rate``,
            ``images_per_second`` and ``seconds``; or ``held_out`` and ``seconds``.
        """
        ...

    def finish(self) -> None:
        """End: the training is done, was stopped, or has failed."""
        ...
