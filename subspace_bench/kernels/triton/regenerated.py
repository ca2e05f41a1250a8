"""Pω and Pᵀθ on CUDA with a P that is never stored: each program computes entries in registers.

Arithmetic is the limit, not memory. A normal takes 10 integer multiplications (5 low, 5 high
halves), 5 three-way XORs and about 5 more integer operations, which issue at half the rate of
floats or less, and 13 fused multiply-adds: integers bind, at about 3 normals per clock and
multiprocessor. The transcendental unit, with a 16th of the lanes, computes only half a square root
per normal; its log, sin and cos would be off by more than 2 ulp. A sign takes 2 integer operations
and an addition, plus a third of an operation for Philox. Counted from the instructions; not timed
on a device.
"""

import math

import torch
import triton
import triton.language as tl

from subspace_bench.kernels.cpu.philox import COS, LOG, SIN, TURN, TWO_THIRDS
from subspace_bench.kernels.cpu.regenerated import SIGNS

from . import on_device

TOGETHER = 8  # the most vectors that share computed entries
COUNTERS = 64  # counters of a program at a time: four blocks of rows
COLUMNS = 4  # columns of a program of the transpose
PROGRAMS = 1 << 10  # enough programs to fill a device

_SIGNS = tl.constexpr(SIGNS)
_TURN, _TWO_THIRDS = tl.constexpr(TURN), tl.constexpr(TWO_THIRDS)
_LN2 = tl.constexpr(math.log(2))
_LOG, _COS, _SIN = tl.constexpr(LOG), tl.constexpr(COS), tl.constexpr(SIN)


