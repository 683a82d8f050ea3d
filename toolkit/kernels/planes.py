"""Bit planes: many codes transposed, so that distances from a query are bit-wise sums.

A *unit* is as many rows as a vector has bits: 512 with AVX-512, otherwise 256. For each bit of the
code, its plane holds that bit of all rows of the unit in one vector: row 64 * l + i is bit i of
lane l. Each plane is followed by its complement, so that for every bit a query picks the vector
that is 1 where a row *differs* from it. The number of picked vectors that are 1 for a row is its
distance, computed for all rows of the unit at a time. The vectors are added with full adders (a
carry-save tree over 32 or 8 vectors, then a ripple carry). A full adder is two instructions with
AVX-512, whose ternary logic computes any function of three bits, and five of and, or and
exclusive-or elsewhere: about two and six instructions per bit for all rows of the unit. That is
several times cheaper than a population count per row, at any code length. Transposing a unit costs
as much as the sums of a few queries, so it pays for several queries over the same rows. The
bit-wise addition is that of Harley and Seal's population count (Mula, Kurz & Lemire, 2018, arXiv
1611.07612), here across rows instead of along words.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hashkit.kernels.cpu import HAS_TERNARY_LOGIC, LANES
from hashkit.kernels.vectors import splat

__all__ = ["PLANE_BYTES", "UNIT_ROWS", "near_rows", "transpose_unit"]

UNIT_ROWS: Final = 64 * LANES
PLANE_BYTES: Final = 2 * UNIT_ROWS // 8
"""Bytes per bit of the code: the plane and its complement."""

_I16, _I64 = ir.IntType(16), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, LANES)
_VECTOR_BYTES: Final = 8 * LANES
_LARGE_LEVELS: Final = 5
_SMALL_LEVELS: Final = 3
"""Levels of the trees of adders: 32 bits of the code are added at a time, then 8."""

_SUM, _MAJORITY, _LESS = 0x96, 0xE8, 0x8E
"""Functions of three bits (a, b, c): bit 4a + 2b + c is the value."""


@intrinsic
def transpose_unit(
    typing_context: Any, address: Any, size: Any, mask: Any, n_planes: Any, planes: Any
) -> Any:
    """Transpose one word of a unit's rows into bit planes.

    Reads the 8 bytes at ``address + row * size`` of each of the unit's rows, applies ``mask``, and
    writes the planes and complements of the first ``n_planes`` bits to the address ``planes``, a
    multiple of the vector's bytes.
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
    n_bytes: Any,
    limit: Any,
    out: Any,
    n_counters: Any,
) -> Any:
    """The lanes with a row that is nearer to a query than its bound: bit l stands for lane l.

    Parameters
    ----------
    planes
        Address of the unit's planes, a multiple of the vector's bytes.
    picks
        Address of uint16 [8 * n_bytes]: for each bit, the offset from ``planes`` of the vector
        that is 1 where a row differs from the query, in words of 8 bytes.
    n_bytes
        Bytes of a code.
    limit
        Address of uint64 [n_counters]: the bits of the bound, lowest first, each 0 or all ones.
        Distances below it are near; it is at most ``2 ** n_counters - 1``.
    out
        Address of uint64 [LANES], written only if a row is near: the mask of near rows.
    n_counters
        Number of bits of a distance, a literal of 3 or more.
    """
    n_counters_ = n_counters.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        planes_, picks_, n_bytes_, limit_, out_, _ = arguments
        counters = [ir.Constant(_VECTOR, [0] * LANES)] * n_counters_
        n_large = ir.Constant(_I64, 0)
        if n_counters_ > _LARGE_LEVELS:
            n_large = builder.lshr(n_bytes_, _I64(2))
            counters = _sum_groups(builder, counters, (planes_, picks_), n_large, _LARGE_LEVELS)
        done = builder.shl(n_large, _I64(2))
        rest = builder.add(picks_, builder.shl(done, _I64(4)))
        n_small = builder.sub(n_bytes_, done)
        counters = _sum_groups(builder, counters, (planes_, rest), n_small, _SMALL_LEVELS)
        near = _below(builder, counters, limit_)
        zero = ir.Constant(_VECTOR, [0] * LANES)
        flags = builder.icmp_unsigned("!=", near, zero)
        lanes = builder.zext(builder.bitcast(flags, ir.IntType(LANES)), _I64)
        # A store in each call, of values that are known last, would delay loads of the next call
        # whose addresses are the same modulo a page.
        with builder.if_then(builder.icmp_unsigned("!=", lanes, _I64(0)), likely=False):
            _store(builder, near, out_, 0, align=8)
        return lanes

    signature = types.uint64(
        types.uint64, types.uint64, types.int64, types.uint64, types.uint64, n_counters
    )
    return signature, generate


