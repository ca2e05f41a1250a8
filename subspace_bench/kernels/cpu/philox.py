"""Philox-4x32-10 for 16 counters at once, and N(0, 1) numbers from its words.

The words are those of projectors/philox.py bit for bit, the normals to 2 ulp.
What costs in Philox is its multiplications of 32 × 32 → 64 bits. Processors have such a product for
vectors of 64-bit lanes only, so the 16 counters are held as 8 even and 8 odd ones, each in the low
half of a 64-bit lane. The high halves may hold anything: they are masked off before each product.
"""

import math
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import F32, FLOATS, I64, INTS, LANES, call, fma, index, ints, jit, splat, unpack

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
BLOCK = 4 * LANES  # words or normals of 16 counters

# Minimax polynomials, lowest order first, evaluated in float32:
# −2 ln m = g + g²·LOG(g), g = 2 − 2m, for m in [2/3, 4/3);
# cos φ = 1 + z·COS(z) and sin φ = φ + φ·z·SIN(z), z = φ², for |φ| ≤ π/4.
LOG = (
    0.25000008940696716, 0.08333277702331543, 0.0312483087182045, 0.01250968687236309,
    0.005220142658799887, 0.002176838694140315, 0.0009362830314785242, 0.0005593322566710413,
    0.0002630168164614588,
)  # fmt: skip
COS = (-0.5, 0.04166664555668831, -0.0013887310633435845, 2.4432563805021346e-05)
SIN = (-0.16666655242443085, 0.008332189172506332, -0.00019518291810527444)
TWO_THIRDS = 0x3F2AAAAB  # bits of 2/3 in float32
TURN = 2 * math.pi * 2.0**-34  # radians per unit of an angle whose eighth of a turn is 2³¹

