"""Philox words, signs and keyed permutations in registers: those of projectors/permutations.py."""

import triton
import triton.language as tl


@triton.jit
def permute_index(i, k0, k1, block, BITS: tl.constexpr):
    """π(i), uint32, for the permutation of 0 … 2^BITS − 1 of a block."""
    m0, m1, m2, m3, m4, a0, a1, a2, a3, a4 = permutation_keys(k0, k1, block)
    p = i.to(tl.uint32)
    p = _round(p, m0, a0, BITS)
    p = _round(p, m1, a1, BITS)
    p = _round(p, m2, a2, BITS)
    p = _round(p, m3, a3, BITS)
    p = _round(p, m4, a4, BITS)
    return p ^ (p >> ((BITS + 1) // 2))


@triton.jit
def permutation_keys(k0, k1, block):
    """Five odd multipliers and five addends of a block's permutation."""
    m0, m1, m2, m3 = philox(k0, k1, 0, block, 2)
    m4, a0, a1, a2 = philox(k0, k1, 1, block, 2)
    a3, a4, _, _ = philox(k0, k1, 2, block, 2)
    return m0 | 1, m1 | 1, m2 | 1, m3 | 1, m4 | 1, a0, a1, a2, a3, a4


@triton.jit
def _round(p, multiplier, addend, BITS: tl.constexpr):
    p = p ^ (p >> ((BITS + 1) // 2))
    return (p * multiplier + addend) & ((1 << BITS) - 1)


@triton.jit
def unpermute_index(p, k0, k1, block, BITS: tl.constexpr):
    """π⁻¹(p), uint32, of `permute_index`."""
    m0, m1, m2, m3, m4, a0, a1, a2, a3, a4 = inverse_keys(k0, k1, block)
    return unpermute(p, m0, m1, m2, m3, m4, a0, a1, a2, a3, a4, BITS)


@triton.jit
def unpermute(p, m0, m1, m2, m3, m4, a0, a1, a2, a3, a4, BITS: tl.constexpr):
    """π⁻¹(p), uint32, from the `inverse_keys` of a block."""
    i = p.to(tl.uint32)
    i = i ^ (i >> ((BITS + 1) // 2))
    i = _unround(i, m4, a4, BITS)
    i = _unround(i, m3, a3, BITS)
    i = _unround(i, m2, a2, BITS)
    i = _unround(i, m1, a1, BITS)
    return _unround(i, m0, a0, BITS)


@triton.jit
def inverse_keys(k0, k1, block):
    """The inverses of `permutation_keys`' multipliers, and its addends."""
    m0, m1, m2, m3, m4, a0, a1, a2, a3, a4 = permutation_keys(k0, k1, block)
    m0, m1, m2, m3, m4 = _inverse(m0), _inverse(m1), _inverse(m2), _inverse(m3), _inverse(m4)
    return m0, m1, m2, m3, m4, a0, a1, a2, a3, a4


@triton.jit
def _inverse(odd):
    """1/odd modulo 2³²: Newton's steps double the right bits, of which odd has three."""
    inverse = odd
    for _ in tl.static_range(4):
        inverse = inverse * (2 - odd * inverse)
    return inverse


@triton.jit
def _unround(p, inverse, addend, BITS: tl.constexpr):
    """The inverse of a round of `permute_index`."""
    p = ((p - addend) * inverse) & ((1 << BITS) - 1)
    return p ^ (p >> ((BITS + 1) // 2))


@triton.jit
def sign_words(k0, k1, block, counters):
    """The bits of 128 signs for each of n counters: n, 2, 2 words, in the order of the signs."""
    a, b, c, d = philox(k0, k1, counters, block, 1)
    return tl.join(tl.join(a, c), tl.join(b, d))


@triton.jit
def signs(k0, k1, block, begin, SIZE: tl.constexpr):
    """Which signs begin … begin + SIZE − 1 of a block are negative: 0 or 1, uint32.

    One counter has 128 signs, in four words. `begin` and SIZE are multiples of 128.
    """
    counters = begin // 128 + tl.arange(0, SIZE // 128)
    words = tl.reshape(sign_words(k0, k1, block, counters), (SIZE // 32, 1))
    minus = (words >> tl.arange(0, 32)[None, :].to(tl.uint32)) & 1
    return tl.reshape(minus, (SIZE,))


@triton.jit
def philox(k0, k1, c0, c1, c2):
    """The four words of counter (c0, c1, c2, 0), uint32."""
    k0, k1 = _word(k0), _word(k1)
    c0, c1, c2 = _word(c0), _word(c1), _word(c2)
    c3 = c1 * 0
    for _ in tl.static_range(10):
        high0, high1 = tl.umulhi(c0, _word(0xD2511F53)), tl.umulhi(c2, _word(0xCD9E8D57))
        low0, low1 = c0 * _word(0xD2511F53), c2 * _word(0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _word(0x9E3779B9), k1 + _word(0xBB67AE85)
    return c0, c1, c2, c3


@triton.jit
def _word(number):
    return tl.cast(number, tl.uint32)
