"""The user's own network: ``module:PACKAGE.MODULE:NAME`` or ``module:FILE.py:NAME``.

NAME is a subclass of ``torch.nn.Module`` or a function that returns a module; it is called without
arguments. The module takes images, float [N, 3, H, W], normalised by the training images, and
returns features, float [N, d] or float [N, d, h, w], for any N. It may have a method ``stages()``
like that of `hashkit.training.networks.Network`. If the network takes only one input size, NAME has
an attribute ``input_size``, (height, width) in pixels.

A `Network` is used without a wrapper, with its own head and calibration.

Importing a module runs its code: name only modules that you trust. A name that stands in a
checkpoint or config.json is not enough (`hashkit.runs.named_code`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from torch import nn

from hashkit.errors import ConfigError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.known_names import OWN_CODE
from hashkit.training.networks.base import InputRule, Network
from hashkit.training.networks.wrapped import Wrapped
from hashkit.training.own_code import import_own

__all__ = ["build_own", "own_input_rule"]

_TRIAL_SIZE: Final = (64, 64)
"""(height, width) of the images that a network of any size is tested with."""


def build_own(argument: str, dropout: float) -> Network:
    """Build a network from the user's class or function.

    Parameters
    ----------
    argument
        ``PACKAGE.MODULE:NAME`` or ``FILE.py:NAME``; importing it runs its code.
    dropout
        Fraction of features dropped before the head.

    Raises
    ------
    ConfigError
        If it cannot be imported or called, or does not return a network.
    """
    make = _factory(argument)
    try:
        body = make()
    except Exception as error:
        raise ConfigError(
            f"network {OWN_CODE}:{argument} must be a class or function that takes no arguments; "
            f"the call failed: {foreign_message(error)}"
        ) from error
    if not isinstance(body, nn.Module):
        raise ConfigError(
            f"network {OWN_CODE}:{argument} must return a torch.nn.Module, not "
            f"{type(body).__name__}"
        )
    if isinstance(body, Network):
        return body
    size = _input_size(make, argument)
    return Wrapped(
        body,
        name=f"{OWN_CODE}:{argument}",
        size=size or _TRIAL_SIZE,
        any_size=size is None,
        dropout=dropout,
        stages=_stages(body),
    )


def own_input_rule(argument: str) -> InputRule:
    """Input rule with the ``input_size`` of the user's network, or with any size if it has none.

    Raises
    ------
    ConfigError
        If the network cannot be imported, or its ``input_size`` is invalid.
    """
    return InputRule(size=_input_size(_factory(argument), argument))


def _factory(argument: str) -> Callable[[], Any]:
    made = import_own("network", argument)
    if isinstance(made, nn.Module) or not callable(made):
        raise ConfigError(
            f"network {OWN_CODE}:{argument} must be a class or a function that returns a network, "
            f"not {type(made).__name__}"
        )
    factory: Callable[[], Any] = made
    return factory


def _stages(body: nn.Module) -> Sequence[nn.Module] | None:
    stages = getattr(body, "stages", None)
    # A module named "stages" may be any part of the network; only a method follows the interface.
    if stages is None or isinstance(stages, nn.Module) or not callable(stages):
        return None
    return list(stages())


def _input_size(factory: Callable[[], Any], argument: str) -> tuple[int, int] | None:
    size = getattr(factory, "input_size", None)
    if size is None:
        return None
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ConfigError(
            f"network {OWN_CODE}:{argument}: `input_size` must be (height, width) in pixels, "
            f"not {size!r}"
        )
    return height, width
