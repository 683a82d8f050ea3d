"""Loggers of a training, named or a caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown
from hashkit.runs.known_names import LOGGERS, check_name
from hashkit.runs.run import Run
from hashkit.workflow.extras import require
from hashkit.workflow.reporter import Reporter

if TYPE_CHECKING:
    from hashkit.training.loggers import RunLogger
    from hashkit.training.loggers.group import LoggerGroup

__all__ = ["check_loggers", "logger_group", "logging_config"]

_METHODS = ("start", "log", "finish")


def check_loggers(loggers: Any) -> tuple[str | RunLogger, ...]:
    """Check loggers before anything is read or computed.

    Raises
    ------
    ConfigError
        If one is neither a known name nor has the methods of a logger.
    MissingExtraError
        If a named one is not installed.
    """
    if isinstance(loggers, str) or not isinstance(loggers, Sequence):
        raise ConfigError(
            '`loggers` must be a list of names or objects, as in `loggers=["tensorboard"]`, not '
            f"{argument_shown(loggers)}"
        )
    for logger in loggers:
        if isinstance(logger, str):
            check_name("logger", logger, LOGGERS)
            require(logger, f"the logger {logger}", logger)
        elif isinstance(logger, type) or not all(
            callable(getattr(logger, m, None)) for m in _METHODS
        ):
            raise ConfigError(
                f"a logger must be {', '.join(LOGGERS)} or an object with the methods "
                f"{', '.join(_METHODS)}, not {argument_shown(logger)}"
            )
    names = [logger for logger in loggers if isinstance(logger, str)]
    if len(set(names)) < len(names):
        raise ConfigError("`loggers` has a name twice: leave one of them out")
    return tuple(loggers)


def logger_group(loggers: Sequence[str | RunLogger], reporter: Reporter) -> LoggerGroup:
    """The loggers of `check_loggers` as one; one that fails later is noted."""
    from hashkit.training.loggers import LOGGERS as KINDS
    from hashkit.training.loggers.group import LoggerGroup

    made = [
        (logger, KINDS[logger]()) if isinstance(logger, str) else (type(logger).__name__, logger)
        for logger in loggers
    ]
    return LoggerGroup(made, reporter.note)


def logging_config(run: Run, first_step: int, n_steps: int) -> dict[str, Any]:
    """What `RunLogger.start` gets."""
    return {
        **run.read_config().to_dict(),
        "name": run.path.resolve().name,
        "path": str(run.path),
        "first_step": first_step,
        "n_steps": n_steps,
    }
