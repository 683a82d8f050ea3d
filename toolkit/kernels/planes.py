"""Bit planes: 256 codes transposed, so that distances from a query are bit-wise sums.

A *unit* is 256 rows. For each bit of the code, its plane holds that bit of all 256 rows in one
vector of 256 bits: row 64 * l + i is bit i of lane l. Each plane is followed by its complement, so
that for every bit a query picks the vector that is 1 where a row *differs* from it. The number of
picked vectors that are 1 for a row is its distance, computed for 256 rows at a time. The vectors
are added with full adders of and, or and exclusive-or (a carry-save tree over 8 vectors, then a
ripple carry), about six operations per bit for 256 rows. That is several times cheaper than a
population count per row, at any code length. Transposing a unit costs as much as the sums of a few
queries, so it pays for several queries over the same rows. The bit-wise addition is that of Harley
and Seal's population count (Mula, Kurz & Lemire, 2018, arXiv 1611.07612), here across rows instead
of along words.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "PLANE_BYTES", "UNIT_ROWS", "near_rows", "transpose_unit"]

LANES: Final = 4
UNIT_ROWS: Final = 64 * LANES
PLANE_BYTES: Final = 2 * UNIT_ROWS // 8
"""Bytes per bit of the code: the plane and its complement."""

_I16, _I64 = ir.IntType(16), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, LANES)
_VECTOR_BYTES: Final = 8 * LANES
_GROUP: Final = 8
"""Bits of the code that are added at a time."""


@intrinsic
def transpose_unit(
    typing_context: Any, address: Any, size: Any, mask: Any, n_planes: Any, planes: Any
) -> Any:
    """Transpose one word of a unit's rows into bit planes.

    Reads the 8 bytes at ``address + row * size`` of each of the 256 rows, applies ``mask``, and
    writes the planes and complements of the first ``n_planes`` bits to the address ``planes``, a
    multiple of 32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, size_, mask_, n_planes_, planes_ = arguments
        words = cgutils.alloca_once(builder, _VECTOR, size=_I64(64))
        lane_span = builder.mul(size_, _I64(64))
        with cgutils.for_range(builder, _I64(64)) as loop:
            place = builder.add(start, builder.mul(loop.index, size_))
            gathered = ir.Constant(_VECTOR, ir.Undefined)
            for lane in range(LANES):
                loaded = builder.load(builder.inttoptr(place, _I64.as_pointer()), align=1)
                gathered = builder.insert_element(gathered, builder.and_(loaded, mask_), _I64(lane))
                place = builder.add(place, lane_span)
            builder.store(gathered, builder.gep(words, [loop.index]))
        for distance in (32, 16, 8, 4, 2, 1):
            # With ``distance`` planes or fewer, this step leaves only ``distance`` nonzero words,
            # so the steps after it have less to do.
            n_nonzero = _I64(64)
            for n_words in (32, 16, 8):
                if n_words >= 2 * distance:
                    is_less = builder.icmp_signed("<=", n_planes_, _I64(n_words))
                    n_nonzero = builder.select(is_less, _I64(n_words), n_nonzero)
            _swap_blocks(builder, words, distance, builder.lshr(n_nonzero, _I64(1)))
        with cgutils.for_range(builder, n_planes_) as loop:
            plane = builder.load(builder.gep(words, [loop.index]))
            place = builder.add(planes_, builder.mul(loop.index, _I64(PLANE_BYTES)))
            _store(builder, plane, place, 0)
            _store(builder, builder.not_(plane), place, 1)
        return context.get_dummy_value()

    signature = types.void(types.uint64, types.int64, types.uint64, types.int64, types.uint64)
    return signature, generate


def _swap_blocks(builder: Any, words: Any, distance: int, n_pairs: Any) -> None:
    """One of the six steps that transpose a 64 x 64 matrix of bits, in all lanes at once.

    Swaps the blocks of ``distance`` x ``distance`` bits beside the diagonal, in the first
    ``n_pairs`` pairs of words.
    """
    low = sum(1 << bit for bit in range(64) if not bit & distance)
    low_mask = ir.Constant(_VECTOR, [low] * LANES)
    shift = ir.Constant(_VECTOR, [distance] * LANES)
    with cgutils.for_range(builder, n_pairs) as loop:
        within = builder.and_(loop.index, _I64(distance - 1))
        block = builder.sub(loop.index, within)
        first = builder.gep(words, [builder.add(builder.shl(block, _I64(1)), within)])
        second = builder.gep(first, [_I64(distance)])
        upper, lower = builder.load(first), builder.load(second)
        changed = builder.and_(builder.xor(builder.lshr(upper, shift), lower), low_mask)
        builder.store(builder.xor(lower, changed), second)
        builder.store(builder.xor(upper, builder.shl(changed, shift)), first)


