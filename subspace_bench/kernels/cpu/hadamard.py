"""The unnormalised Walsh-Hadamard transform x ← Hx, several levels at a time in registers.

H_2n = [[H_n, H_n], [H_n, −H_n]] (Sylvester): level l replaces a, b that lie 2^l apart by a + b and
a − b. The first 8 levels are done within 16 registers, later ones 3 or 4 at a time, so memory is
passed over log2(n)/3 times and not log2(n) times. However levels are grouped, each element is the
result of the same additions in the same order: the bits are always the same.
Works for float32 and float64: numba compiles each function for the type of its array.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INTS, LANES, fma, index, jit, unpack

BASE = 8  # levels among 16 vectors of 16 lanes: 256 numbers, all in registers
# Levels of a later pass, which reads 2^RADIX streams a power of two apart. Addresses that far apart
# share a set of the cache, and a set keeps 8 lines: 16 streams would evict each other.
RADIX = 3


@jit
def transform(x, at, levels):
    """x[at : at + 2^levels] ← H x[…], levels ≥ 8.

    Depth first: whenever 2^RADIX neighbouring pieces are done they are joined, while they are still
    in the cache that holds them.
    """
    rest = levels - BASE
    # The first pass after the base takes what RADIX does not divide, up to 4 levels: its streams
    # lie close together and do not share sets.
    first = rest if rest < RADIX else RADIX + (rest % RADIX if rest % RADIX < 2 else -1)
    for block in range(1 << (rest - first)):
        start = at + (block << (BASE + first))
        for i in range(1 << first):
            base(x, start + (i << BASE))
        log = BASE + first
        join(x, start, BASE, first, 0, 1 << BASE)
        # Like carries of a counter in base 2^RADIX: each digit that becomes 0 completes a piece.
        done = block + 1
        while log < levels and done & ((1 << RADIX) - 1) == 0:
            start = at + ((block + 1) << (BASE + first)) - (1 << (log + RADIX))
            join(x, start, log, RADIX, 0, 1 << log)
            log += RADIX
            done >>= RADIX


@jit
def join(x, at, log, levels, first, last):
    """Levels log … log + levels − 1, levels ≤ 4, of x[at:], for columns first … last − 1 of 2^log.

    The branches turn `levels` into the constant that `butterflies` unrolls over.
    """
    if levels == 1:
        butterflies(x, at, 1 << log, first, last, 1)
    elif levels == 2:
        butterflies(x, at, 1 << log, first, last, 2)
    elif levels == 3:
        butterflies(x, at, 1 << log, first, last, 3)
    elif levels == 4:
        butterflies(x, at, 1 << log, first, last, 4)


@jit
def transform_rows(x, levels, first, last):
    """Transforms rows first … last − 1 of x, of 2^levels numbers each."""
    for row in range(first, last):
        transform(x, row << levels, levels)


@jit
def join_chunks(x, log, levels, chunk, first, last):
    """Does parts first … last − 1 of a `join` of all of x, of `chunk` columns each."""
    chunks = (1 << log) // chunk
    for part in range(first, last):
        start = part % chunks * chunk
        join(x, (part // chunks) << (log + levels), log, levels, start, start + chunk)


@intrinsic(prefer_literal=True)
def base(typing, x, at):
    """The first 8 levels of the 256 numbers at x[at]."""

    def codegen(context, builder, signature, args):
        x, at = unpack(context, builder, signature, args, 0)
        rows = [x.load(at, i * LANES) for i in range(LANES)]
        # Levels 0 to 3 lie within a vector: v ← v·(±1) + v with its lanes swapped. The product is
        # exact, so the fma rounds once, as the addition or subtraction it stands for.
        for level in range(4):
            apart = 1 << level
            swap = ir.Constant(INTS, [lane ^ apart for lane in range(LANES)])
            signs = ir.Constant(
                ir.VectorType(x.element, LANES),
                [-1.0 if lane & apart else 1.0 for lane in range(LANES)],
            )
            rows = [fma(builder, v, signs, builder.shuffle_vector(v, v, swap)) for v in rows]
        for i, row in enumerate(_across(builder, rows, 4)):  # levels 4 to 7, between vectors
            x.store(row, at, i * LANES)
        return context.get_dummy_value()

    return types.void(x, at), codegen


@intrinsic(prefer_literal=True)
def butterflies(typing, x, at, stride, first, last, LEVELS):
    """LEVELS levels between the 2^LEVELS streams x[at + i·stride + j], first ≤ j < last.

    `last − first` is a multiple of 16.
    """

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
    """Levels between vectors: rows i and i + 2^level become their sum and their difference."""
    for level in range(levels):
        apart = 1 << level
        new = list(rows)
        for i in range(len(rows)):
            if not i & apart:
                new[i] = builder.fadd(rows[i], rows[i + apart])
                new[i + apart] = builder.fsub(rows[i], rows[i + apart])
        rows = new
    return rows
