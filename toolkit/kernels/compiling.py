"""Compiles kernels: once for each machine, and without holding Python's global lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from hashkit.kernels.cache import KernelCache

__all__ = ["inlined", "inlined_sums", "inner_kernel", "is_new", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function at its first call with each combination of argument types.

    The machine code is kept (see `hashkit.kernels.cache`), and later processes load it. Kernels
    release Python's global lock, so threads run them in parallel.

    The cache is updated when the kernel's own file changes, but not when a kernel that it calls in
    another file does. After such a change, run ``make clean-kernels``.
    """
    compiled = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    compiled._cache = KernelCache(function)
    return cast("Function", compiled)


def is_new(compiled: Callable[..., Any]) -> bool:
    """Whether the first call of a kernel will compile it, because no process has kept it."""
    cache: KernelCache = compiled._cache  # type: ignore[attr-defined]
    return cache.is_new and not cache.n_compiled


def inner_kernel(function: Function) -> Function:
    """Compile a function that only other kernels call; a call from Python raises TypeError.

    This leaves out the code that converts arguments from Python and results to Python, which would
    be compiled again in each caller: the kernels of an index compile in a third less time.
    """
    compiled = numba.njit(
        nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
    compiled._cache = KernelCache(function)
    return cast("Function", _closed_to_python(compiled))


def inlined(function: Function) -> Function:
    """Compile a function into every kernel that calls it, for use in inner loops."""
    return _inlined(function)


def inlined_sums(function: Function) -> Function:
    """Compile like `inlined`, and let sums of floats be computed in any order, in vectors.

    The last digits may then differ between CPUs.
    """
    return _inlined(function, fastmath={"reassoc", "contract", "nsz"})


def _inlined(function: Function, **options: Any) -> Function:
    compiled = numba.njit(
        nogil=True,
        error_model="numpy",
        forceinline=True,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **options,
    )(function)
    return cast("Function", _closed_to_python(compiled))


def _closed_to_python(compiled: Any) -> Any:
    """Let a call from Python raise; Numba would jump to code that was left out, and crash."""

    def refuse(*_: object) -> None:
        raise TypeError(f"{compiled.py_func.__name__} can only be called by kernels")

    def keep_version(version: Any) -> None:  # for kernels; a call from Python does not find it
        compiled.overloads[tuple(version.signature.args)] = version

    compiled._compile_for_args = refuse
    compiled.add_overload = keep_version
    return compiled
