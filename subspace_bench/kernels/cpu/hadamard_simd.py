"""The unnormalised Walsh-Hadamard transform in numba, a few levels at a time in registers.

Of float32 and float64: numba compiles each function anew for the type of its array.

H_2n = [[H_n, H_n], [H_n, −H_n]] (Sylvester): level l adds and subtracts what lies 2^l apart. One
addition an element a level, in order of l: the bits are the same however the levels are grouped.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INTS, LANES, fma, index, jit, unpack

BASE = 8  # levels that 16 vectors of 16 lanes do without leaving the registers
# Levels of a pass over 2^RADIX streams. A cache keeps 8 lines that lie a large power of two apart.
RADIX = 3


@jit
def transform(x, at, levels):
    """x[at : at + 2^levels] becomes its transform, levels ≥ 8; depth first, so that it caches."""
    rest = levels - BASE
    # Streams of the first pass after the base lie near each other: it may take 4 levels.
    first = rest if rest < RADIX else RADIX + (rest % RADIX if rest % RADIX < 2 else -1)
    for block in range(1 << (rest - first)):
        start = at + (block << (BASE + first))
        for i in range(1 << first):
            base(x, start + (i << BASE))
        log = BASE + first
        join(x, start, BASE, first, 0, 1 << BASE)
        done = block + 1
        while log < levels and done & ((1 << RADIX) - 1) == 0:
            start = at + ((block + 1) << (BASE + first)) - (1 << (log + RADIX))
            join(x, start, log, RADIX, 0, 1 << log)
            log += RADIX
            done >>= RADIX


@jit
def join(x, at, log, levels, first, last):
    """The next `levels` ≤ 4 levels after `log`, for columns first … last − 1 of 2^log."""
    if levels == 1:
        butterflies(x, at, 1 << log, first, last, 1)
    elif levels == 2:
        butterflies(x, at, 1 << log, first, last, 2)
    elif levels == 3:
        butterflies(x, at, 1 << log, first, last, 3)
    elif levels == 4:
        butterflies(x, at, 1 << log, first, last, 4)


@cache
def rows():
    """kernel(x, levels, first, last): rows first … last − 1 of 2^levels numbers each."""

    @jit
    def rows(x, levels, first, last):
        for row in range(first, last):
            transform(x, row << levels, levels)

    return rows


@cache
def columns():
    """kernel(x, log, levels, chunk, first, last): parts of one pass, `chunk` columns each."""

    @jit
    def columns(x, log, levels, chunk, first, last):
        chunks = (1 << log) // chunk
        for part in range(first, last):
            start = part % chunks * chunk
            join(x, (part // chunks) << (log + levels), log, levels, start, start + chunk)

    return columns


@intrinsic(prefer_literal=True)
def base(typing, x, at):
    """The first 8 levels of the 256 numbers at x[at]."""

    def codegen(context, builder, signature, args):
        x, at = unpack(context, builder, signature, args, 0)
        rows = [x.load(at, i * LANES) for i in range(LANES)]
        for level in range(4):
            apart = 1 << level
            swap = ir.Constant(INTS, [lane ^ apart for lane in range(LANES)])
            signs = ir.Constant(
                ir.VectorType(x.element, LANES),
                [-1.0 if lane & apart else 1.0 for lane in range(LANES)],
            )
            rows = [fma(builder, v, signs, builder.shuffle_vector(v, v, swap)) for v in rows]
        for i, row in enumerate(_across(builder, rows, 4)):
            x.store(row, at, i * LANES)
        return context.get_dummy_value()

    return types.void(x, at), codegen


@intrinsic(prefer_literal=True)
def butterflies(typing, x, at, stride, first, last, LEVELS):
    """LEVELS levels across the 2^LEVELS streams x[at + i·stride + j], first ≤ j < last (by 16)."""

    def codegen(context, builder, signature, args):
        x, at, stride, first, last, LEVELS = unpack(context, builder, signature, args, 1)
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (j, _):
            start = builder.add(at, j)
            places = [builder.add(start, builder.mul(index(i), stride)) for i in range(1 << LEVELS)]
            rows = _across(builder, [x.load(place) for place in places], LEVELS)
            for place, row in zip(places, rows, strict=True):
                x.store(row, place)
        return context.get_dummy_value()

    return types.void(x, at, stride, first, last, LEVELS), codegen


def _across(builder, rows, levels):
    for level in range(levels):
        apart = 1 << level
        new = list(rows)
        for i in range(len(rows)):
            if not i & apart:
                new[i] = builder.fadd(rows[i], rows[i + apart])
                new[i + apart] = builder.fsub(rows[i], rows[i + apart])
        rows = new
    return rows
