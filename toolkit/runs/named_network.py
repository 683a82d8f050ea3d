"""Which network a run may build: a name in a file never makes hashkit import code.

A checkpoint or a config.json may come from somebody else. Names of hashkit's own networks and of
models that timm and torchvision list are harmless there. All other names, such as
``module:FILE.py:NAME``, stand for code of the file's author: the user names it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Final

from hashkit.errors import ConfigError
from hashkit.runs.known_names import BUILT_IN_EMBEDDERS, is_exported_network, split_network

__all__ = [
    "absolute_network",
    "named_by",
    "network_to_build",
    "recorded_network",
    "runs_own_code",
]

_LISTED: Final = frozenset({"timm", "torchvision"})
"""Kinds whose argument is looked up in a library's own list of models."""

_KEPT: Final = "onnx"
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
    return bool(argument) and kind not in _LISTED and kind != _KEPT


def absolute_network(network: str) -> str:
    """The name with an absolute path, so that it is valid from any working folder."""
    kind, argument = split_network(network)
    place, name = _parts(argument)
    if kind == _KEPT:
        if argument in BUILT_IN_EMBEDDERS or is_exported_network(argument):
            return network
        return f"{kind}:{Path(argument).expanduser().resolve()}"
    if not runs_own_code(network) or not place.endswith(".py"):
        return network
    return f"{kind}:{Path(place).resolve()}:{name}"


def recorded_network(network: str) -> str:
    """The name as a model's metadata have it: an embedder's file without its folder."""
    kind, argument = split_network(network)
    return f"{kind}:{PurePath(argument).name}" if kind == _KEPT else network


@contextlib.contextmanager
def named_by(file: Path) -> Iterator[None]:
    """Let an error of a network that a file names, or of its settings, say which file that is."""
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
    with named_by(file):
        is_own_code = runs_own_code(recorded)
    if given is None:
        if is_own_code:
            raise ConfigError(
                f"{file} asks for the code of the network {recorded}, and what a file asks for is "
                f"not imported: if you trust that code, name it yourself with {_argument(recorded)}"
            )
        return recorded
    if _identity(given) != _identity(recorded):
        raise ConfigError(
            f"{file} has the network {recorded}, not {given}: name that one with "
            f"{_argument(recorded)}"
        )
    return absolute_network(given)


def _argument(network: str) -> str:
    """`network="..."`, as messages write an argument; quotes in the name would end it early."""
    return '`network="..."`' if set(network) & set('"`') else f'`network="{network}"`'


def _identity(network: str) -> tuple[str, ...]:
    """What two names of the same network share: file or module, and name, wherever they lie."""
    kind, argument = split_network(network)
    if not runs_own_code(network):
        return tuple(recorded_network(network).split(":", 1))
    place, name = _parts(argument)
    own = PurePath(place).name if place.endswith(".py") else place
    return kind, own, name


def _parts(argument: str) -> tuple[str, str]:
    place, _, name = argument.rpartition(":")
    return place, name
