"""Random signs and permutations from Philox: those of projectors/permutations.py, bit for bit.

`key` is an array that begins with the two words of the key, such as `philox.round_keys` returns.
Fastfood's Π and Π⁻¹ are `gather` and `scatter`.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .philox import store_words
from .simd import F32, I32, I64, LANES, index, jit, splat, unpack

ROUNDS = 5  # of the permutation
TILE = 256  # indices that are computed at a time, and then used from the first-level cache
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
# Philox' multipliers and key increments; Python integers would make numba compute in int64.
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@jit
def philox(key, c0, c1, c2):
    """The four 32-bit words of counter (c0, c1, c2, 0), in uint64.

    One counter at a time, for round keys: they need few words per block.
    """
    k0, k1, c3 = np.uint64(key[0]), np.uint64(key[1]), np.uint64(0)
    c0, c1, c2 = np.uint64(c0), np.uint64(c1), np.uint64(c2)
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@jit
def signs128(key, counter, block, out, at):
    """out[at : at + 128] = ±1, float32: the signs of one counter."""
    a, b, c, d = philox(key, counter, block, 1)
    signs32(a, out, at)
    signs32(b, out, at + 32)
    signs32(c, out, at + 64)
    signs32(d, out, at + 96)


@jit
def sign_words(key, first, block, out):
    """out[:64] = the words of counters first … first + 15, for `signs_from` (uint32).

    All 16 at once cost as much as two calls of `philox`, which is most of the cost of `signs128`.

    Arguments:
        key: the `round_keys`.
    """
    store_words(out, 0, key, first, block, 1)


@jit
def signs_from(words, lane, out, at):
    """out[at : at + 128] = ±1, float32: `signs128` of counter first + lane, from `sign_words`."""
    for w in range(4):
        signs32(words[w * LANES + lane], out, at + 32 * w)


@jit
def permutation_keys(key, block, out):
    """out[:10] = the round keys of a block's permutation: 5 multipliers, 5 addends (uint32)."""
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
        # A 16-bit integer is a mask of 16 lanes after a bitcast: no shifts per lane.
        bits = builder.trunc(word, I32)
        for half in (0, 1):
            mask = builder.trunc(builder.lshr(bits, I32(half * LANES)), ir.IntType(LANES))
            mask = builder.bitcast(mask, ir.VectorType(ir.IntType(1), LANES))
            minus, plus = (splat(builder, ir.Constant(F32, v)) for v in (-1.0, 1.0))
            out.store(builder.select(mask, minus, plus), at, half * LANES)
        return context.get_dummy_value()

    return types.void(word, out, at), codegen


@jit
def gather(source, factors, target, keyed, bits, places):
    """target[i] = factors[i] · source[π(i)], i < 2^bits, 8 ≤ bits ≤ 31, for π of these `rounds`.

    `places` has room for TILE indices of the type that `index_type` gives.
    """
    for i in range(0, 1 << bits, TILE):
        permuted(keyed, bits, i, places)
        move(source, factors, target, i, places, 0)


@jit
def scatter(source, factors, target, keyed, bits, places):
    """The adjoint of `gather`: target[π(i)] = factors[i] · source[i]."""
    for i in range(0, 1 << bits, TILE):
        permuted(keyed, bits, i, places)
        move(source, factors, target, i, places, 1)


def index_type(bits: int) -> np.ndarray:
    """An empty array of the integers in which a permutation of 0 … 2^bits − 1 is computed.

    Of 16 bits where these suffice: a register holds twice as many.
    """
    return np.empty(0, np.uint16 if bits <= 16 else np.uint32)


@jit
def inverse_keys(keyed, out):
    """out[:10] = the keys that `unpermuted` takes, of a permutation with the round keys `keyed`."""
    for r in range(ROUNDS):
        m = keyed[r]
        inverse = m  # right in 3 bits; Newton's iteration doubles these
        for _ in range(4):
            inverse = np.uint32(inverse * np.uint32(np.uint32(2) - np.uint32(m * inverse)))
        out[r], out[ROUNDS + r] = inverse, keyed[ROUNDS + r]


@intrinsic(prefer_literal=True)
def permuted(typing, keyed, bits, first, out):
    """out[j] = π(first + j), j < TILE: `permute_index` of projectors/permutations.py.

    Computed in the integers of `out`, of 32 or 16 bits. The low bits of a product or a sum depend
    on the low bits of its terms alone, so 16 bits suffice where bits ≤ 16.
    """

    def codegen(context, builder, signature, args):
        def permute(x, words, mask, half):
            for r in range(ROUNDS):
                x = builder.xor(x, builder.lshr(x, half))
                x = builder.mul(x, words[r])
                x = builder.and_(builder.add(x, words[ROUNDS + r]), mask)
            return builder.xor(x, builder.lshr(x, half))

        _map_indices(builder, permute, *unpack(context, builder, signature, args, 0))
        return context.get_dummy_value()

    return types.void(keyed, bits, first, out), codegen


@intrinsic(prefer_literal=True)
def unpermuted(typing, undoing, bits, first, out):
    """out[j] = π⁻¹(first + j), j < TILE, from the `inverse_keys`; otherwise as `permuted`."""

    def codegen(context, builder, signature, args):
        def unpermute(x, words, mask, half):
            x = builder.xor(x, builder.lshr(x, half))  # its own inverse, as 2·half ≥ bits
            for r in reversed(range(ROUNDS)):
                x = builder.mul(builder.sub(x, words[ROUNDS + r]), words[r])
                x = builder.and_(x, mask)
                x = builder.xor(x, builder.lshr(x, half))
            return x

        _map_indices(builder, unpermute, *unpack(context, builder, signature, args, 0))
        return context.get_dummy_value()

    return types.void(undoing, bits, first, out), codegen


def _map_indices(builder, change, keys, bits, first, out):
    """out[j] = change(first + j, keys, mask, half), j < TILE, in vectors of 512 bits."""
    width = 64 // out.bytes

    def everywhere(number):
        return splat(builder, builder.trunc(number, out.element), width)

    words = [everywhere(builder.zext(keys.scalar(r), I64)) for r in range(2 * ROUNDS)]
    mask = everywhere(builder.sub(builder.shl(index(1), bits), index(1)))
    half = everywhere(builder.lshr(builder.add(bits, index(1)), index(1)))
    lanes = ir.Constant(ir.VectorType(out.element, width), list(range(width)))
    steps = cgutils.for_range_slice(builder, index(0), index(TILE), index(width), inc=True)
    with steps as (i, _):
        x = builder.add(everywhere(builder.add(first, i)), lanes)
        out.store(change(x, words, mask, half), i)


@intrinsic(prefer_literal=True)
def move(typing, source, factors, target, first, places, SCATTER):
    """One tile of `gather` (SCATTER = 0) or `scatter` (1), with π(first + j) in places[j]."""

    def codegen(context, builder, signature, args):
        source, factors, target, first, places, SCATTER = unpack(
            context, builder, signature, args, 1
        )
        steps = cgutils.for_range_slice(builder, index(0), index(TILE), index(LANES), inc=True)
        with steps as (j, _):
            i = builder.add(first, j)
            if SCATTER:
                values = builder.fmul(factors.load(i), source.load(i))
                for lane in range(LANES):
                    value = builder.extract_element(values, I32(lane))
                    place = builder.zext(places.scalar(j, lane), I64)
                    builder.store(value, target.at(place))
            else:
                values = source.look_up(places, j)
                target.store(builder.fmul(factors.load(i), values), i)
        return context.get_dummy_value()

    return types.void(source, factors, target, first, places, SCATTER), codegen
