"""Compares many rows at once in vector registers, written as LLVM instructions.

Each function stops at the first iteration with a row that may be near, and the caller finds that
row: on a large database nearly every iteration has none. LLVM maps the vectors of 256 bits and
their population counts to the CPU's instructions.

With AVX2 but no instruction that counts the bits of a vector, a vector takes a dozen instructions,
which leave the units for scalars idle. So these count some rows of each iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hashkit.kernels.cpu import HAS_BYTE_SUMS, HAS_VECTOR_COUNTS

__all__ = [
    "GATHERED_ROWS",
    "ITERATION_ROWS",
    "popcounts",
    "skip_far_gathered",
    "skip_far_packed",
    "splat",
]

GATHERED_ROWS: Final = 8
"""Rows that `skip_far_gathered` compares per iteration."""


class _Packed(NamedTuple):
    """Rows that `skip_far_packed` compares per iteration: in vectors, and one by one."""

    in_vectors: int
    alone: int


_PACKED: Final = {1: _Packed(64, 0), 2: _Packed(32, 0), 4: _Packed(16, 0)} | (
    {8: _Packed(16, 4), 16: _Packed(8, 4), 32: _Packed(8, 4)}
    if HAS_BYTE_SUMS and not HAS_VECTOR_COUNTS
    else {8: _Packed(8, 0), 16: _Packed(4, 0), 32: _Packed(4, 0)}
)
"""By the bytes of a row. On a Zen 3, counting some rows alone saves 15 % of the time with 8 bytes,
and a quarter with 16 or 32; counting more or fewer rows alone saves less."""

ITERATION_ROWS: Final = tuple(
    sum(_PACKED[size]) if size in _PACKED else GATHERED_ROWS for size in range(33)
)
"""Rows per iteration, by the bytes of a row; rows of more bytes are gathered."""

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BITS: Final = 256
_BYTES: Final = ir.VectorType(_I8, _BITS // 8)


@intrinsic(prefer_literal=True)
def skip_far_packed(
    typing_context: Any, address: Any, n_iterations: Any, words: Any, bound: Any, width: Any
) -> Any:
    """Skip `ITERATION_ROWS` rows per iteration until one of them is nearer than ``bound``.

    The rows take ``width`` bytes each, a literal 1, 2, 4, 8, 16 or 32, from ``address`` on;
    ``words`` is the address of the query's words. Returns the number of iterations without a near
    row, at most ``n_iterations``.
    """
    width_ = width.literal_value
    rows = _PACKED[width_]
    vector_bytes = rows.in_vectors * width_
    lane = ir.IntType(8 * min(width_, 8))
    vector = ir.VectorType(lane, _BITS // lane.width)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, n_iterations_, words_, bound_, _ = arguments
        query = _repeated(builder, words_, width_, vector)
        limit = splat(builder, _narrow(builder, bound_, lane.width), vector.count)
        query_words = [_word(builder, words_, number) for number in range(width_ // 8)]
        with _iterations(builder, n_iterations_) as (iteration, stop_if):
            place = builder.mul(iteration, _I64(vector_bytes + rows.alone * width_))
            place = builder.add(start, place)
            compared = []
            for offset in range(0, vector_bytes, _BITS // 8):
                pointer = builder.inttoptr(builder.add(place, _I64(offset)), vector.as_pointer())
                compared.append(builder.xor(builder.load(pointer, align=1), query))
            if rows.alone:
                near = _are_near_by_bytes(builder, compared, width_, limit)
            else:
                near = _are_near(builder, compared, width_, limit)
            place = builder.add(place, _I64(vector_bytes))
            for row in range(rows.alone):
                counts = [
                    popcounts(builder, builder.xor(_word(builder, place, number), word))
                    for number, word in enumerate(query_words, row * len(query_words))
                ]
                stop_if(builder.icmp_signed("<", _sum(builder, counts), bound_))
            stop_if(_any(builder, near))
        return iteration

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
        with _iterations(builder, n_iterations_) as (iteration, stop_if):
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
            near = [builder.icmp_unsigned("<", total, limit) for total in totals]
            stop_if(_any(builder, near))
        return iteration

    signature = types.int64(
        types.uint64, types.int64, types.int64, types.uint64, types.uint64, n_words, types.int64
    )
    return signature, generate


@contextmanager
def _iterations(builder: Any, n_iterations: Any) -> Iterator[tuple[Any, Callable[[Any], None]]]:
    """A loop over iterations 0 to ``n_iterations``, which ends where a given condition is true.

    After the loop, the iteration is the number of iterations that no condition has ended.
    """
    before = builder.block
    head, body, end = (
        builder.append_basic_block(name) for name in ("iteration", "compare", "near")
    )
    builder.branch(head)
    builder.position_at_end(head)
    iteration = builder.phi(_I64)
    iteration.add_incoming(_I64(0), before)
    builder.cbranch(builder.icmp_signed("<", iteration, n_iterations), body, end)
    builder.position_at_end(body)

    def stop_if(condition: Any) -> None:
        following = builder.append_basic_block("far")
        builder.cbranch(condition, end, following)
        builder.position_at_end(following)

    yield iteration, stop_if
    iteration.add_incoming(builder.add(iteration, _I64(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(end)


def _are_near(builder: Any, compared: list[Any], width: int, limit: Any) -> list[Any]:
    """Whether each row differs in fewer bits than the limit, one lane per row."""
    counts = [popcounts(builder, one) for one in compared]
    counts = _row_sums(builder, counts, width, limit.type)
    return [builder.icmp_unsigned("<", one, limit) for one in counts]


def _are_near_by_bytes(builder: Any, compared: list[Any], width: int, limit: Any) -> list[Any]:
    """Whether any row is near, by lane; one instruction sums the 8 bytes of a lane at the end."""
    counts = [popcounts(builder, builder.bitcast(one, _BYTES)) for one in compared]
    kind = ir.FunctionType(limit.type, [_BYTES, _BYTES])
    name = "llvm.x86.avx2.psad.bw"
    summed = cgutils.get_or_insert_function(builder.module, kind, name)
    zero = ir.Constant(_BYTES, [0] * _BYTES.count)
    short = ir.VectorType(_I16, _BITS // 16)
    least: Any = None
    for one in _row_sums(builder, counts, width, limit.type):
        sums = builder.bitcast(builder.call(summed, [one, zero]), short)
        if least is not None:
            sums = builder.select(builder.icmp_unsigned("<", sums, least), sums, least)
        least = sums
    # Sums and bounds take half of each lane; in the other half both are 0, so neither is less.
    halves = ir.VectorType(_I32, _BITS // 32)
    least, limit = builder.bitcast(least, halves), builder.bitcast(limit, halves)
    return [builder.icmp_signed("<", least, limit)]


def _row_sums(builder: Any, counts: list[Any], width: int, words: Any) -> list[Any]:
    """Counts per row of ``width`` bytes, from those per lane of vectors of the type ``words``."""
    for step in (16, 32):
        if width >= step:
            counts = [
                _added(builder, left, right, step, words)
                for left, right in zip(counts[::2], counts[1::2], strict=True)
            ]
    return counts


def _sum(builder: Any, values: list[Any]) -> Any:
    total = values[0]
    for value in values[1:]:
        total = builder.add(total, value)
    return total


def _word(builder: Any, address: Any, number: int) -> Any:
    """The word of 8 bytes with this number, counted from an address."""
    place = builder.add(address, _I64(8 * number))
    return builder.load(builder.inttoptr(place, _I64.as_pointer()), align=1)


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


def _added(builder: Any, left: Any, right: Any, step: int, words: Any) -> Any:
    """Add the words of two vectors of 4 words that belong to the same row of ``step`` bytes."""
    first, second = {16: ([0, 4, 2, 6], [1, 5, 3, 7]), 32: ([0, 1, 4, 5], [2, 3, 6, 7])}[step]
    lanes = ir.VectorType(_I32, 4)
    both = [builder.bitcast(one, words) for one in (left, right)]
    parts = [
        builder.bitcast(builder.shuffle_vector(*both, ir.Constant(lanes, order)), left.type)
        for order in (first, second)
    ]
    return builder.add(*parts)


def _narrow(builder: Any, value: Any, bits: int) -> Any:
    return value if bits == 64 else builder.trunc(value, ir.IntType(bits))


def popcounts(builder: Any, vector: Any) -> Any:
    """Population count of a word, or of each lane of a vector."""
    kind = vector.type
    is_vector = isinstance(kind, ir.VectorType)
    suffix = f"v{kind.count}i{kind.element.width}" if is_vector else f"i{kind.width}"
    name = f"llvm.ctpop.{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
    return builder.call(function, [vector])


def _any(builder: Any, conditions: list[Any]) -> Any:
    """Whether any lane of any of the vectors of booleans is true."""
    total = conditions[0]
    for condition in conditions[1:]:
        total = builder.or_(total, condition)
    lanes = ir.IntType(total.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(total, lanes), lanes(0))
