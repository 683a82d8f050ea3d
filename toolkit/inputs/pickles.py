"""Reads pickles without running code from them.

A pickle is a program that can call any function it names. Here only permitted names are allowed,
and each stands for a class or function of hashkit that only stores values.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar, Final, TypeAlias

from hashkit.errors import HashkitError
from hashkit.inputs.text import shown

__all__ = ["PermittedNames", "read_pickle"]

PermittedNames: TypeAlias = Mapping[tuple[str, str], Any]
"""What stands for the names of a pickle, by module and name."""

# Not in any file that is read here. The first three allocate memory of any size for eight bytes;
# the others return objects that this process may have registered for its own pickles.
_REFUSED: Final = (
    pickle.BYTEARRAY8,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
)


def read_pickle(
    stream: BinaryIO,
    name: str,
    permitted: PermittedNames,
    *,
    error: type[HashkitError],
    needed_by: str,
    fix: str,
    encoding: str = "ASCII",
    resolve: Callable[[Any], object] | None = None,
) -> Any:
    """Read one pickle from a stream, which is left at the byte after it.

    Parameters
    ----------
    stream
        The pickle, of any protocol, and what follows it.
    name
        The file's name for messages.
    permitted
        What stands for each name. An object whose class has ``__setstate__`` receives its state;
        no other object may have one.
    error
        The exception to raise.
    needed_by, fix
        For messages: which kind of file needs no other names, and how to get a good file.
    encoding
        Encoding of the text of Python 2, or ``bytes``.
    resolve
        Turns a persistent id into an object; without it, they are refused.

    Raises
    ------
    HashkitError
        If the pickle is damaged or names anything else.
    """
    reader = _Unpickler(stream, encoding=encoding)
    reader.permitted = permitted
    reader.resolve = resolve
    try:
        return reader.load()
    except _ForbiddenNameError as forbidden:
        raise error(
            f"{name}: refused, because this pickle calls {forbidden}, which no {needed_by} needs; "
            f"{fix}"
        ) from None
    except Exception as damage:  # a damaged pickle may raise anything
        raise error(
            f"{name}: the file is damaged or truncated ({type(damage).__name__}); {fix}"
        ) from None


class _ForbiddenNameError(Exception):
    """A name that is not permitted."""


class _Unpickler(pickle._Unpickler):
    # Written in Python: the compiled one allocates memory for every number up to the largest that
    # a file gives to an object, 64 GiB for a file of eight bytes.
    permitted: PermittedNames
    resolve: Callable[[Any], object] | None
    stack: list[Any]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: action
        for code, action in pickle._Unpickler.dispatch.items()
        if code not in {refused[0] for refused in _REFUSED}
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.permitted[module, name]
        except KeyError:
            raise _ForbiddenNameError(shown(f"{module}.{name}")) from None

    def persistent_load(self, pid: Any) -> object:
        if self.resolve is None:
            raise pickle.UnpicklingError
        return self.resolve(pid)

    def _set_state(self) -> None:
        """Replaces the original, which also sets attributes of functions and classes."""
        state = self.stack.pop()
        target = self.stack[-1]
        type(target).__setstate__(target, state)

    dispatch[pickle.BUILD[0]] = _set_state
