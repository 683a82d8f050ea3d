"""Linear search for several queries by population counts of whole vectors.

A block of rows that stays in a level-1 cache is copied into *groups*: the first word of 64 rows,
their second word, and so on, so that a code of any length is a number of words and a vector holds
one word of 8 rows. Each group is compared with four queries at a time. LLVM compiles the population
counts to what the CPU has: ``vpopcntq`` on AVX-512 with VPOPCNTDQ, shuffles on other x86, ``cnt``
on ARM.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import int64, types, uint64
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from hashkit.kernels.bits import load_word
from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.marked import take_marked
from hashkit.kernels.selection import Selection
from hashkit.kernels.vectors import popcounts, splat
from hashkit.kernels.words import code_word, last_mask, n_safe_rows

__all__ = ["block_words", "mark_near", "quad_words", "scan_counts"]

GROUP_ROWS: Final = 64
BLOCK_BYTES: Final = 16_384
"""Bytes of rows that all queries are compared with at a time: half a level-1 cache."""

N_TOGETHER: Final = 4
"""Queries that a group is compared with at a time: their words and bounds stay in registers."""

_LANES: Final = 8
_VECTORS: Final = 2
"""Vectors of rows that are compared at a time with each query."""

_STEPS: Final = GROUP_ROWS // (_LANES * _VECTORS)
_I8, _I64 = ir.IntType(8), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, _LANES)
_MASKS = ir.VectorType(_I64, N_TOGETHER)
_FALSE, _TRUE = ir.IntType(1)(0), ir.IntType(1)(1)
_VECTOR_BYTES: Final = 8 * _LANES
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


def block_words(size: int) -> int:
    """Words that `scan_counts` needs for blocks of codes of ``size`` bytes."""
    return max(BLOCK_BYTES // 8, GROUP_ROWS * ((size + 7) // 8)) + 8


def quad_words(query_words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The words of queries, uint64 [q, n_words], padded so that q is a multiple of 4."""
    return np.pad(query_words, ((0, -len(query_words) % N_TOGETHER), (0, 0)))


