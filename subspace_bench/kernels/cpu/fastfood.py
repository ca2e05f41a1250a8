"""Fastfood on the CPU, float32: block by block in cache, on torch's threads.

θ_b = S_b H G_b Π_b H B_b ω for block b of P, and its adjoint Σ_b B_b H Π_bᵀ G_b H S_b θ_b; H is
unnormalised, S_b carries all scales. B_b and Π_b are made again, G and S too where not stored.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .draws_simd import gather, rounds, scatter, scratch, signs128
from .hadamard_simd import transform
from .philox_simd import normals_into, round_keys
from .simd import LANES, aligned, jit
from .threads import in_threads

_PARTS = 16  # partial sums of an adjoint; fixed, so that results don't depend on the threads
_SIGNS = 128  # that one counter of the generator gives


def diagonals(key: tuple[int, int], starts: np.ndarray, levels: int, g: Tensor, s: Tensor) -> None:
    """Fills g (blocks · 2^levels) and s (D,), block b of s from starts[b] to starts[b + 1]."""
    in_threads(
        _fill(), round_keys(key), starts, levels, g.numpy(), s.numpy(),
        parts=len(starts) - 1,
    )  # fmt: skip


def project(
    omega: Tensor, key: tuple[int, int], starts: np.ndarray, levels: int, g: Tensor, s: Tensor
) -> Tensor:
    """Pω of each row, (rows, d) → (rows, D). With empty g and s, these are made again."""
    rows, dim = omega.shape
    padded = torch.nn.functional.pad(omega, (0, -dim % LANES)).view(-1).numpy()
    theta = empty_in_large_pages(omega, rows, int(starts[-1]))
    flat = theta.view(-1).numpy()
    in_threads(
        _project(), padded, rows, dim, round_keys(key), starts, levels,
        g.numpy(), s.numpy(), flat, parts=len(starts) - 1, estimate=rows * (len(starts) << levels),
    )  # fmt: skip
    return theta


def adjoint(
    theta: Tensor, dim: int, key: tuple[int, int], starts: np.ndarray, levels: int,
    g: Tensor, s: Tensor,
) -> Tensor:  # fmt: skip
    """Pᵀθ of each row, (rows, D) → (rows, d). Its bits do not depend on the threads."""
    rows, blocks = len(theta), len(starts) - 1
    parts = min(_PARTS, blocks)
    width = dim + -dim % LANES
    sums = theta.new_zeros(parts, rows, width)
    flat = sums.view(-1).numpy()
    in_threads(
        _adjoint(), theta.view(-1).numpy(), rows, dim, round_keys(key), starts, levels,
        g.numpy(), s.numpy(), flat, parts, parts=parts, estimate=rows * (len(starts) << levels),
    )  # fmt: skip
    _sum_parts(flat, parts, rows * width)
    return sums[0, :, :dim].contiguous()


@jit
def fill_block(key, block, levels, native, rows, g, s):
    """G_b and S_b: N(0, 1), and lengths χ_n of rows over √n‖G‖, for columns of unit length.

    χ_n = √n·y^1.5, y ~ N(1 − c, c), c = 2/(9n) (Wilson and Hilferty 1931), from one normal.
    """
    size = 1 << levels
    normals_into(g[:size], key, 0, block, 0)
    normals_into(s[:size], key, 0, block, 3)
    total = 0.0
    for i in range(size):
        total += np.float64(g[i]) * np.float64(g[i])
    c = 2 / (9 * size)
    root, scale = np.sqrt(c), 1 / np.sqrt(total * native)
    for i in range(rows):
        y = 1 - c + root * np.float64(s[i])
        s[i] = np.float32(y * np.sqrt(y) * scale)


@cache
def _fill():
    @jit
    def fill(key, starts, levels, g, s, first, last):
        size, native = 1 << levels, starts[-1]
        scales = np.empty(size, np.float32)
        for block in range(first, last):
            begin, end = starts[block], starts[block + 1]
            at = block * size
            fill_block(key, block, levels, native, end - begin, g[at : at + size], scales)
            s[begin:end] = scales[: end - begin]

    return fill


@cache
def _project():
    @jit
    def project(omega, rows, dim, key, starts, levels, g, s, theta, first, last):
        size, native, width = 1 << levels, starts[-1], len(omega) // rows
        stored = len(g) > 0
        one, two, signs = aligned(size), aligned(size), aligned(_SIGNS)
        made = 0 if stored else size
        own_g, own_s = aligned(made), aligned(made)
        keyed, places = np.empty(12, np.uint32), scratch()
        for block in range(first, last):
            begin, end = starts[block], starts[block + 1]
            rounds(key, block, keyed)
            if stored:
                block_g, block_s = g[block * size : (block + 1) * size], s[begin:end]
            else:
                fill_block(key, block, levels, native, end - begin, own_g, own_s)
                block_g, block_s = own_g, own_s
            for row in range(rows):
                for i in range(0, width, _SIGNS):
                    signs128(key, i // _SIGNS, block, signs, 0)
                    product(omega[row * width + i : row * width + width], signs, one[i:])
                one[width:] = 0
                transform(one, 0, levels)
                gather(one, block_g, two, keyed, levels, places)
                transform(two, 0, levels)
                at = row * native
                product(two, block_s[: end - begin], theta[at + begin : at + end])

    return project


@cache
def _adjoint():
    @jit
    def adjoint(theta, rows, dim, key, starts, levels, g, s, sums, parts, first, last):
        size, native, blocks = 1 << levels, starts[-1], len(starts) - 1
        width = len(sums) // (parts * rows)
        stored = len(g) > 0
        one, two, signs = aligned(size), aligned(size), aligned(_SIGNS)
        made = 0 if stored else size
        own_g, own_s = aligned(made), aligned(made)
        keyed, places = np.empty(12, np.uint32), scratch()
        for part in range(first, last):
            for block in range(part * blocks // parts, (part + 1) * blocks // parts):
                begin, end = starts[block], starts[block + 1]
                rounds(key, block, keyed)
                if stored:
                    block_g, block_s = g[block * size : (block + 1) * size], s[begin:end]
                else:
                    fill_block(key, block, levels, native, end - begin, own_g, own_s)
                    block_g, block_s = own_g, own_s
                for row in range(rows):
                    at = row * native
                    product(theta[at + begin : at + end], block_s, two)
                    two[end - begin :] = 0
                    transform(two, 0, levels)
                    scatter(two, block_g, one, keyed, levels, places)
                    transform(one, 0, levels)
                    at = (part * rows + row) * width
                    for i in range(0, width, _SIGNS):
                        signs128(key, i // _SIGNS, block, signs, 0)
                        add_product(one[i:width], signs, sums[at + i : at + width])

    return adjoint


@jit
def _sum_parts(sums, parts, size):
    for part in range(1, parts):
        for i in range(size):
            sums[i] += sums[part * size + i]


@jit
def product(a, b, out):
    """out = a·b, as far as the shortest goes."""
    for i in range(min(len(a), len(b), len(out))):
        out[i] = a[i] * b[i]


@jit
def add_product(a, b, out):
    for i in range(min(len(a), len(b), len(out))):
        out[i] += a[i] * b[i]