@intrinsic(prefer_literal=True)
def near_rows(
    typing_context: Any,
    planes: Any,
    picks: Any,
    n_groups: Any,
    bound: Any,
    out: Any,
    n_counters: Any,
) -> Any:
    """Whether any row of a unit is nearer to a query than ``bound``, and which rows are.

    Parameters
    ----------
    planes
        Address of the unit's planes, a multiple of 32.
    picks
        Address of uint16 [8 * n_groups]: for each bit, the byte offset from ``planes`` of the
        vector that is 1 where a row differs from the query.
    n_groups
        Groups of 8 bits.
    bound
        Distances below it are near; at most ``2 ** n_counters - 1``.
    out
        Address of uint64 [1 + n_counters, 4], written only if a row is near: the mask of near
        rows, then the bits of all rows' distances, lowest bit first.
    n_counters
        Number of bits of a distance, a literal of 3 or more.
    """
    n_counters_ = n_counters.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        planes_, picks_, n_groups_, bound_, out_, _ = arguments
        zero = ir.Constant(_VECTOR, [0] * LANES)
        before = builder.block
        loop = builder.append_basic_block("group")
        end = builder.append_basic_block("compare")
        builder.branch(loop)
        builder.position_at_end(loop)
        group = builder.phi(_I64)
        group.add_incoming(_I64(0), before)
        counters = [builder.phi(_VECTOR) for _ in range(n_counters_)]
        for counter in counters:
            counter.add_incoming(zero, before)
        sums = _add_group(builder, counters, _picked(builder, planes_, picks_, group))
        for counter, total in zip(counters, sums, strict=True):
            counter.add_incoming(total, loop)
        following = builder.add(group, _I64(1))
        group.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_groups_), loop, end)
        builder.position_at_end(end)
        near = _below(builder, sums, bound_)
        bits = ir.IntType(64 * LANES)
        is_any = builder.icmp_unsigned("!=", builder.bitcast(near, bits), bits(0))
        with builder.if_then(is_any, likely=False):
            for index, vector in enumerate([near, *sums]):
                _store(builder, vector, out_, index, align=8)
        return is_any

    signature = types.boolean(
        types.uint64, types.uint64, types.int64, types.int64, types.uint64, n_counters
    )
    return signature, generate


def _picked(builder: Any, planes: Any, picks: Any, group: Any) -> list[Any]:
    """The vectors that a query picks from a group's planes."""
    first = builder.inttoptr(
        builder.add(picks, builder.mul(group, _I64(2 * _GROUP))), _I16.as_pointer()
    )
    vectors = []
    for bit in range(_GROUP):
        offset = builder.zext(builder.load(builder.gep(first, [_I64(bit)])), _I64)
        pointer = builder.inttoptr(builder.add(planes, offset), _VECTOR.as_pointer())
        vectors.append(builder.load(pointer, align=_VECTOR_BYTES))
    return vectors


def _add_group(builder: Any, counters: list[Any], bits: list[Any]) -> list[Any]:
    """Add 8 vectors to the counters, lowest bit first, in each of their 256 columns."""
    ones, twos, fours = counters[:3]
    ones, carry_1 = _full_adder(builder, ones, bits[0], bits[1])
    ones, carry_2 = _full_adder(builder, ones, bits[2], bits[3])
    twos, carry_a = _full_adder(builder, twos, carry_1, carry_2)
    ones, carry_3 = _full_adder(builder, ones, bits[4], bits[5])
    ones, carry_4 = _full_adder(builder, ones, bits[6], bits[7])
    twos, carry_b = _full_adder(builder, twos, carry_3, carry_4)
    fours, carry = _full_adder(builder, fours, carry_a, carry_b)
    sums = [ones, twos, fours]
    for counter in counters[3:]:
        sums.append(builder.xor(counter, carry))
        carry = builder.and_(counter, carry)
    return sums


def _full_adder(builder: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Sum and carry of three bits."""
    half = builder.xor(a, b)
    carry = builder.or_(builder.and_(a, b), builder.and_(half, c))
    return builder.xor(half, c), carry


def _below(builder: Any, counters: list[Any], bound: Any) -> Any:
    """Mask of the columns whose counter is less than ``bound``; compares from the low bit up."""
    below = ir.Constant(_VECTOR, [0] * LANES)
    for index, counter in enumerate(counters):
        bit = builder.and_(builder.lshr(bound, _I64(index)), _I64(1))
        empty = ir.Constant(_VECTOR, ir.Undefined)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        single = builder.insert_element(empty, builder.neg(bit), _I64(0))
        bound_bit = builder.shuffle_vector(single, empty, lanes)
        clear = builder.not_(counter)
        # If the bound's bit is 1, a counter is less if its bit is 0 or its lower bits are less. If
        # the bound's bit is 0, it is less only if its bit is 0 and its lower bits are less.
        either = builder.and_(clear, builder.or_(below, bound_bit))
        below = builder.or_(either, builder.and_(below, bound_bit))
    return below


def _store(builder: Any, vector: Any, address: Any, index: int, align: int = _VECTOR_BYTES) -> None:
    place = builder.add(address, _I64(index * _VECTOR_BYTES))
    builder.store(vector, builder.inttoptr(place, _VECTOR.as_pointer()), align=align)