def _sum_groups(
    builder: Any, counters: list[Any], addresses: tuple[Any, Any], n_groups: Any, levels: int
) -> list[Any]:
    """Add groups of ``2 ** levels`` picked vectors to the counters, lowest bit first."""
    planes, picks = addresses
    before = builder.block
    head, body, end = (
        builder.append_basic_block(name) for name in ("groups", "group", "groups_end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    group = builder.phi(_I64)
    group.add_incoming(_I64(0), before)
    sums = [builder.phi(_VECTOR) for _ in counters]
    for total, counter in zip(sums, counters, strict=True):
        total.add_incoming(counter, before)
    builder.cbranch(builder.icmp_signed("<", group, n_groups), body, end)
    builder.position_at_end(body)
    first = builder.inttoptr(
        builder.add(picks, builder.shl(group, _I64(levels + 1))), _I16.as_pointer()
    )
    following = list(sums)
    carry = _add_tree(builder, following, planes, first, range(1 << levels))
    for level in range(levels, len(counters)):
        counter = following[level]
        following[level] = builder.xor(counter, carry)
        carry = builder.and_(counter, carry)
    for total, counter in zip(sums, following, strict=True):
        total.add_incoming(counter, builder.block)
    group.add_incoming(builder.add(group, _I64(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(end)
    return sums


def _add_tree(builder: Any, counters: list[Any], planes: Any, first: Any, bits: range) -> Any:
    """Add the vectors of ``bits``, 2 ** l of them, to the first l counters; returns the carry."""
    if len(bits) == 1:
        offset = builder.zext(builder.load(builder.gep(first, [_I64(bits[0])])), _I64)
        place = builder.add(planes, builder.shl(offset, _I64(3)))
        return builder.load(builder.inttoptr(place, _VECTOR.as_pointer()), align=_VECTOR_BYTES)
    half = len(bits) // 2
    level = half.bit_length() - 1
    low = _add_tree(builder, counters, planes, first, bits[:half])
    high = _add_tree(builder, counters, planes, first, bits[half:])
    operands = (counters[level], low, high)
    counters[level] = _of_three(builder, _SUM, *operands)
    return _of_three(builder, _MAJORITY, *operands)


def _of_three(builder: Any, function: int, a: Any, b: Any, c: Any) -> Any:
    """A function of three bits, in each bit of three vectors."""
    if HAS_TERNARY_LOGIC:
        kinds = [_VECTOR, _VECTOR, _VECTOR, ir.IntType(32)]
        logic = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, kinds), "llvm.x86.avx512.pternlog.q.512"
        )
        return builder.call(logic, [a, b, c, ir.IntType(32)(function)])
    if function == _LESS:
        return _of_three(builder, _MAJORITY, builder.not_(a), b, c)
    half = builder.xor(a, b)
    if function == _SUM:
        return builder.xor(half, c)
    return builder.or_(builder.and_(a, b), builder.and_(half, c))


def _below(builder: Any, counters: list[Any], limit: Any) -> Any:
    """Mask of the columns whose counter is less than the bound; compares from the low bit up.

    If the bound's bit is 1, a counter is less if its bit is 0 or its lower bits are less. If the
    bound's bit is 0, it is less only if its bit is 0 and its lower bits are less. So it is the
    majority of the complement of its bit, the bound's bit, and the result for the lower bits.
    """
    below = ir.Constant(_VECTOR, [0] * LANES)
    for index, counter in enumerate(counters):
        place = builder.inttoptr(builder.add(limit, _I64(8 * index)), _I64.as_pointer())
        bit = splat(builder, builder.load(place), LANES)
        below = _of_three(builder, _LESS, counter, below, bit)
    return below


def _store(builder: Any, vector: Any, address: Any, index: int, align: int = _VECTOR_BYTES) -> None:
    place = builder.add(address, _I64(index * _VECTOR_BYTES))
    builder.store(vector, builder.inttoptr(place, _VECTOR.as_pointer()), align=align)
