"""Compares many rows at once in vector registers, written as LLVM instructions.

Each function stops at the first iteration with a row that may be near, and the caller finds that
row: on a large database nearly every iteration has none. LLVM maps the vectors of 256 bits and
their population counts to the CPU's instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["GATHERED_ROWS", "popcounts", "skip_far_gathered", "skip_far_packed", "splat"]

GATHERED_ROWS: Final = 8
"""Rows that `skip_far_gathered` compares per iteration."""

PACKED_BYTES: Final = 64
"""Bytes that `skip_far_packed` compares per iteration."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_BITS: Final = 256


@intrinsic(prefer_literal=True)
def skip_far_packed(
    typing_context: Any, address: Any, n_iterations: Any, words: Any, bound: Any, width: Any
) -> Any:
    """Skip `PACKED_BYTES` bytes per iteration until some code is nearer than ``bound``.

    The codes take ``width`` bytes each, a literal 1, 2, 4, 8, 16 or 32, from ``address`` on;
    ``words`` is the address of the query's words. Returns the number of iterations without a near
    code, at most ``n_iterations``.
    """
    width_ = width.literal_value
    bits = 8 * min(width_, 8)  # of a lane
    n_vectors = max(8 * PACKED_BYTES, 4 * 8 * width_) // _BITS
    iteration_bytes = n_vectors * _BITS // 8

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, n_iterations_, words_, bound_, _ = arguments
        vector = ir.VectorType(ir.IntType(bits), _BITS // bits)
        query = _repeated(builder, words_, width_, vector)
        limit = splat(builder, _narrow(builder, bound_, bits), vector.count)
        with _iterations(builder, n_iterations_) as (iteration, result):
            place = builder.add(start, builder.mul(iteration, _I64(iteration_bytes)))
            counts = []
            for part in range(n_vectors):
                pointer = builder.inttoptr(
                    builder.add(place, _I64(part * _BITS // 8)), vector.as_pointer()
                )
                loaded = builder.load(pointer, align=1)
                counts.append(popcounts(builder, builder.xor(loaded, query)))
            for step in (16, 32):  # rows of several words: add neighbouring lanes
                if width_ >= step:
                    counts = [
                        _added(builder, left, right, step)
                        for left, right in zip(counts[::2], counts[1::2], strict=True)
                    ]
            result(_any(builder, [builder.icmp_unsigned("<", one, limit) for one in counts]))
        return result.value

    signature = types.int64(types.uint64, types.int64, types.uint64, types.int64, width)
    return signature, generate


@intrinsic(prefer_literal=True)
def skip_far_gathered(
    typing_context: Any,
    address: Any,
    n_iterations: Any,
    size: Any,
    mask: Any,
    words: Any,
    n_words: Any,
    bound: Any,
) -> Any:
    """Skip `GATHERED_ROWS` rows per iteration until one of them is nearer than ``bound``.

    The rows take ``size`` bytes each, from ``address`` on; ``words`` is the address of the query's
    ``n_words`` words, of which the last is masked with ``mask``. ``n_words`` may be a literal,
    which unrolls the loop over words. Returns the number of iterations without a near row, at most
    ``n_iterations``.
    """
    literal = getattr(n_words, "literal_value", None)
    vector = ir.VectorType(_I64, _BITS // 64)
    n_vectors = GATHERED_ROWS // vector.count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, n_iterations_, size_, mask_, words_, n_words_, bound_ = arguments
        limit = splat(builder, bound_, vector.count)
        span = builder.mul(size_, _I64(GATHERED_ROWS))

        def counts_of(row: Any, word: Any, is_last: bool) -> list[Any]:
            query = builder.load(
                builder.inttoptr(builder.add(words_, builder.shl(word, _I64(3))), _I64.as_pointer())
            )
            counts = []
            place = builder.add(row, builder.shl(word, _I64(3)))
            for _ in range(n_vectors):
                gathered = ir.Constant(vector, ir.Undefined)
                for lane in range(vector.count):
                    loaded = builder.load(builder.inttoptr(place, _I64.as_pointer()), align=1)
                    gathered = builder.insert_element(gathered, loaded, _I32(lane))
                    place = builder.add(place, size_)
                if is_last:
                    gathered = builder.and_(gathered, splat(builder, mask_, vector.count))
                compared = builder.xor(gathered, splat(builder, query, vector.count))
                counts.append(popcounts(builder, compared))
            return counts

        last = builder.sub(n_words_, _I64(1))
        with _iterations(builder, n_iterations_) as (iteration, result):
            row = builder.add(start, builder.mul(iteration, span))
            totals = counts_of(row, last, True)
            if literal is None:
                slots = [cgutils.alloca_once_value(builder, total) for total in totals]
                with cgutils.for_range(builder, last) as loop:
                    for slot, counts in zip(slots, counts_of(row, loop.index, False), strict=True):
                        builder.store(builder.add(builder.load(slot), counts), slot)
                totals = [builder.load(slot) for slot in slots]
            else:
                for word in range(literal - 1):
                    more = counts_of(row, _I64(word), False)
                    totals = [builder.add(a, b) for a, b in zip(totals, more, strict=True)]
            result(_any(builder, [builder.icmp_unsigned("<", t, limit) for t in totals]))
        return result.value

    signature = types.int64(
        types.uint64, types.int64, types.int64, types.uint64, types.uint64, n_words, types.int64
    )
    return signature, generate


class _Stop:
    """Ends a loop of `_iterations` when its argument is true; ``value`` is the iteration count."""

    def __init__(self) -> None:
        self.condition: Any = None
        self.value: Any = None

    def __call__(self, condition: Any) -> None:
        self.condition = condition


@contextmanager
def _iterations(builder: Any, n_iterations: Any) -> Iterator[tuple[Any, _Stop]]:
    """A loop over iterations 0 to ``n_iterations`` that the body can end with its `_Stop`."""
    stop = _Stop()
    before = builder.block
    head = builder.append_basic_block("iteration")
    body = builder.append_basic_block("compare")
    end = builder.append_basic_block("near")
    builder.branch(head)
    builder.position_at_end(head)
    iteration = builder.phi(_I64)
    iteration.add_incoming(_I64(0), before)
    builder.cbranch(builder.icmp_signed("<", iteration, n_iterations), body, end)
    builder.position_at_end(body)
    yield iteration, stop
    iteration.add_incoming(builder.add(iteration, _I64(1)), builder.block)
    builder.cbranch(stop.condition, end, head)
    builder.position_at_end(end)
    stop.value = iteration


def splat(builder: Any, value: Any, count: int) -> Any:
    """A vector whose lanes all hold ``value``."""
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(empty, value, _I32(0))
    lanes = ir.Constant(ir.VectorType(_I32, count), [0] * count)
    return builder.shuffle_vector(first, empty, lanes)


def _repeated(builder: Any, words: Any, width: int, vector: Any) -> Any:
    """A vector that repeats the first ``width`` bytes at ``words``."""
    kind = ir.IntType(8 * min(width, 8))
    repeated = ir.Constant(vector, ir.Undefined)
    for lane in range(vector.count):
        offset = 8 * lane % width if width > 8 else 0
        pointer = builder.inttoptr(builder.add(words, _I64(offset)), kind.as_pointer())
        repeated = builder.insert_element(repeated, builder.load(pointer, align=1), _I32(lane))
    return repeated


def _added(builder: Any, left: Any, right: Any, step: int) -> Any:
    """Add the lanes of two vectors of 4 that belong to one row of ``step`` bytes."""
    first, second = {16: ([0, 4, 2, 6], [1, 5, 3, 7]), 32: ([0, 1, 4, 5], [2, 3, 6, 7])}[step]
    kind = ir.VectorType(_I32, 4)
    return builder.add(
        builder.shuffle_vector(left, right, ir.Constant(kind, first)),
        builder.shuffle_vector(left, right, ir.Constant(kind, second)),
    )


def _narrow(builder: Any, value: Any, bits: int) -> Any:
    return value if bits == 64 else builder.trunc(value, ir.IntType(bits))


def popcounts(builder: Any, vector: Any) -> Any:
    """Population count of each lane."""
    kind = vector.type
    name = f"llvm.ctpop.v{kind.count}i{kind.element.width}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    return builder.call(function, [vector])


def _any(builder: Any, conditions: list[Any]) -> Any:
    """Whether any lane of any of the vectors of booleans is true."""
    total = conditions[0]
    for condition in conditions[1:]:
        total = builder.or_(total, condition)
    lanes = ir.IntType(total.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(total, lanes), lanes(0))