def project(omega: torch.Tensor, theta: torch.Tensor, key: tuple[int, int], kind: int) -> None:
    """theta[n] = P·omega[n] for (n, d) and (n, D), float32, contiguous."""
    size, dim = theta.shape[1], omega.shape[1]
    tiles = _tiles(size, kind)
    # Where tiles of θ are too few to fill the device, columns are split too, into partial sums.
    parts = max(1, min(PROGRAMS // tiles, dim // 64))
    span = triton.cdiv(dim, parts * COLUMNS) * COLUMNS
    for n in range(0, len(omega), TOGETHER):
        w = omega[n : n + TOGETHER]
        sums = theta.new_empty(parts, len(w), size)
        shape = (size, dim, len(w), span, _seed(key), kind, triton.next_power_of_2(len(w)))
        with on_device(theta):
            _forward[(tiles, parts)](w, sums, *shape, COUNTERS, num_warps=_warps(kind))
        theta[n : n + TOGETHER] = sums.sum(0)


def adjoint(theta: torch.Tensor, gamma: torch.Tensor, key: tuple[int, int], kind: int) -> None:
    """gamma[n] = Pᵀ·theta[n] for (n, D) and (n, d), likewise."""
    size, dim = theta.shape[1], gamma.shape[1]
    tiles, groups = _tiles(size, kind), triton.cdiv(dim, COLUMNS)
    parts = max(1, min(tiles, PROGRAMS // groups))
    span = triton.cdiv(tiles, parts)
    for n in range(0, len(theta), TOGETHER):
        t = theta[n : n + TOGETHER]
        sums = theta.new_empty(parts, len(t), dim)
        shape = (size, dim, len(t), span, _seed(key), kind, triton.next_power_of_2(len(t)))
        with on_device(theta):
            _transpose[(groups, parts)](t, sums, *shape, COUNTERS, num_warps=_warps(kind))
        gamma[n : n + TOGETHER] = sums.sum(0)


def _tiles(size: int, kind: int) -> int:
    return triton.cdiv(size, COUNTERS * (32 if kind == SIGNS else 4))


def _warps(kind: int) -> int:
    """Warps of a program: so many that a thread has one counter of normals, or 16 rows of signs."""
    return 4 if kind == SIGNS else 2


def _seed(key: tuple[int, int]) -> int:
    """Both words of the key in one signed integer of 64 bits, as tl.philox takes it."""
    return ((key[1] << 32 | key[0]) ^ (1 << 63)) - (1 << 63)


@triton.jit
def _forward(
    omega, sums, size, dim, count, span, seed,
    KIND: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """sums[part, n, i] = Σ_j P[i, j]·omega[n, j] over `span` columns, for a tile of rows."""
    tile, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    counter = tile * C + tl.arange(0, C)
    c0, block, lane = counter.to(tl.uint32), counter // 16, counter % 16
    begin = (part * span).to(tl.int32)
    end = tl.minimum(begin + span, dim)
    if KIND == _SIGNS:  # (N, bit, counter)
        n, bit = tl.arange(0, N)[:, None, None], tl.arange(0, 32)[None, :, None]
        total = tl.zeros((N, 32, C), tl.float32)
        for j in range(begin, end, 4):
            w = tl.philox(seed, c0, j // 4, KIND, 0)
            for c in tl.static_range(4):
                at = omega + n.to(tl.int64) * dim + j + c
                weight = tl.load(at, mask=(n < count) & (j + c < dim), other=0.0)
                total += _signed(weight, w[c][None, None, :], bit)
        i = (512 * block + lane)[None, None, :] + 16 * bit
        tl.store(sums + (part * count + n) * size + i, total, mask=(n < count) & (i < size))
    else:  # (N, counter), four times
        n = tl.arange(0, N)[:, None]
        t0 = tl.zeros((N, C), tl.float32)
        t1, t2, t3 = t0, t0, t0
        for j in range(begin, end):
            weight = tl.load(omega + n.to(tl.int64) * dim + j, mask=n < count, other=0.0)
            z0, z1, z2, z3 = _normals(seed, c0, j, KIND)
            t0 += weight * z0[None, :]
            t1 += weight * z1[None, :]
            t2 += weight * z2[None, :]
            t3 += weight * z3[None, :]
        i = (64 * block + lane)[None, :]
        at = sums + (part * count + n) * size + i
        tl.store(at, t0, mask=(n < count) & (i < size))
        tl.store(at + 16, t1, mask=(n < count) & (i + 16 < size))
        tl.store(at + 32, t2, mask=(n < count) & (i + 32 < size))
        tl.store(at + 48, t3, mask=(n < count) & (i + 48 < size))


@triton.jit
def _transpose(
    theta, sums, size, dim, count, span, seed,
    KIND: tl.constexpr, N: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """sums[part, n, j] = Σ_i P[i, j]·theta[n, i] over `span` tiles of rows, for four columns."""
    j, part = tl.program_id(0) * 4, tl.program_id(1).to(tl.int64)
    first = part * span
    n2 = tl.arange(0, N)[:, None]
    t0 = tl.zeros((N, C), tl.float32)
    t1, t2, t3 = t0, t0, t0
    for tile in range(first, first + span):
        counter = tile * C + tl.arange(0, C).to(tl.int64)
        c0, block, lane = counter.to(tl.uint32), counter // 16, counter % 16
        if KIND == _SIGNS:
            n, bit = tl.arange(0, N)[:, None, None], tl.arange(0, 32)[None, :, None]
            i = (512 * block + lane)[None, None, :] + 16 * bit
            slopes = tl.load(theta + n * size + i, mask=(n < count) & (i < size), other=0.0)
            a, b, c, d = tl.philox(seed, c0, j // 4, KIND, 0)
            t0 += tl.sum(_signed(slopes, a[None, None, :], bit), 1)
            t1 += tl.sum(_signed(slopes, b[None, None, :], bit), 1)
            t2 += tl.sum(_signed(slopes, c[None, None, :], bit), 1)
            t3 += tl.sum(_signed(slopes, d[None, None, :], bit), 1)
        else:
            i = (64 * block + lane)[None, :]
            at = theta + n2.to(tl.int64) * size + i
            s0 = tl.load(at, mask=(n2 < count) & (i < size), other=0.0)
            s1 = tl.load(at + 16, mask=(n2 < count) & (i + 16 < size), other=0.0)
            s2 = tl.load(at + 32, mask=(n2 < count) & (i + 32 < size), other=0.0)
            s3 = tl.load(at + 48, mask=(n2 < count) & (i + 48 < size), other=0.0)
            t0 += _products(s0, s1, s2, s3, seed, c0, j, KIND)
            t1 += _products(s0, s1, s2, s3, seed, c0, j + 1, KIND)
            t2 += _products(s0, s1, s2, s3, seed, c0, j + 2, KIND)
            t3 += _products(s0, s1, s2, s3, seed, c0, j + 3, KIND)
    n = tl.arange(0, N)
    at = sums + (part * count + n) * dim + j
    tl.store(at, tl.sum(t0, 1), mask=n < count)
    tl.store(at + 1, tl.sum(t1, 1), mask=(n < count) & (j + 1 < dim))
    tl.store(at + 2, tl.sum(t2, 1), mask=(n < count) & (j + 2 < dim))
    tl.store(at + 3, tl.sum(t3, 1), mask=(n < count) & (j + 3 < dim))


@triton.jit
def _signed(value, word, bit):
    """±value, the sign being bit 31 − `bit` of the word."""
    sign = (word << bit.to(tl.uint32)) & 0x80000000
    return (value.to(tl.uint32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)


@triton.jit
def _products(s0, s1, s2, s3, seed, c0, c1, KIND: tl.constexpr):
    z0, z1, z2, z3 = _normals(seed, c0, c1, KIND)
    return s0 * z0[None, :] + s1 * z1[None, :] + s2 * z2[None, :] + s3 * z3[None, :]


@triton.jit
def _normals(seed, c0, c1, KIND: tl.constexpr):
    """The four N(0, 1) of each counter."""
    a, b, c, d = tl.philox(seed, c0, c1, KIND, 0)
    z0, z1 = _normal_pair(a, b)
    z2, z3 = _normal_pair(c, d)
    return z0, z1, z2, z3


@triton.jit
def _normal_pair(a, b):
    """That of kernels/cpu/philox.py, with the same polynomials, to 2 ulp."""
    u = (a | 1).to(tl.float32).to(tl.int32, bitcast=True) - (_TWO_THIRDS + (32 << 23))
    m = ((u & 0x7FFFFF) + _TWO_THIRDS).to(tl.float32, bitcast=True)
    g = 2.0 - 2.0 * m
    rest = (u >> 23).to(tl.float32) * (-2 * _LN2) + g
    radius = tl.sqrt_rn(tl.fma(g * g, _polynomial(_LOG, 8, g), rest))
    angle = (b << 2).to(tl.int32, bitcast=True).to(tl.float32) * _TURN
    square = angle * angle
    cosine = tl.fma(radius * square, _polynomial(_COS, 3, square), radius)
    sine = tl.fma(radius, angle, radius * angle * square * _polynomial(_SIN, 2, square))
    cosine = tl.where((b >> 31) != 0, -cosine, cosine)
    swap = ((b >> 30) & 1) != 0
    return tl.where(swap, sine, cosine), tl.where(swap, cosine, sine)


@triton.jit
def _polynomial(COEFFICIENTS: tl.constexpr, DEGREE: tl.constexpr, x):
    total = tl.full(x.shape, COEFFICIENTS[DEGREE], tl.float32)
    for k in tl.static_range(DEGREE):
        total = tl.fma(total, x, tl.full(x.shape, COEFFICIENTS[DEGREE - 1 - k], tl.float32))
    return total