_WIDE = ir.VectorType(I64, LANES // 2)


@lru_cache(64)
def round_keys(key: tuple[int, int]) -> np.ndarray:
    """The keys of the ten rounds, (20,) int64, which kernels take as `key` or `keys`."""
    keys = [(k + r * w) & 0xFFFFFFFF for r in range(ROUNDS) for k, w in zip(key, WEYL, strict=True)]
    return np.array(keys, np.int64)


@jit
def normals_into(out, keys, first, c1, c2):
    """out[i] = N(0, 1) number (i // 16) % 4 of counter (first + 16·(i // 64) + i % 16, c1, c2, 0).

    Numbers 0 and 1 are the `normal_pair` of words 0 and 1, numbers 2 and 3 of words 2 and 3.

    Arguments:
        out: float32, of any length.
    """
    size = len(out)
    whole = size // BLOCK * BLOCK
    for i in range(0, whole, BLOCK):
        store_normals(out, i, keys, first + i // 4, c1, c2)
    if whole < size:
        rest = np.empty(BLOCK, np.float32)
        store_normals(rest, 0, keys, first + whole // 4, c1, c2)
        out[whole:] = rest[: size - whole]


@jit
def words_into(out, keys, first, c1, c2):
    """out[i] = word (i // 16) % 4 of the same counters; `out` is uint32 or int32, of any length."""
    size = len(out)
    whole = size // BLOCK * BLOCK
    for i in range(0, whole, BLOCK):
        store_words(out, i, keys, first + i // 4, c1, c2)
    if whole < size:
        rest = np.empty(BLOCK, out.dtype)
        store_words(rest, 0, keys, first + whole // 4, c1, c2)
        out[whole:] = rest[: size - whole]


@jit
def pairs_into(out, a, b):
    """out[32·v : 32·v + 32] = the `normal_pair`s of words a[16·v:], b[16·v:] (uint32): 16 first
    numbers, then 16 second ones.
    """
    for i in range(0, len(a), LANES):
        store_pair(out, 2 * i, a, b, i)


@intrinsic(prefer_literal=True)
def store_pair(typing, out, at, a, b, i):
    """out[at:] = `normal_pair` of 16 words from a[i] and b[i] on."""

    def codegen(context, builder, signature, args):
        out, at, a, b, i = unpack(context, builder, signature, args, 0)
        for k, number in enumerate(normal_pair(builder, a.load(i), b.load(i))):
            out.store(number, at, k * LANES)
        return context.get_dummy_value()

    return types.void(out, at, a, b, i), codegen


@intrinsic(prefer_literal=True)
def store_words(typing, out, at, keys, c0, c1, c2):
    """out[at + 16·w + lane] = word w of counter (c0 + lane, c1, c2, 0)."""

    def codegen(context, builder, signature, args):
        out, at, keys, c0, c1, c2 = unpack(context, builder, signature, args, 0)
        for w, word in enumerate(words(builder, load_keys(builder, keys), c0, c1, c2)):
            out.store(word, at, w * LANES)
        return context.get_dummy_value()

    return types.void(out, at, keys, c0, c1, c2), codegen


@intrinsic(prefer_literal=True)
def store_normals(typing, out, at, keys, c0, c1, c2):
    """out[at + 16·k + lane] = number k of counter (c0 + lane, c1, c2, 0)."""

    def codegen(context, builder, signature, args):
        out, at, keys, c0, c1, c2 = unpack(context, builder, signature, args, 0)
        four = words(builder, load_keys(builder, keys), c0, c1, c2)
        for k, number in enumerate(normals(builder, four)):
            out.store(number, at, k * LANES)
        return context.get_dummy_value()

    return types.void(out, at, keys, c0, c1, c2), codegen


def load_keys(builder, keys):
    """The 20 round keys as vectors, outside of the loop that uses them."""
    return [splat(builder, keys.scalar(i), LANES // 2) for i in range(2 * ROUNDS)]


def words(builder, keys, c0, c1, c2):
    """The four words (16 lanes each) of counters (c0 + lane, c1, c2, 0).

    In a loop over c1, LLVM moves the part of the first three rounds that depends on c0 alone out of
    the loop: a quarter of all operations.
    """
    halves = []
    for odd in (0, 1):
        lanes = ir.Constant(_WIDE, [2 * lane + odd for lane in range(LANES // 2)])
        c = [builder.add(splat(builder, c0, LANES // 2), lanes)]
        c += [splat(builder, number, LANES // 2) for number in (c1, c2, index(0))]
        halves.append(_rounds(builder, keys, c))
    # Seen as 32-bit lanes, the words are the even lanes of both vectors: interleave them.
    order = ir.Constant(INTS, [lane // 2 * 2 + LANES * (lane % 2) for lane in range(LANES)])
    return [
        builder.shuffle_vector(builder.bitcast(even, INTS), builder.bitcast(odd, INTS), order)
        for even, odd in zip(*halves, strict=True)
    ]


def _rounds(builder, keys, c):
    """Ten rounds on counters in the low halves of 64-bit lanes."""
    low, half = (ir.Constant(_WIDE, [v] * (LANES // 2)) for v in (0xFFFFFFFF, 32))
    factors = [ir.Constant(_WIDE, [v] * (LANES // 2)) for v in MULTIPLIERS]
    for k0, k1 in zip(keys[::2], keys[1::2], strict=True):
        p0 = builder.mul(builder.and_(c[0], low), factors[0])
        p1 = builder.mul(builder.and_(c[2], low), factors[1])
        high0, high1 = builder.lshr(p0, half), builder.lshr(p1, half)
        c = [
            builder.xor(builder.xor(high1, c[1]), k0), p1,
            builder.xor(builder.xor(high0, c[3]), k1), p0,
        ]  # fmt: skip
    return c


def normals(builder, words):
    """The four N(0, 1) of each counter from its four words."""
    a, b, c, d = words
    return [*normal_pair(builder, a, b), *normal_pair(builder, c, d)]


def normal_pair(builder, a, b):
    """`normal_pair` of projectors/philox.py, in float32: two vectors from two vectors of words."""
    # The square root is correctly rounded everywhere; log, sin and cos are polynomials, as those of
    # mathematical libraries differ from machine to machine.
    radius = call(builder, "llvm.sqrt.v16f32", FLOATS, _minus_two_log(builder, a))
    angle = builder.sitofp(builder.shl(b, ints(2)), FLOATS)  # drops the two bits for the arc
    angle = builder.fmul(angle, _float(TURN))
    square = builder.fmul(angle, angle)
    # Multiply by the radius before the last addition, which is then the only rounding that counts.
    cosine = builder.fmul(radius, square)
    cosine = fma(builder, cosine, _polynomial(builder, COS, square), radius)
    bend = builder.fmul(builder.fmul(radius, angle), square)
    bend = builder.fmul(bend, _polynomial(builder, SIN, square))
    sine = fma(builder, radius, angle, bend)
    sign = builder.and_(b, ints(0x80000000))
    cosine = builder.bitcast(builder.xor(builder.bitcast(cosine, INTS), sign), FLOATS)
    swap = builder.icmp_unsigned("!=", builder.and_(b, ints(1 << 30)), ints(0))
    return builder.select(swap, sine, cosine), builder.select(swap, cosine, sine)


def _minus_two_log(builder, a):
    """−2 ln u for u = (a | 1)·2⁻³² = 2^e·m, as −2e·ln 2 + (−2 ln m).

    m lies in [2/3, 4/3), so that e is 0 wherever u is near 1, and the terms never cancel.
    """
    # Subtracting the bits of 2/3 moves the exponent's carry from m = 1 to m = 2/3.
    u = builder.bitcast(builder.uitofp(builder.or_(a, ints(1)), FLOATS), INTS)
    u = builder.sub(u, ints(TWO_THIRDS + (32 << 23)))
    e = builder.sitofp(builder.ashr(u, ints(23)), FLOATS)
    m = builder.add(builder.and_(u, ints(0x7FFFFF)), ints(TWO_THIRDS + (1 << 23)))  # 2m
    g = builder.fsub(_float(2.0), builder.bitcast(m, FLOATS))  # issues beside the fmas
    rest = fma(builder, e, _float(-2 * math.log(2)), g)
    return fma(builder, builder.fmul(g, g), _polynomial(builder, LOG, g), rest)


def _polynomial(builder, coefficients, x):
    result = _float(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = fma(builder, result, x, _float(c))
    return result


def _float(value):
    return ir.Constant(FLOATS, [ir.Constant(F32, float(np.float32(value)))] * LANES)
