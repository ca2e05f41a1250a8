"""The draws of projectors/draws.py in numba: the same integers, the same signs.

`key` is an array that begins with the two words of the key, such as `philox_simd.round_keys`.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import F32, FLOATS, I32, I64, LANES, index, jit, splat, unpack

ROUNDS = 5
TILE = 256  # indices made at a time
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@jit
def philox(key, c0, c1, c2):
    """The four words of counter (c0, c1, c2, 0), as uint64 that hold 32 bits."""
    k0, k1, c3 = np.uint64(key[0]), np.uint64(key[1]), np.uint64(0)
    c0, c1, c2 = np.uint64(c0), np.uint64(c1), np.uint64(c2)
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@jit
def signs128(key, counter, block, out, at):
    """out[at : at + 128] = ±1, the signs of one counter."""
    a, b, c, d = philox(key, counter, block, 1)
    signs32(a, out, at)
    signs32(b, out, at + 32)
    signs32(c, out, at + 64)
    signs32(d, out, at + 96)


@jit
def rounds(key, block, out):
    """What keys a block's permutation: multipliers, then addends (uint32)."""
    for j in range(3):
        words = philox(key, j, block, 2)
        for i in range(4):
            if 4 * j + i < 2 * ROUNDS:
                odd = np.uint64(1) if 4 * j + i < ROUNDS else np.uint64(0)
                out[4 * j + i] = np.uint32(words[i] | odd)


@intrinsic(prefer_literal=True)
def signs32(typing, word, out, at):
    """out[at + i] = −1 where bit i of the word is 1, else 1."""

    def codegen(context, builder, signature, args):
        word, out, at = unpack(context, builder, signature, args, 0)
        bits = builder.trunc(word, I32)
        for half in (0, 1):
            mask = builder.trunc(builder.lshr(bits, I32(half * LANES)), ir.IntType(LANES))
            mask = builder.bitcast(mask, ir.VectorType(ir.IntType(1), LANES))
            minus, plus = (splat(builder, ir.Constant(F32, v)) for v in (-1.0, 1.0))
            out.store(builder.select(mask, minus, plus), at, half * LANES)
        return context.get_dummy_value()

    return types.void(word, out, at), codegen


@jit
def gather(source, factors, target, keyed, bits, scratch):
    """target[i] = factors[i] · source[π(i)], i < 2^bits, 8 ≤ bits ≤ 31; π as `rounds` key it."""
    long, short = scratch
    for i in range(0, 1 << bits, TILE):
        if bits <= 16:
            permuted(keyed, bits, i, short)
            move(source, factors, target, i, short, 0)
        else:
            permuted(keyed, bits, i, long)
            move(source, factors, target, i, long, 0)


@jit
def scatter(source, factors, target, keyed, bits, scratch):
    """Its adjoint: target[π(i)] = factors[i] · source[i]."""
    long, short = scratch
    for i in range(0, 1 << bits, TILE):
        if bits <= 16:
            permuted(keyed, bits, i, short)
            move(source, factors, target, i, short, 1)
        else:
            permuted(keyed, bits, i, long)
            move(source, factors, target, i, long, 1)


@jit
def scratch():
    """Room for a tile of indices: 32 bits wide, and 16, in which twice as many fit a register."""
    return np.empty(TILE, np.uint32), np.empty(TILE, np.uint16)


@intrinsic(prefer_literal=True)
def permuted(typing, keyed, bits, first, out):
    """out[j] = π(first + j), j < TILE: `permuted` of projectors/draws.py, in the width of out.

    Only the lowest bits of a word matter to those of a product, so 16 do where bits ≤ 16.
    """

    def codegen(context, builder, signature, args):
        keyed, bits, first, out = unpack(context, builder, signature, args, 0)
        width = 64 // out.bytes  # lanes

        def everywhere(number):
            return splat(builder, builder.trunc(number, out.element), width)

        words = [builder.zext(keyed.scalar(r), I64) for r in range(2 * ROUNDS)]
        words = [everywhere(word) for word in words]
        mask = everywhere(builder.sub(builder.shl(index(1), bits), index(1)))
        half = everywhere(builder.lshr(builder.add(bits, index(1)), index(1)))
        lanes = ir.Constant(ir.VectorType(out.element, width), list(range(width)))
        steps = cgutils.for_range_slice(builder, index(0), index(TILE), index(width), inc=True)
        with steps as (i, _):
            x = builder.add(everywhere(builder.add(first, i)), lanes)
            for r in range(ROUNDS):
                x = builder.xor(x, builder.lshr(x, half))
                x = builder.mul(x, words[r])
                x = builder.and_(builder.add(x, words[ROUNDS + r]), mask)
            out.store(builder.xor(x, builder.lshr(x, half)), i)
        return context.get_dummy_value()

    return types.void(keyed, bits, first, out), codegen


@intrinsic(prefer_literal=True)
def move(typing, source, factors, target, first, places, SCATTER):
    """A tile of `gather` or `scatter`: indices come from memory, cheaper than out of a vector."""

    def codegen(context, builder, signature, args):
        source, factors, target, first, places, SCATTER = unpack(
            context, builder, signature, args, 1
        )
        steps = cgutils.for_range_slice(builder, index(0), index(TILE), index(LANES), inc=True)
        with steps as (j, _):
            i = builder.add(first, j)
            at = [builder.zext(places.scalar(j, lane), I64) for lane in range(LANES)]
            if SCATTER:
                values = builder.fmul(factors.load(i), source.load(i))
                for lane, place in enumerate(at):
                    value = builder.extract_element(values, I32(lane))
                    builder.store(value, target.at(place))
            else:
                values = ir.Constant(FLOATS, ir.Undefined)
                for lane, place in enumerate(at):
                    values = builder.insert_element(values, source.scalar(place), I32(lane))
                target.store(builder.fmul(factors.load(i), values), i)
        return context.get_dummy_value()

    return types.void(source, factors, target, first, places, SCATTER), codegen