@kernel
def scan_counts(
    codes: Any,
    first_row: int,
    kept: Any,
    query_words: Any,
    memory: Any,
    top_k: int,
    state: Selection,
) -> None:
    """Update every query's selection with some rows.

    Parameters
    ----------
    codes
        uint8 [n, size], C-contiguous: the rows ``first_row`` to ``first_row + n``.
    kept
        bool [n], the rows to search; or bool [0] for all.
    query_words
        uint64 [q, n_words], see `quad_words`.
    memory
        uint64 [block_words(size)], buffer for a block.
    top_k, state
        See `hashkit.kernels.selection`.
    """
    n_rows, size = codes.shape
    n_queries, n_words = state.bounds.shape[0], query_words.shape[1]
    group_bytes = GROUP_ROWS * 8 * n_words
    block_rows = GROUP_ROWS * max(1, BLOCK_BYTES // group_bytes)
    begin = (-int64(memory.ctypes.data) & 63) >> 3
    buffer = uint64(memory.ctypes.data) + uint64(8 * begin)
    bounds = np.zeros(N_TOGETHER, np.int64)  # 0 without a query: nothing is below it
    near = np.empty(N_TOGETHER, np.uint64)
    for first in range(0, n_rows, block_rows):
        own_rows = min(block_rows, n_rows - first)
        block = buffer
        if size == 8 and own_rows % GROUP_ROWS == 0:  # a group as it is
            block = uint64(codes.ctypes.data) + uint64(first * size)
        else:
            copy_groups(codes, first, own_rows, memory, begin)
        for quad in range(0, n_queries, N_TOGETHER):
            own_queries = min(N_TOGETHER, n_queries - quad)
            for number in range(N_TOGETHER):
                bounds[number] = state.bounds[quad + number] if number < own_queries else 0
            words = uint64(query_words.ctypes.data) + uint64(8 * n_words * quad)
            for start in range(0, own_rows, GROUP_ROWS):
                group = block + uint64(start * 8 * n_words)
                own_bounds, own_near = uint64(bounds.ctypes.data), uint64(near.ctypes.data)
                if mark_near(group, n_words, words, own_bounds, own_near):
                    for number in range(own_queries):
                        if near[number]:
                            query = quad + number
                            take_marked(
                                query,
                                near[number],
                                first + start,
                                n_rows,
                                words + uint64(8 * n_words * number),
                                codes,
                                first_row,
                                kept,
                                top_k,
                                state,
                            )
                            bounds[number] = state.bounds[query]


@inner_kernel
def copy_groups(codes: Any, first: int, own_rows: int, memory: Any, place: int) -> None:
    """Copy rows from ``first`` on into groups, which begin at ``memory[place]``.

    Rows past the last one are left as they are.
    """
    n_rows, size = codes.shape
    n_words = (size + 7) // 8
    n_safe = n_safe_rows(n_rows, size)
    for start in range(0, own_rows, GROUP_ROWS):
        n_own = min(GROUP_ROWS, own_rows - start)
        source = uint64(codes.ctypes.data) + uint64((first + start) * size)
        is_safe = first + start + n_own <= n_safe
        for word in range(n_words):
            mask = last_mask(size) if word == n_words - 1 else _FULL
            if is_safe:
                for row in range(n_own):
                    memory[place + row] = load_word(source + uint64(row * size + 8 * word)) & mask
            else:
                for row in range(n_own):
                    memory[place + row] = code_word(source + uint64(row * size), size, word)
            place += GROUP_ROWS


@intrinsic
def mark_near(
    typing_context: Any, group: Any, n_words: Any, words: Any, bounds: Any, near: Any
) -> Any:
    """Whether any row of a group is nearer to one of four queries than its bound, and which are.

    Parameters
    ----------
    group
        Address of the group: uint64 [n_words, 64].
    n_words
        Words of a code.
    words
        Address of uint64 [4, n_words], the queries.
    bounds
        Address of int64 [4]: distances below them are near.
    near
        Address of uint64 [4], written: for each query, bit i is 1 if row i is near.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        group_, n_words_, words_, bounds_, near_ = arguments
        limits = [
            splat(builder, _load(builder, bounds_, _I64(8 * query)), _LANES)
            for query in range(N_TOGETHER)
        ]
        span = builder.mul(n_words_, _I64(8))
        queries = [builder.add(words_, builder.mul(span, _I64(q))) for q in range(N_TOGETHER)]
        is_any = cgutils.alloca_once_value(builder, _FALSE)
        no_rows = ir.Constant(_MASKS, [0] * N_TOGETHER)
        builder.store(no_rows, builder.inttoptr(near_, _MASKS.as_pointer()), align=8)
        with cgutils.for_range(builder, _I64(_STEPS)) as step:
            rows = builder.add(group_, builder.mul(step.index, _I64(_VECTORS * _VECTOR_BYTES)))
            slots = [
                cgutils.alloca_once_value(builder, total)
                for total in _counts(builder, rows, queries, _I64(0))
            ]
            with cgutils.for_range(builder, builder.sub(n_words_, _I64(1))) as word:
                following = builder.add(word.index, _I64(1))
                for slot, more in zip(
                    slots, _counts(builder, rows, queries, following), strict=True
                ):
                    builder.store(builder.add(builder.load(slot), more), slot)
            totals = [builder.load(slot) for slot in slots]
            with builder.if_then(_is_any_below(builder, totals, limits), likely=False):
                _store_near(builder, totals, limits, near_, step.index)
                builder.store(_TRUE, is_any)
        return builder.load(is_any)

    signature = types.boolean(types.uint64, types.int64, types.uint64, types.uint64, types.uint64)
    return signature, generate


def _is_any_below(builder: Any, totals: list[Any], limits: list[Any]) -> Any:
    """Whether any count is below its query's bound: comparisons that mask each other are free."""
    are_far = None
    for number, total in enumerate(totals):
        flags = builder.icmp_signed(">=", total, limits[number // _VECTORS])
        are_far = flags if are_far is None else builder.and_(are_far, flags)
    return builder.icmp_unsigned("!=", builder.bitcast(are_far, _I8), _I8(-1))


def _store_near(builder: Any, totals: list[Any], limits: list[Any], near: Any, step: Any) -> None:
    """Store which counts are below the bounds as bytes of the queries' masks."""
    for number, total in enumerate(totals):
        query, part = divmod(number, _VECTORS)
        flags = builder.icmp_signed("<", total, limits[query])
        byte = builder.add(builder.mul(step, _I64(_VECTORS)), _I64(8 * query + part))
        place = builder.inttoptr(builder.add(near, byte), _I8.as_pointer())
        builder.store(builder.bitcast(flags, _I8), place)


def _counts(builder: Any, rows: Any, queries: list[Any], word: Any) -> list[Any]:
    """Differing bits of one word: `_VECTORS` vectors of rows for each query in turn."""
    offset = builder.mul(word, _I64(8))
    source = builder.add(rows, builder.mul(word, _I64(8 * GROUP_ROWS)))
    vectors = []
    for part in range(_VECTORS):
        pointer = builder.inttoptr(
            builder.add(source, _I64(part * _VECTOR_BYTES)), _VECTOR.as_pointer()
        )
        vectors.append(builder.load(pointer, align=1))
    counts = []
    for query in queries:
        compared = splat(builder, _load(builder, query, offset), _LANES)
        counts += [popcounts(builder, builder.xor(vector, compared)) for vector in vectors]
    return counts


def _load(builder: Any, address: Any, offset: Any) -> Any:
    pointer = builder.inttoptr(builder.add(address, offset), _I64.as_pointer())
    return builder.load(pointer)
