"""Which network or loss a run may build: a name in a file never makes hashkit import code.

A checkpoint or a config.json may come from somebody else. Names of hashkit's own networks and
losses, and of models that timm and torchvision list, are harmless there. All other names, such as
``module:FILE.py:NAME``, stand for code of the file's author: the user names it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final, Literal, TypeAlias

from hashkit.errors import ConfigError
from hashkit.inputs.paths import with_home
from hashkit.runs.known_names import (
    BUILT_IN_EMBEDDERS,
    OWN_CODE,
    is_exported_network,
    split_loss,
    split_network,
)

__all__ = [
    "absolute_loss",
    "absolute_network",
    "is_own_loss",
    "loss_to_build",
    "named_by",
    "network_to_build",
    "recorded_loss",
    "recorded_network",
    "runs_own_code",
]

_LISTED: Final = frozenset({"timm", "torchvision"})
"""Kinds whose argument is looked up in a library's own list of models."""

_Setting: TypeAlias = Literal["network", "loss"]
"""A setting that may name code."""

_GRAPH_KIND: Final = "onnx"
"""Kind whose graph is kept in the run, so that the file it was made from is not opened again."""


def runs_own_code(network: str) -> bool:
    """Whether building a network imports code or opens a file that its name points to.

    A kind that is not known to be harmless counts as one that does.

    Raises
    ------
    ConfigError
        If there is no such kind of network.
    """
    kind, argument = split_network(network)
    return bool(argument) and kind not in _LISTED and kind != _GRAPH_KIND


def is_own_loss(loss: str) -> bool:
    """Whether building a loss imports the user's code.

    Raises
    ------
    ConfigError
        If there is no such loss.
    """
    return split_loss(loss)[0] == OWN_CODE


def absolute_loss(loss: str) -> str:
    """The name with an absolute path, so that it is valid from any working folder."""
    return _absolute_own(loss) if is_own_loss(loss) else loss


def absolute_network(network: str) -> str:
    """The name with an absolute path, so that it is valid from any working folder."""
    kind, argument = split_network(network)
    if kind == _GRAPH_KIND:
        if argument in BUILT_IN_EMBEDDERS or is_exported_network(argument):
            return network
        return f"{kind}:{with_home(argument).resolve()}"
    return _absolute_own(network) if runs_own_code(network) else network


def _absolute_own(code: str) -> str:
    kind, _, argument = code.partition(":")
    place, name = _parts(argument)
    return f"{kind}:{with_home(place).resolve()}:{name}" if place.endswith(".py") else code


def recorded_network(network: str) -> str:
    """The name as a model's metadata have it: a file without its folder."""
    kind, argument = split_network(network)
    if kind == _GRAPH_KIND:
        return f"{kind}:{PurePath(argument).name}"
    return _recorded_own(network) if runs_own_code(network) else network


def recorded_loss(loss: str) -> str:
    """The name as a model's metadata have it; see `recorded_network`."""
    return _recorded_own(loss) if is_own_loss(loss) else loss


def _recorded_own(code: str) -> str:
    kind, _, argument = code.partition(":")
    place, name = _parts(argument)
    return f"{kind}:{PurePath(place).name}:{name}" if place.endswith(".py") else code


@contextlib.contextmanager
def named_by(file: Path) -> Iterator[None]:
    """Let an error about a name or a setting in a file name that file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def network_to_build(recorded: str, given: str | None, file: Path) -> str:
    """The network of a run, once it is clear that the user wants its code.

    Parameters
    ----------
    recorded
        The name in ``file``.
    given
        The name that the user gave; None if none. Its file may lie elsewhere.
    file
        What records the network, for the message.

    Raises
    ------
    ConfigError
        If the network runs code and was not named, or another one was named.
    """
    return _to_build("network", recorded, given, file)


def loss_to_build(recorded: str, given: str | None, file: Path) -> str:
    """The loss of a run, once it is clear that the user wants its code; see `network_to_build`."""
    return _to_build("loss", recorded, given, file)


_RUNS_CODE: Final[Mapping[_Setting, Callable[[str], bool]]] = {
    "network": runs_own_code,
    "loss": is_own_loss,
}
_ABSOLUTE: Final[Mapping[_Setting, Callable[[str], str]]] = {
    "network": absolute_network,
    "loss": absolute_loss,
}


def _to_build(setting: _Setting, recorded: str, given: str | None, file: Path) -> str:
    with named_by(file):
        is_own_code = _RUNS_CODE[setting](recorded)
    remedy = _argument(setting, recorded)
    if given is None:
        if is_own_code:
            raise ConfigError(
                f"{file} names the code of the {setting} {recorded}, and code that only a file "
                f"names is not imported: if you trust that code, name it yourself with {remedy}"
            )
        return recorded
    if _identity(setting, given) != _identity(setting, recorded):
        raise ConfigError(
            f"{file} has the {setting} {recorded}, not {given}: name that one with {remedy}"
        )
    return _ABSOLUTE[setting](given)


def _argument(setting: _Setting, name: str) -> str:
    """`network="..."`, as messages write an argument; quotes in the name would end it early."""
    return f'`{setting}="..."`' if set(name) & set('"`') else f'`{setting}="{name}"`'


def _identity(setting: _Setting, name: str) -> tuple[str, ...]:
    """What two names of the same code share: file or module, and name, wherever they lie."""
    if not _RUNS_CODE[setting](name):
        return tuple((recorded_network(name) if setting == "network" else name).split(":", 1))
    kind, _, argument = name.partition(":")
    place, own = _parts(argument)
    return kind, PurePath(place).name if place.endswith(".py") else place, own


def _parts(argument: str) -> tuple[str, str]:
    place, _, name = argument.rpartition(":")
    return place, name
