"""Machine instructions that Numba has no name for: counting set bits, and reading words anywhere.

Addresses are those of NumPy arrays (``array.ctypes.data``), as uint64; whoever passes one keeps
the array alive and says in its docstring how many bytes are read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["load_word", "popcount", "trailing_zeros"]

_I64 = ir.IntType(64)


@intrinsic
def popcount(typing_context: Any, word: Any) -> Any:
    """Number of set bits of an unsigned integer, as that type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Number of the lowest set bit of an unsigned integer other than 0, as that type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@intrinsic
def load_word(typing_context: Any, address: Any) -> Any:
    """The 8 bytes at an address, which needs no alignment, as a little-endian uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = builder.load(builder.inttoptr(arguments[0], _I64.as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(types.uint64), generate
