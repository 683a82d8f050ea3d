"""How kernels are compiled: for this machine, once, and without holding Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["inlined", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function when it is first called with arguments of some types.

    The machine code is kept on disk beside the source, or in the user's cache folder where that
    is read-only, so that later processes load it; where neither can be written, each process
    compiles anew. Kernels release Python's lock: threads run them side by side.

    What is kept is renewed when the kernel's own file changes, not when a kernel of another file
    that it calls does: after such a change, ``make clean-kernels``.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no folder that it may write to
        compiled = numba.njit(**options)(function)
    return cast("Function", compiled)


def inlined(function: Function) -> Function:
    """Compile a function into every kernel that calls it: for steps of an inner loop."""
    compiled = numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    return cast("Function", compiled)
