"""The user's own loss: ``module:PACKAGE.MODULE:NAME`` or ``module:FILE.py:NAME``.

NAME is one of

- a function of ``(logits, targets)``, float32 [B, n_bits] and the labels of the images, that
  returns a scalar tensor;
- a subclass of ``torch.nn.Module`` that is made without arguments and called in the same way, as
  the losses of pytorch-metric-learning are;
- a subclass of `hashkit.training.losses.Loss`, which gets the task and its options.

A function or a module may have the attributes of `Loss` that say what it learns from and takes; it
has no options. It may return a `LossValue` in place of a tensor, which has the fraction of active
terms.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

import torch
from torch import Tensor, nn

from hashkit.errors import ConfigError, TrainingError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.config import LOSS_OPTIONS
from hashkit.runs.known_names import OWN_CODE
from hashkit.training.losses.base import LearnsFrom, Loss, LossValue, Task
from hashkit.training.own_code import import_own

__all__ = ["own_loss"]

_FLAGS: Final = ("takes_multi_label", "takes_triplets", "compares_images")


class _OwnLoss(Loss):
    """A wrapper of the user's code, whose errors become one line with the place in that code.

    Attributes
    ----------
    name
        As in the settings.
    made
        What the name stands for.
    """

    name: ClassVar[str]
    made: ClassVar[Callable[..., Any]]

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        # The parameters of a module are learned, and its buffers are saved.
        self.own: Callable[..., Any] = self._made(task, options)

    def begin_step(self, progress: float) -> None:
        """Pass on the fraction of the run that is done, if the user's loss takes it."""
        if isinstance(self.own, Loss):
            self._guarded(self.own.begin_step, progress)

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of a batch."""
        return self._value(self._guarded(self.own, logits, targets))

    def of_triplets(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over given triplets."""
        own: Any = self.own
        return self._value(self._guarded(own.of_triplets, logits, triplets))

    def _made(self, task: Task, options: dict[str, Any]) -> Callable[..., Any]:
        made = type(self).made
        known = _options_of(made)
        if unknown := sorted(options.keys() - set(known)):
            raise ConfigError(
                f"the loss {self.name} has no {', '.join(unknown)}; it has "
                f"{', '.join(known) or 'no options'}"
            )
        if not isinstance(made, type):
            return made
        arguments = (task,) if issubclass(made, Loss) else ()
        try:
            own: Callable[..., Any] = made(*arguments, **options)
        except Exception as error:
            given = "its task and options" if arguments else "no arguments"
            raise ConfigError(
                f"the loss {self.name} is made with {given}; the call failed: "
                f"{foreign_message(error)}{_raised_at(error)}"
            ) from error
        return own

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:  # the user's own code may raise anything
            shown = ", ".join(map(_shape, arguments))
            raise TrainingError(
                f"the loss {self.name} failed with {type(error).__name__}: "
                f"{foreign_message(error)}{_raised_at(error)}; it was called with {shown}"
            ) from error

    def _value(self, value: Any) -> LossValue:
        total: object = value.value if isinstance(value, LossValue) else value
        if not isinstance(total, Tensor) or total.ndim or not total.requires_grad:
            raise TrainingError(
                f"the loss {self.name} must return a scalar tensor that was computed from the "
                f"logits, not {_shape(total)}"
            )
        if isinstance(value, LossValue):
            return value
        return LossValue(total, None)


def own_loss(argument: str) -> type[Loss]:
    """Class of the user's own loss.

    Parameters
    ----------
    argument
        ``PACKAGE.MODULE:NAME`` or ``FILE.py:NAME``; importing it runs its code.

    Raises
    ------
    ConfigError
        If it cannot be imported, or is not a loss.
    """
    made = import_own("loss", argument)
    name = f"{OWN_CODE}:{argument}"
    is_loss_class = inspect.isclass(made) and issubclass(made, nn.Module)
    if not callable(made) or (inspect.isclass(made) and not is_loss_class):
        raise ConfigError(
            f"loss {name} must be a function of (logits, targets), or a subclass of "
            f"torch.nn.Module, not {_shape(made)}"
        )
    facts: dict[str, Any] = {"name": name, "made": staticmethod(made)}
    facts["learns_from"] = getattr(made, "learns_from", Loss.learns_from)
    if facts["learns_from"] not in get_args(LearnsFrom):
        raise ConfigError(
            f"loss {name}: `learns_from` must be one of {', '.join(get_args(LearnsFrom))}, not "
            f"{facts['learns_from']!r}"
        )
    for flag in _FLAGS:
        default = flag == "compares_images"  # batches with several images per class harm no loss
        facts[flag] = bool(getattr(made, flag, default))
    return type("OwnLoss", (_OwnLoss,), facts)


def _options_of(made: Callable[..., Any]) -> list[str]:
    """Options of training that the user's loss takes, in the order of its own arguments."""
    if not inspect.isclass(made) or not issubclass(made, Loss):
        return []
    return [name for name in inspect.signature(made).parameters if name in LOSS_OPTIONS]


def _raised_at(error: BaseException) -> str:
    """Where an exception was raised: the last line in its traceback outside torch and this file."""
    frames: Iterator[traceback.FrameSummary] = reversed(traceback.extract_tb(error.__traceback__))
    for frame in frames:
        path = Path(frame.filename)
        if path != Path(__file__) and Path(torch.__file__).parent not in path.parents:
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        attached = "" if value.requires_grad or value.ndim else " that needs no gradient"
        return f"{kind} {list(value.shape)}{attached}"
    return type(value).__name__
