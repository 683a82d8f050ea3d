"""Compiles kernels: once for each machine, and without holding Python's global lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from hashkit.kernels.cache import KernelCache

__all__ = ["inlined", "inlined_sums", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function at its first call with each combination of argument types.

    The machine code is kept (see `hashkit.kernels.cache`), and later processes load it. Kernels
    release Python's global lock, so threads run them in parallel.

    The cache is updated when the kernel's own file changes, but not when a kernel that it calls in
    another file does. After such a change, run ``make clean-kernels``.
    """
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    compiled._cache = KernelCache(function)
    return cast("Function", compiled)


def inlined_sums(function: Function) -> Function:
    """Compile like `inlined`, and let sums of floats be computed in any order, in vectors.

    The last digits may then differ between CPUs.
    """
    compiled = numba.njit(
        nogil=True,
        error_model="numpy",
        forceinline=True,
        fastmath={"reassoc", "contract", "nsz"},
    )(function)
    return cast("Function", compiled)


def inlined(function: Function) -> Function:
    """Compile a function into every kernel that calls it, for use in inner loops."""
    compiled = numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    return cast("Function", compiled)
