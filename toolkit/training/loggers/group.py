"""Several loggers as one, whose faults never end a training that has begun."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hashkit.errors import TrainingError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.training.loggers.base import RunLogger

__all__ = ["LoggerGroup"]


class LoggerGroup:
    """The loggers of one training.

    Parameters
    ----------
    loggers
        By name, for messages.
    warn
        Takes one line when a logger fails.
    """

    def __init__(
        self,
        loggers: Sequence[tuple[str, RunLogger]] = (),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._loggers = list(loggers)
        self._working: list[tuple[str, RunLogger]] = []  # started, and without a fault since
        self._warn = warn

    @contextlib.contextmanager
    def running(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Start all loggers, and finish them at the end, even after an error.

        Raises
        ------
        TrainingError
            If one cannot start.
        """
        try:
            for name, logger in self._loggers:
                try:
                    logger.start(config)
                except Exception as error:  # another program's code may raise anything
                    raise TrainingError(
                        f"the logger {name} cannot start: {foreign_message(error)}: fix that, or "
                        "leave it out"
                    ) from error
                self._working.append((name, logger))
            yield
        finally:
            self._call_each("finish", lambda logger: logger.finish())
            self._working.clear()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Give values to all loggers."""
        self._call_each("log", lambda logger: logger.log(step, dict(values)))

    def _call_each(self, what: str, call: Callable[[RunLogger], None]) -> None:
        for one in list(self._working):
            name, logger = one
            try:
                call(logger)
            except Exception as error:  # see `running`
                self._working.remove(one)
                self._warn(
                    f"warning: the logger {name} failed in {what}: {foreign_message(error)}; it is "
                    "left out from here on, and metrics.jsonl has all numbers"
                )
