"""Where compiled kernels are kept: in a folder that this process writes, or one that it only reads.

Numba uses the first folder that is writable: ``NUMBA_CACHE_DIR``, the one beside the source, or the
user's. In a read-only image, or if another user installed hashkit, this is not the folder to which
``hashkit compile`` wrote the kernels. So folders that are not writable are read too.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from numba.core import caching, config

__all__ = ["CACHES", "KernelCache"]

CACHES: Final[list[KernelCache]] = []
"""The caches of all kernels whose modules were imported."""

_UNREADABLE: Final = (OSError, EOFError, pickle.UnpicklingError)


def _locator(name: str) -> Any:
    """A class of Numba, whose name began with an underscore before Numba 0.62."""
    return getattr(caching, name, None) or getattr(caching, f"_{name}")


class _GivenFolder(_locator("UserProvidedCacheLocator")):  # type: ignore[misc]
    """``NUMBA_CACHE_DIR``, if it has kernels."""

    @classmethod
    def from_function(cls, function: Any, source: str) -> Any:
        if not config.CACHE_DIR:
            return None
        found = cls(function, source)
        return found if Path(found.get_cache_path()).is_dir() else None


class _SourceFolder(_locator("InTreeCacheLocator")):  # type: ignore[misc]
    """The folder beside the source, if it has kernels."""

    @classmethod
    def from_function(cls, function: Any, source: str) -> Any:
        found = cls(function, source)
        return found if Path(found.get_cache_path()).is_dir() else None


def _reading(locator: type[Any]) -> type[Any]:
    """Numba's cache of a function in one folder, to read from only."""
    implementation = type(
        "_ReadImplementation", (caching.CompileResultCacheImpl,), {"_locator_classes": [locator]}
    )
    return type("_ReadCache", (caching.FunctionCache,), {"_impl_class": implementation})


_READ: Final = (_reading(_GivenFolder), _reading(_SourceFolder))


class KernelCache:
    """Keeps the machine code of one kernel; takes the place of Numba's cache in a dispatcher.

    Attributes
    ----------
    n_loaded, n_compiled
        Versions of the kernel that this process loaded, and that it compiled.
    is_kept
        Whether compiled versions could be written.
    source
        The file that the kernel is written in.
    found_in
        Folder that the kernel was loaded from or written to; None if there is none.
    reads_others
        For all caches: whether folders that are not written to are read.
    """

    reads_others: ClassVar[bool] = True

    def __init__(self, function: Callable[..., Any]) -> None:
        self.source = function.__code__.co_filename
        self._own: Any = caching.NullCache()
        with contextlib.suppress(RuntimeError):  # Numba found no writable folder
            self._own = caching.FunctionCache(function)
        self._caches = [self._own]
        for kind in _READ:
            with contextlib.suppress(RuntimeError):
                if (one := kind(function)).cache_path != self._own.cache_path:
                    self._caches.append(one)
        self.n_loaded = self.n_compiled = 0
        self.is_kept = self._own.cache_path is not None
        self.found_in: str | None = None
        CACHES.append(self)

    @property
    def cache_path(self) -> str | None:
        """Folder that is written to; None if there is none."""
        path: str | None = self._own.cache_path
        return path

    @property
    def is_new(self) -> bool:
        """Whether no folder has a version of the kernel, so that its first call compiles."""
        files = [getattr(one, "_cache_file", None) for one in self._caches]
        with contextlib.suppress(*_UNREADABLE):
            return not any(file and file._load_index() for file in files)
        return True

    def load_overload(self, signature: Any, context: Any) -> Any:
        """One version of the kernel from the first folder that has it; None if none does."""
        for one in self._caches if self.reads_others else self._caches[:1]:
            with contextlib.suppress(*_UNREADABLE):
                found = one.load_overload(signature, context)
                if found is not None:
                    self.n_loaded += 1
                    self.found_in = one.cache_path
                    return found
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a version of the kernel, if its folder is still writable."""
        self.n_compiled += 1
        try:
            self._own.save_overload(signature, result)
            self.found_in = self._own.cache_path
        except OSError:  # a full disk must not end a search
            self.is_kept = False

    def enable(self) -> None:
        """Do nothing: the cache is always in use."""

    def disable(self) -> None:
        """Do nothing: the cache is always in use."""

    def flush(self) -> None:
        """Forget what is kept in the folder that is written to."""
        self._own.flush()
